package page

import (
	"bytes"
	_ "embed" // for the files below
	"html/template"
	"strings"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/cause"
	"github.com/healthpool/caddy-healthpool/internal/plain"
)

// Details are what the owner's own people are shown besides: what is wrong, and what to do.
// They are in English, as the log is.
type Details struct {
	Cause cause.Cause `json:"-" xml:"-"` // problem details have it anyway
	// Error is the proxy's own, in the words of the log.
	Error string `json:"error,omitempty" xml:"error,omitempty"`
	// Pool is the name of the pool, and Upstreams those of its upstreams that get no
	// requests. Both are empty for a proxy without a pool.
	Pool      string     `json:"pool,omitempty" xml:"pool,omitempty"`
	Upstreams []Upstream `json:"upstreams,omitempty" xml:"upstreams>i,omitempty"`
}

// Upstream is one that gets no requests.
type Upstream struct {
	Address string `json:"address" xml:"address"`
	State   string `json:"state" xml:"state"`
	// Since is when it got into that state; nil if that is not known.
	Since  *time.Time  `json:"since,omitempty" xml:"since,omitempty"`
	Cause  cause.Cause `json:"cause,omitempty" xml:"cause,omitempty"`
	Detail string      `json:"detail,omitempty" xml:"detail,omitempty"`
	Advice string      `json:"advice,omitempty" xml:"advice,omitempty"`
}

// plain returns d as it can be shown anywhere: times in UTC, and every text on one line,
// without control characters.
func (d *Details) plain() *Details {
	if d == nil {
		return nil
	}
	line := func(s string) string { return plain.Line(s, '?') }
	shown := &Details{Cause: d.Cause, Error: line(d.Error), Pool: line(d.Pool), Upstreams: make([]Upstream, len(d.Upstreams))}
	for i, u := range d.Upstreams {
		u.Address, u.State, u.Detail, u.Advice = line(u.Address), line(u.State), line(u.Detail), line(u.Advice)
		if u.Since != nil {
			u.Since = new(u.Since.UTC().Truncate(time.Second))
		}
		shown.Upstreams[i] = u
	}
	return shown
}

// onlyYou heads the details, so that nobody takes them for what visitors see.
const onlyYou = "Only you see this"

// facts calls write for each line of the details in plain text.
func (d *Details) facts(write func(label, text string)) {
	write("Cause", string(d.Cause)+". "+d.Cause.Advice())
	if d.Error != "" {
		write("Error", d.Error)
	}
	if d.Pool != "" {
		write("Pool", d.Pool)
	}
	for _, u := range d.Upstreams {
		write("Upstream", u.line())
	}
}

// line is all about an upstream in plain text.
func (u *Upstream) line() string {
	s := u.Address + ", " + u.State
	if u.Since != nil {
		s += " since " + u.Since.Format("2006-01-02 15:04:05 UTC")
	}
	if u.Cause != "" {
		s += ", " + string(u.Cause)
	}
	if u.Detail != "" {
		s += " (" + u.Detail + ")"
	}
	if u.Advice != "" {
		s += ". " + u.Advice
	}
	return s
}

//go:embed details.html
var detailsSource string

//go:embed details.css
var detailsStyleSource string

// detailsStyle is sent with the details only: other pages have no use for it.
var detailsStyle = squeeze(detailsStyleSource, "")

var detailsTemplate = template.Must(template.New("details").Parse(
	strings.NewReplacer("{{style}}", detailsStyle, "{{onlyYou}}", onlyYou).Replace(detailsSource)))

// write writes the details into the page.
func (d *Details) write(b *bytes.Buffer) { b.WriteString(markup(detailsTemplate, d)) }
