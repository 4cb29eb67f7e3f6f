package page

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/healthpool/caddy-healthpool/internal/represent"
)

const everyField = `<!doctype html><html lang="{{.Lang}}" dir="{{.Dir}}"><title>{{.Title}}</title><style>b{color:red}</style>` +
	`<p data-poll="{{.Poll}}">{{.Status}} {{.Cause}} {{.Fate}} {{.Reference}} {{.RetryAfter}} {{.Service}} {{.Message}}` +
	`{{range .Links}}<a href="{{.URL}}">{{.Label}}</a>{{end}}{{if eq .Fate "not_sent"}} safe{{end}}`

func TestTemplate(t *testing.T) {
	own, err := ParseTemplate(everyField)
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	n := notice()
	n.Message = "<b>"
	if err := own.Respond(w, httptest.NewRequest("GET", "/", nil), represent.HTML, n); err != nil {
		t.Fatal(err)
	}
	mustHave(t, w.Body.String(), `<html lang="en" dir="ltr">`, "<title>"+english.Title+"</title>", `data-poll="Zm9vYmFy"`,
		"503 destination_unavailable not_sent 7QX4-M2KD 30 example.com &lt;b&gt;",
		`<a href="https://status.example.com/?a=1&amp;b=2">Status page</a><a href="tel:&#43;15550100">Call us</a> safe`)
	for name, want := range map[string]string{
		"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": "", "Cache-Control": "no-store", "Retry-After": "30",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if w.Code != 503 {
		t.Errorf("status %d", w.Code)
	}
}

// TestTemplateOtherFormats: an owner's template changes the page and no other
// format.
func TestTemplateOtherFormats(t *testing.T) {
	own, err := ParseTemplate("mine")
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []represent.Format{represent.Problem, represent.JSON, represent.Text, represent.Bare} {
		w := httptest.NewRecorder()
		if err := own.Respond(w, httptest.NewRequest("GET", "/", nil), format, notice()); err != nil {
			t.Fatal(err)
		}
		if got, want := w.Body.String(), answer("GET", format, notice()).Body.String(); got != want {
			t.Errorf("%s: got %q, want %q", format, got, want)
		}
	}
}

func TestTemplateErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":                                    "must not be empty",
		" \n":                                 "must not be empty",
		"{{.Title":                            "unclosed action",
		"{{.Titel}}":                          "Titel",
		"{{if .Message}}{{.Massage}}{{end}}":  "Massage",
		"{{if not .Message}}{{.None}}{{end}}": "None",
		"{{range .Links}}{{.Href}}{{end}}":    "Href",
		"{{if eq .Fate \"unknown\"}}{{.Wrong}}{{end}}": "Wrong",
		"{{nofunc .}}":                   "nofunc",
		"{{template \"missing\"}}":       "missing",
		"<a href={{if .Poll}}'{{end}}x>": "different contexts",
		"{{index .Links 7}}":             "index",
		"{{define \"a\"}}{{template \"a\" .}}{{end}}{{template \"a\" .}}": "depth",
	} {
		_, err := ParseTemplate(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want an error with %q", text, err, want)
		}
	}
}

// TestTemplateFallback: a template that fails only in the outage, after it has
// written half a page, is replaced by the built-in page and reported.
func TestTemplateFallback(t *testing.T) {
	own, err := ParseTemplate(`half a page {{if eq .Cause "dns_error"}}{{index .Links 99}}{{end}}`)
	if err != nil {
		t.Fatal(err)
	}
	n := notice()
	n.Cause = "dns_error"
	w := httptest.NewRecorder()
	if err := own.Respond(w, httptest.NewRequest("GET", "/", nil), represent.HTML, n); err == nil {
		t.Error("no error")
	}
	if got, want := w.Body.String(), html("GET", n); got != want {
		t.Errorf("got %q, want the built-in page", got)
	}
	if got := w.Header().Get("Content-Security-Policy"); got != policyScript {
		t.Errorf("policy %q", got)
	}
}
