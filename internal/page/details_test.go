package page

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/cause"
	"github.com/healthpool/caddy-healthpool/internal/represent"
)

// detailed are details in which every text is s.
func detailed(s string) *Details {
	return &Details{
		Cause: cause.ConnectionRefused, Error: s, Pool: s,
		Upstreams: []Upstream{
			{Address: s, State: s, Detail: s, Advice: s, Cause: cause.DNSError, Since: &time2031},
			{Address: "10.0.0.2:80", State: "ejected"},
		},
	}
}

// TestDetails: clients that the owner lists see the cause, the error and the upstreams, with
// what to do.
func TestDetails(t *testing.T) {
	n := notice()
	n.Details = detailed("")
	n.Details.Error, n.Details.Pool = "the error", "the pool"
	first := &n.Details.Upstreams[0]
	first.Address, first.State, first.Detail, first.Advice = "10.0.0.1:80", "unhealthy", "the detail", "What to do."
	d := parse(t, html(t, http.MethodGet, n))
	mustHave(t, d.text(), "connection_refused", cause.ConnectionRefused.Advice(), "the error", "the pool",
		"10.0.0.1:80", "unhealthy", "2031-02-03 10:34:56 UTC", "dns_error", "the detail", "What to do.", "10.0.0.2:80", "ejected")
	if n := len(d.elements("time")); n != 1 {
		t.Errorf("%d times, want that of the one upstream that has one", n)
	}
}

// TestDetailsLeast: a proxy without a pool, and an error without text, leave no
// empty places.
func TestDetailsLeast(t *testing.T) {
	n := notice()
	n.Details = &Details{Cause: cause.ConnectionRefused}
	d := parse(t, html(t, http.MethodGet, n))
	mustHave(t, d.text(), "connection_refused")
	mustNotHave(t, d.text(), "Pool", "since")
	for _, name := range []string{"dl", "h3"} {
		if found := d.elements(name); len(found) > 0 {
			t.Errorf("%d elements %s", len(found), name)
		}
	}
}

// explained are details as they are in an outage.
func explained() *Details {
	return &Details{
		Cause: cause.ConnectionRefused, Error: "inside-error", Pool: "inside-pool",
		Upstreams: []Upstream{
			{Address: "10.0.0.1:80", State: "unhealthy", Cause: cause.DNSError, Detail: "inside-detail", Advice: "What to do.", Since: &time2031},
			{Address: "10.0.0.2:80", State: "ejected"},
		},
	}
}

// detailsAsText are what explained comes to in text.
var detailsAsText = []string{
	"Cause: connection_refused. " + cause.ConnectionRefused.Advice(), "Error: inside-error", "Pool: inside-pool",
	"Upstream: 10.0.0.1:80, unhealthy since 2031-02-03 10:34:56 UTC, dns_error (inside-detail). What to do.",
	"Upstream: 10.0.0.2:80, ejected",
}

