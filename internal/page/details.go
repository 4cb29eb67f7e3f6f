package page

import (
	"bytes"
	_ "embed" // for the files below
	"html/template"
	"strings"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/cause"
)

// Details are what the owner's own people are shown on the page: what is wrong,
// and what to do. They are in English, as the log is.
type Details struct {
	Cause cause.Cause
	// Error is the proxy's own, in the words of the log.
	Error string
	// Pool is the name of the pool, and Upstreams those of its upstreams that
	// get no requests; both empty for a proxy without one.
	Pool      string
	Upstreams []Upstream
}

// Upstream is one that gets no requests.
type Upstream struct {
	Address, State, Detail, Advice string
	Cause                          cause.Cause
	Since                          time.Time
}

//go:embed details.html
var detailsSource string

//go:embed details.css
var detailsStyleSource string

// detailsStyle comes with the details only: other pages have no use for it.
var detailsStyle = squeeze(detailsStyleSource, "")

var detailsTemplate = template.Must(template.New("details").Parse(strings.Replace(detailsSource, "{{style}}", detailsStyle, 1)))

func (d *Details) write(b *bytes.Buffer) { b.WriteString(markup(detailsTemplate, d)) }
