package page

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/healthpool/caddy-healthpool/internal/page/words"
	"github.com/healthpool/caddy-healthpool/internal/represent"
)

const everyField = `<!doctype html><html lang="{{.Lang}}" dir="{{.Dir}}"><title>{{.Title}}</title><style>b{color:red}</style>` +
	`<p data-poll="{{.Poll}}">{{.Status}} {{.Cause}} {{.Fate}} {{.Reference}} {{.RetryAfter}} {{.Service}} {{.Message}}` +
	`{{range .Links}}<a href="{{.URL}}">{{.Label}}</a>{{end}}{{if eq .Fate "not_sent"}} safe{{end}}`

// withTemplate returns a page with this template.
func withTemplate(t testing.TB, text string) (*Page, error) {
	t.Helper()
	o := options()
	o.Template = file(t, "page.html", []byte(text))
	return New(o)
}

// TestTemplate: a template has every documented field, escaped, in the visitor's language, and no
// policy restricts what it loads.
func TestTemplate(t *testing.T) {
	p, err := withTemplate(t, everyField)
	if err != nil {
		t.Fatal(err)
	}
	n := notice()
	n.Message = "<b>"
	w := p.respond(t, ask(http.MethodGet, "Accept-Language", "he"), represent.HTML, n)
	mustHave(t, w.Body.String(), `<html lang="he" dir="rtl">`, "<title>"+words.Of("he")[words.Title]+"</title>", `data-poll="Zm9vYmFy"`,
		"503 destination_unavailable not_sent 7QX4-M2KD 30 example.com &lt;b&gt;",
		`<a href="https://status.example.com/?a=1&amp;b=2">Status page</a><a href="tel:&#43;15550100">Call us</a> safe`)
	for name, want := range map[string]string{
		"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": "", "Cache-Control": "no-store", "Retry-After": "30", "Content-Language": "he",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("status %d", w.Code)
	}
}

// TestTemplateOtherFormats: an owner's template changes the page and no other format.
func TestTemplateOtherFormats(t *testing.T) {
	p, err := withTemplate(t, "mine")
	if err != nil {
		t.Fatal(err)
	}
	for format := range contentTypes {
		got := p.respond(t, ask(http.MethodGet), format, notice()).Body.String()
		if is := got == "mine"; is != (format == represent.HTML) {
			t.Errorf("%s: got %q", format, got)
		}
	}
}

// TestTemplateErrors: mistakes in any branch of a template show when the config is loaded.
func TestTemplateErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":                                    "must not be empty",
		" \n":                                 "must not be empty",
		strings.Repeat("x", maxTemplate+1):    "must be at most 1024 KiB",
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
		_, err := withTemplate(t, text)
		if err == nil || !strings.HasPrefix(err.Error(), "template: ") || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "page.html") {
			t.Errorf("%.60q: got %v, want an error with %q", text, err, want)
		}
	}
}

// TestTemplateFallback: if a template fails during an outage, after half a page, the client gets
// the built-in page instead and the error is returned.
func TestTemplateFallback(t *testing.T) {
	p, err := withTemplate(t, `half a page {{if eq .Cause "dns_error"}}{{index .Links 99}}{{end}}`)
	if err != nil {
		t.Fatal(err)
	}
	n := notice()
	n.Cause = "dns_error"
	w := httptest.NewRecorder()
	if err := p.Respond(w, ask(http.MethodGet), represent.HTML, n); err == nil {
		t.Error("no error")
	}
	if got, want := w.Body.String(), html(t, http.MethodGet, n); got != want {
		t.Errorf("got %q, want the built-in page", got)
	}
	if got, want := w.Header().Get("Content-Security-Policy"), answer(t, http.MethodGet, represent.HTML, n).Header().Get("Content-Security-Policy"); got != want || got == "" {
		t.Errorf("policy %q, want %q", got, want)
	}
}