// TestDetailsText: in text, the details are lines at the end.
func TestDetailsText(t *testing.T) {
	n := notice()
	without := answer(t, http.MethodGet, represent.Text, n).Body.String()
	n.Details = explained()
	got := answer(t, http.MethodGet, represent.Text, n).Body.String()
	if want := without + "\nOnly you see this:\n" + strings.Join(detailsAsText, "\n") + "\n"; got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

// TestDetailsMarkdown: in Markdown, the details are a list under a heading of their own.
func TestDetailsMarkdown(t *testing.T) {
	n := notice()
	n.Details = explained()
	d := parse(t, rendered(t, answer(t, http.MethodGet, represent.Markdown, n).Body.String()))
	if got := read(d.only(t, "h2")); got != onlyYou {
		t.Errorf("heading %q", got)
	}
	items := d.elements("li")
	for i, li := range items[len(items)-len(detailsAsText):] {
		if got := read(li); got != detailsAsText[i] {
			t.Errorf("got %q, want %q", got, detailsAsText[i])
		}
	}
}

// TestDetailsProblem: programs get the details as members that others don't have.
func TestDetailsProblem(t *testing.T) {
	n := notice()
	n.Details = explained()
	const want = `"error":"inside-error","pool":"inside-pool","upstreams":[` +
		`{"address":"10.0.0.1:80","state":"unhealthy","since":"2031-02-03T10:34:56Z","cause":"dns_error","detail":"inside-detail","advice":"What to do."},` +
		`{"address":"10.0.0.2:80","state":"ejected"}]}`
	for _, format := range []represent.Format{represent.Problem, represent.JSON} {
		body := answer(t, http.MethodGet, format, n).Body.String()
		if mustHave(t, body, want, `"cause":"destination_unavailable"`); !json.Valid([]byte(body)) {
			t.Errorf("no JSON: %s", body)
		}
	}
	mustHave(t, answer(t, http.MethodGet, represent.XML, n).Body.String(),
		"<error>inside-error</error><pool>inside-pool</pool><upstreams><i><address>10.0.0.1:80</address><state>unhealthy</state>"+
			"<since>2031-02-03T10:34:56Z</since><cause>dns_error</cause><detail>inside-detail</detail><advice>What to do.</advice></i>"+
			"<i><address>10.0.0.2:80</address><state>ejected</state></i></upstreams></problem>")
}

// readable are the formats that people read, or programs for them.
var readable = []represent.Format{
	represent.HTML, represent.Text, represent.Markdown, represent.Problem, represent.JSON, represent.XML, "some later one",
}

// inside are what only details may show.
var inside = []string{"inside-", "10.0.0.", "ejected", "What to do", onlyYou, "upstreams", "connection_refused"}

// TestDetailsStayInside: no answer to a remote call or an element of a page has details, and
// no answer without them has a word of them.
func TestDetailsStayInside(t *testing.T) {
	for format := range contentTypes {
		n := notice()
		if !slices.Contains(readable, format) {
			n.Details = explained()
		}
		w := answer(t, http.MethodGet, format, n)
		mustNotHave(t, w.Body.String(), inside...)
		for name, values := range w.Header() {
			mustNotHave(t, name+strings.Join(values, ""), inside...)
		}
	}
}

// TestDetailsNotForOtherOrigins: a script of another site may be able to read what the browser
// of one of the owner's people gets, but not the details.
func TestDetailsNotForOtherOrigins(t *testing.T) {
	n := notice()
	n.Details = explained()
	for _, listed := range [][]string{nil, {"*"}, {"https://app.example.com"}} {
		p := newPage(t, Options{CORS: listed})
		for _, format := range readable {
			for origin, shown := range map[string]bool{
				"": true, "https://example.com": true, "http://EXAMPLE.com": true,
				"https://app.example.com": false, "https://example.com:8443": false, "null": false, "example.com": false,
			} {
				r := ask(http.MethodPost, "Origin", origin)
				if body := p.respond(t, r, format, n).Body.String(); strings.Contains(body, "10.0.0.1") != shown {
					t.Errorf("cors %s, %s, origin %q: shown: %v", listed, format, origin, !shown)
				}
			}
		}
	}
}

// TestDetailsEscape: whatever an upstream made of its error, or a name server of an
// address, is text, and stays on its line.
func TestDetailsEscape(t *testing.T) {
	said := func(format represent.Format, text string) string {
		n := notice()
		n.Details = detailed(text)
		return answer(t, http.MethodGet, format, n).Body.String()
	}
	lines := func(body string) []string { return make([]string, strings.Count(body, "\n")) }
	outlines := map[represent.Format]func(string) []string{
		represent.HTML:     outline,
		represent.Markdown: func(body string) []string { return outline(rendered(t, body)) },
		represent.Text:     lines,
		represent.Problem:  lines,
		represent.XML:      lines,
	}
	for format, outline := range outlines {
		want := outline(said(format, "harmless"))
		for _, bad := range append([]string{"# x", "- x", "*x* `y` [z](https://evil.example)", "    x", "=== ", "a, b"}, hostile...) {
			body := said(format, bad)
			if got := outline(body); !slices.Equal(got, want) {
				t.Errorf("%s, %q: got %q, want %q", format, bad, got, want)
			}
			checkTame(t, clearOfAssets(body))
		}
	}
}

// TestDetailsTime: times are in UTC, wherever the proxy is.
func TestDetailsTime(t *testing.T) {
	n := notice()
	n.Details = &Details{Upstreams: []Upstream{{Address: "a", Since: new(time.Date(2031, 1, 1, 0, 30, 0, 0, time.FixedZone("", 3600)))}}}
	at := parse(t, html(t, http.MethodGet, n)).only(t, "time")
	if got, _ := attribute(at, "datetime"); got != "2030-12-31T23:30:00Z" {
		t.Errorf("datetime %q", got)
	}
}
