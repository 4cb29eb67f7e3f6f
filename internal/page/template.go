package page

import (
	"bytes"
	"errors"
	"fmt"
	"html/template"
	"strings"

	"github.com/healthpool/caddy-healthpool/internal/cause"
)

// Template is an owner's own page. A nil Template is the page that is built
// in.
type Template struct {
	parsed *template.Template
}

// ParseTemplate reads an owner's page, which is an html/template with the
// fields .Title .Status .Cause .Fate .Reference .RetryAfter .Service .Message
// .Links (each .Label and .URL) .Lang .Dir and .Poll. It tries the page out, so
// that a mistake shows when the config is loaded and not in an outage.
func ParseTemplate(text string) (*Template, error) {
	if strings.TrimSpace(text) == "" {
		return nil, errors.New("template: must not be empty")
	}
	parsed, err := template.New("template").Parse(text)
	if err != nil {
		return nil, err // begins with "template: template:1:" already
	}
	t := &Template{parsed}
	for _, n := range samples() {
		if err := t.write(new(bytes.Buffer), n.normal()); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// samples are notices that take a template through its branches: all there is
// to say, and as little as there can be.
func samples() []Notice {
	full := Notice{
		Status:     503,
		Cause:      cause.DestinationUnavailable,
		Fate:       cause.NotSent,
		Reference:  "7QX4-M2KD",
		RetryAfter: 30,
		Service:    "example.com",
		Message:    "We are moving to a new house.",
		Links:      []Link{{"Status page", "https://status.example.com"}, {"Call us", "tel:+15550100"}},
		Poll:       "token",
	}
	return []Notice{full, {Status: 502, Cause: cause.ConnectionTerminated, Fate: cause.Unknown}}
}

// write executes the template into b.
func (t *Template) write(b *bytes.Buffer, n Notice) error {
	if err := t.parsed.Execute(b, newTemplateData(n, &english)); err != nil {
		return fmt.Errorf("executing: %w", err)
	}
	return nil
}
