package page

import (
	"crypto/sha256"
	_ "embed" // for the three files below
	"encoding/base64"
	"html/template"
	"strings"
)

//go:embed page.html
var pageSource string

//go:embed page.css
var styleSource string

//go:embed page.js
var scriptSource string

// The style and the script are the same bytes in every response. That is why
// a hash can allow them, and nothing else, to the browser.
var (
	style   = squeeze(styleSource, "")
	script  = squeeze(scriptSource, "\n")
	builtIn = template.Must(template.New("page").Parse(assemble()))

	policy       = contentPolicy("style-src " + hash(style) + "; ")
	policyScript = contentPolicy("style-src " + hash(style) + "; script-src " + hash(script) + "; connect-src 'self'; ")
)

// assemble puts the style and the script into the page as text, which
// html/template passes on unchanged.
func assemble() string {
	compact := strings.ReplaceAll(strings.TrimSpace(pageSource), ">\n<", "><")
	return strings.NewReplacer("{{style}}", style, "{{script}}", script).Replace(compact)
}

// contentPolicy allows what is given and an empty icon, nothing more.
func contentPolicy(allowed string) string {
	return "default-src 'none'; " + allowed + "img-src data:; base-uri 'none'; form-action 'none'"
}

// hash is a source expression of Content-Security-Policy that allows s.
func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// squeeze drops what only a reader of the source needs: indentation, lines that
// are comments, and the spaces around punctuation. It knows no syntax, so a
// comment must have its own lines, and no string may hold such spaces.
func squeeze(source, newline string) string {
	var b strings.Builder
	for line := range strings.Lines(source) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "//") || strings.HasPrefix(line, "/*") {
			continue
		}
		b.WriteString(line)
		b.WriteString(newline)
	}
	return tight.Replace(strings.TrimSuffix(b.String(), newline))
}

// tight has the longer of two strings that begin alike first: it wins.
var tight = strings.NewReplacer(
	": ", ":", ", ", ",", " {\n", "{", " {", "{", "{\n", "{", "\n}", "}", ",\n", ",", ";}", "}",
	" = ", "=", " => ", "=>", " ? ", "?", " : ", ":", " || ", "||", " && ", "&&",
	" < ", "<", " > ", ">", " + ", "+", " - ", "-", " * ", "*", " / ", "/", " ** ", "**",
	"if (", "if(", "} else", "}else", "} catch", "}catch",
)
