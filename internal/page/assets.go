package page

import (
	_ "embed" // for the files below
	"fmt"
	"html/template"
	"regexp"
	"strings"

	"github.com/healthpool/caddy-healthpool/internal/look"
)

//go:embed page.html
var pageSource string

//go:embed page.css
var styleSource string

//go:embed page.js
var scriptSource string

//go:embed clock.js
var clockSource string

// The style and the scripts are the same bytes in every response of a handler, so that the
// Content-Security-Policy can allow them, and nothing else, by their hashes.
var (
	style   = shorten(squeeze(styleSource, ""), shortProperties)
	script  = shorten(squeeze(scriptSource, "\n"), shortNames)
	clock   = squeeze(clockSource, "\n")
	builtIn = template.Must(template.New("page").Parse(assemble()))
)

// assemble puts the scripts, and slots for everything else, into the source of the page.
// html/template does not change them: to it, they are part of the template.
func assemble() string {
	compact := strings.ReplaceAll(strings.TrimSpace(pageSource), ">\n<", "><")
	return strings.NewReplacer(
		"{{style}}", string(rune(styleSlot)), "{{details}}", string(rune(detailsSlot)),
		"{{logo}}", string(rune(logoSlot)), "{{links}}", string(rune(linksSlot)),
		"{{script}}", script, "{{clock}}", clock,
	).Replace(compact)
}

// accent returns the rules that the owner's colour adds to the style. The colour is used for
// borders, underlines and the background of buttons, never for text.
func accent(color string) string {
	if color == "" {
		return ""
	}
	c, _ := parseAccent(color) // Validate has checked it
	rule := fmt.Sprintf("a{text-decoration-color:%[1]s}button,.go,.fate{border-color:%[1]s}", c)
	return rule + fmt.Sprintf("a,button{color:var(--t)}@media (forced-colors:none){.go{background:%s;color:light-dark(#fff,#000)}}", c)
}

// policy returns the Content-Security-Policy of a page with this style. A page that polls may
// run the script and connect to its own origin; one that resends may send its form again.
func policy(style string, polls, resends bool) string {
	allowed := "default-src 'none'; style-src " + look.Hash(style) + " " + look.Hash(detailsStyle) + "; script-src " + look.Hash(clock)
	if polls {
		allowed += " " + look.Hash(script) + "; connect-src 'self'"
	}
	allowed += "; img-src data:; base-uri 'none'"
	if !resends { // to a browser, reloading the answer to a form is a form action
		allowed += "; form-action 'none'"
	}
	return allowed
}

// logoStyle is added to the style of a page with a logo.
const logoStyle = "img{display:block;max-width:min(100%,16rem);max-height:4rem;margin-bottom:1rem}"

// squeeze drops what only readers of the source need: indentation, comment lines and the
// spaces around punctuation. It does not parse the source, so a comment must be on a line of
// its own, and no string may contain such spaces.
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
	return dropSpaces.Replace(strings.TrimSuffix(b.String(), newline))
}

// dropSpaces drops the spaces around punctuation. Where two strings begin alike, the longer
// one has to come first.
var dropSpaces = strings.NewReplacer(
	": ", ":", ", ", ",", " {\n", "{", " {", "{", "{\n", "{", "\n}", "}", ",\n", ",", ";}", "}",
	" = ", "=", " == ", "==", " => ", "=>", " ? ", "?", " : ", ":", " || ", "||", " && ", "&&",
	" < ", "<", " > ", ">", " + ", "+", " - ", "-", " * ", "*", " / ", "/", " ** ", "**",
	"if (", "if(", "} else", "}else", "} catch", "}catch", "for (", "for(",
)

// shortProperties and shortNames are what visitors get for custom properties of the style and
// for variables of the script, which have long names for readers of the source.
var (
	shortProperties = map[string]string{"--ground": "--g", "--text": "--t", "--soft": "--s", "--link": "--l"}
	shortNames      = map[string]string{
		"seconds": "n", "growing": "g", "jitter": "j", "misses": "m", "missed": "f", "opened": "o", "answer": "a",
		"isForm": "i", "resend": "r", "timer": "t", "found": "d", "words": "w",
	}
)

// identifier matches a whole name of a script or a style.
var identifier = regexp.MustCompile(`(--)?\b\w+\b`)

// shorten replaces names in a source wherever they are whole identifiers.
func shorten(source string, names map[string]string) string {
	return identifier.ReplaceAllStringFunc(source, func(name string) string {
		if short, known := names[name]; known {
			return short
		}
		return name
	})
}
