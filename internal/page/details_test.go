package page

import (
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
			{Address: s, State: s, Detail: s, Advice: s, Cause: cause.DNSError, Since: time2031},
			{Address: "10.0.0.2:80", State: "ejected"},
		},
	}
}

// TestDetails: those whom the owner shows more read the cause, the error and the
// upstreams, with what to do.
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

// TestDetailsOnlyOnPage: no other format has them, and no page without them has a
// word of them.
func TestDetailsOnlyOnPage(t *testing.T) {
	n := notice()
	n.Details = &Details{Cause: cause.ConnectionRefused, Error: "inside-error", Pool: "inside-pool", Upstreams: []Upstream{{Address: "inside-address"}}}
	for format := range contentTypes {
		if format == represent.HTML {
			continue
		}
		w := answer(t, http.MethodGet, format, n)
		mustNotHave(t, w.Body.String(), "inside-")
		for name, values := range w.Header() {
			mustNotHave(t, name+strings.Join(values, ""), "inside-")
		}
	}
	n.Details = nil
	plain := parse(t, html(t, http.MethodGet, n))
	mustNotHave(t, plain.text(), "Only you see this", "connection_refused")
	if found := plain.elements("section"); len(found) > 0 {
		t.Errorf("%d sections", len(found))
	}
}

// TestDetailsEscape: whatever an upstream made of its error, or a name server of an
// address, is text.
func TestDetailsEscape(t *testing.T) {
	n := notice()
	n.Details = detailed("harmless")
	want := outline(html(t, http.MethodGet, n))
	for _, bad := range hostile {
		n.Details = detailed(bad)
		if got := outline(html(t, http.MethodGet, n)); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", bad, got, want)
		}
	}
}

// TestDetailsTime: since when is told in UTC, wherever the proxy is.
func TestDetailsTime(t *testing.T) {
	n := notice()
	n.Details = &Details{Upstreams: []Upstream{{Address: "a", Since: time.Date(2031, 1, 1, 0, 30, 0, 0, time.FixedZone("", 3600))}}}
	at := parse(t, html(t, http.MethodGet, n)).only(t, "time")
	if got, _ := attribute(at, "datetime"); got != "2030-12-31T23:30:00Z" {
		t.Errorf("datetime %q", got)
	}
}
