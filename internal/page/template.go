package page

import (
	"bytes"
	"fmt"
	"html/template"
	"net/http"
	"strings"

	"github.com/healthpool/caddy-healthpool/internal/cause"
	"github.com/healthpool/caddy-healthpool/internal/page/words"
)

// ownTemplate is the owner's page, which replaces the built-in one.
type ownTemplate struct{ parsed *template.Template }

// maxTemplate is the largest size of a template in bytes: in an outage, every visitor gets it.
const maxTemplate = 1 << 20

// readTemplate reads the owner's page and executes it once per sample, so that mistakes show
// when the config is loaded and not in an outage.
func (p *Page) readTemplate(name string) (*ownTemplate, error) {
	text, err := readFile(name, maxTemplate)
	if err != nil {
		return nil, fmt.Errorf("template: %w", err)
	}
	if strings.TrimSpace(string(text)) == "" {
		return nil, fmt.Errorf("template: %s: must not be empty", name)
	}
	parsed, err := template.New("template").Parse(string(text))
	if err != nil {
		return nil, fmt.Errorf("template: %s: %w", name, err)
	}
	t := &ownTemplate{parsed}
	for _, sample := range samples {
		if err := t.write(new(bytes.Buffer), &sample); err != nil {
			return nil, fmt.Errorf("template: %s: %w", name, err)
		}
	}
	return t, nil
}

// samples exercise the branches of a template: one has every field, one as few as possible.
var samples = []templateData{
	{
		Title: "Sorry", Status: http.StatusServiceUnavailable, Cause: string(cause.DestinationUnavailable), Fate: string(cause.NotSent),
		Reference: "7qx4m2kdp", RetryAfter: 30, Service: "example.com", Message: "A sentence.",
		Links: []safeLink{{"Status", "https://status.example.com"}, {"Call us", "tel:+15550100"}}, Lang: words.English, Dir: "ltr", Poll: "token",
	},
	{Title: "Sorry", Status: http.StatusBadGateway, Cause: string(cause.ConnectionTerminated), Fate: string(cause.Unknown), Lang: words.English, Dir: "ltr"},
}

// templateData is the data of the owner's template. Its names are documented and must not
// change.
type templateData struct {
	Title      string
	Status     int
	Cause      string
	Fate       string
	Reference  string
	RetryAfter int
	Service    string
	Message    string
	Links      []safeLink
	Lang       string
	Dir        string
	Poll       string
}

// templateData returns n for the owner's template.
func (p *Page) templateData(n *Notice, lang int) *templateData {
	v := p.view(shape{lang: lang})
	return &templateData{
		Title: v.Words[words.Title], Status: n.Status, Cause: string(n.Cause), Fate: string(n.Fate),
		Reference: n.Reference, RetryAfter: n.RetryAfter, Service: n.service, Message: n.Message,
		Links: p.links, Lang: v.Lang, Dir: v.Dir, Poll: n.Poll,
	}
}

// write executes the template into b.
func (t *ownTemplate) write(b *bytes.Buffer, data *templateData) error {
	if err := t.parsed.Execute(b, data); err != nil {
		return fmt.Errorf("executing: %w", err)
	}
	return nil
}

// safeLink is a Link that Validate has checked. By itself, html/template would refuse tel URLs.
type safeLink struct {
	Label string
	URL   template.URL
}

func safeLinks(links []Link) []safeLink {
	safe := make([]safeLink, len(links))
	for i, l := range links {
		safe[i] = safeLink{oneLine(l.Label), vouched[template.URL](l.URL)}
	}
	return safe
}

// vouched converts a checked text to a type that html/template does not escape.
func vouched[T ~string](checked string) T { return T(checked) }
