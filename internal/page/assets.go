package page

import (
	"crypto/sha256"
	_ "embed" // for the files below
	"encoding/base64"
	"fmt"
	"html/template"
	"strings"
)

//go:embed page.html
var pageSource string

//go:embed page.css
var styleSource string

//go:embed page.js
var scriptSource string

//go:embed clock.js
var clockSource string

// The style and the scripts are the same bytes in every response of a handler.
// That is why a hash can allow them, and nothing else, to the browser.
var (
	style   = short.Replace(squeeze(styleSource, ""))
	script  = short.Replace(squeeze(scriptSource, "\n"))
	clock   = squeeze(clockSource, "\n")
	builtIn = template.Must(template.New("page").Parse(assemble()))
)

// assemble puts the scripts, and the slots for markup, into the page as text,
// which html/template passes on unchanged.
func assemble() string {
	compact := strings.ReplaceAll(strings.TrimSpace(pageSource), ">\n<", "><")
	return strings.NewReplacer(
		"{{style}}", string(rune(styleSlot)), "{{details}}", string(rune(detailsSlot)),
		"{{logo}}", string(rune(logoSlot)), "{{links}}", string(rune(linksSlot)),
		"{{script}}", script, "{{clock}}", clock,
	).Replace(compact)
}

// accent is what the owner's colour adds to the style. It is the ground of labels
// and the colour of marks, and never that of text on the page.
func accent(color string) string {
	if color == "" {
		return ""
	}
	c, _ := parseAccent(color) // Validate has looked at it
	rule := fmt.Sprintf("a{text-decoration-color:%[1]s}button,.go,.fate{border-color:%[1]s}", c)
	return rule + fmt.Sprintf("a,button{color:var(--t)}@media (forced-colors:none){.go{background:%s;color:light-dark(#fff,#000)}}", c)
}

// policy is the Content-Security-Policy of a page with this style: of one that looks
// for the site to be back, or not, and of one that offers to send a form again, or not.
func policy(style string, polls, resends bool) string {
	allowed := "default-src 'none'; style-src " + hash(style) + " " + hash(detailsStyle) + "; script-src " + hash(clock)
	if polls {
		allowed += " " + hash(script) + "; connect-src 'self'"
	}
	allowed += "; img-src data:; base-uri 'none'"
	if !resends { // a form is also what the browser sends again when the page is reloaded
		allowed += "; form-action 'none'"
	}
	return allowed
}

// logoStyle is added for a logo of any size.
const logoStyle = "img{display:block;max-width:min(100%,16rem);max-height:4rem;margin-bottom:1rem}"

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
	" = ", "=", " == ", "==", " => ", "=>", " ? ", "?", " : ", ":", " || ", "||", " && ", "&&",
	" < ", "<", " > ", ">", " + ", "+", " - ", "-", " * ", "*", " / ", "/", " ** ", "**",
	"if (", "if(", "} else", "}else", "} catch", "}catch", "for (", "for(",
)

// short has shorter names for those that are long for the sake of who reads the source.
// Each stands for itself only, wherever it occurs.
var short = strings.NewReplacer(
	"--ground", "--g", "--text", "--t", "--soft", "--s", "--link", "--l",
	"seconds", "n", "growing", "g", "jitter", "j", "misses", "m", "missed", "f", "opened", "o", "answer", "a", "isForm", "i", "resend", "r", "timer", "t", "found", "d", "words", "w",
)
