package healthpool_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// TestStatusPage: the page shows what is wrong, and the rest of the site stays as it is.
func TestStatusPage(t *testing.T) {
	alive, dead := newBackend(t, "app"), deadAddress(t)
	s := run(t, fmt.Sprintf("healthpool_status /status\nhealthpool %s %s {\nname shop\n}", alive.addr, dead))
	await(t, "both are checked", func() bool {
		body := s.adminDo(http.MethodGet, "/healthpool/pools").body
		return strings.Contains(body, `"state":"unhealthy"`) && strings.Contains(body, `"healthy":1,`)
	})
	got := s.get("/status", "Accept", "text/html")
	wantText(t, got, "<h1>shop is degraded</h1>", "1 of 2 healthy", alive.addr, dead, "connection_refused", "Nothing listens on that port")
	for _, name := range []string{"style", "script"} {
		if csp := got.header.Get("Content-Security-Policy"); !strings.Contains(csp, name+"-src 'sha256-") || strings.Contains(csp, "unsafe") {
			t.Errorf("policy %s", csp)
		}
	}
	if app := s.get("/"); app.body != "app" {
		t.Errorf("the app: %+v", app)
	}
	head := s.do(http.MethodHead, "/status", "", "Accept", "text/html")
	if head.status != http.StatusOK || head.body != "" || head.header.Get("Content-Security-Policy") == "" {
		t.Errorf("HEAD: %+v", head)
	}
	post := s.do(http.MethodPost, "/status", "x")
	if post.status != http.StatusMethodNotAllowed || post.header.Get("Allow") != "GET, HEAD" || post.isOurs() {
		t.Errorf("POST: %+v", post)
	}
}

// TestStatusPageJSON: a program gets the JSON of the admin API.
func TestStatusPageJSON(t *testing.T) {
	s := run(t, fmt.Sprintf("healthpool_status /status\nhealthpool %s %s", newBackend(t, "app").addr, deadAddress(t)))
	// Checks go on between two requests, so what they change is left out.
	moving := regexp.MustCompile(`"(at|duration_ms|history|passes|fails|latency_ms)":("[^"]*"|[\d.e-]+)`)
	var program, admin string
	await(t, "both say the same", func() bool {
		program = s.get("/status", "Accept", "application/json").body
		admin = s.adminDo(http.MethodGet, "/healthpool/pools").body
		return strings.Contains(admin, `"unhealthy"`) && moving.ReplaceAllString(program, "") == moving.ReplaceAllString(admin, "")
	})
	if !json.Valid([]byte(program)) {
		t.Errorf("no JSON: %s", program)
	}
}

// TestStatusPageFollowsOrders: a pool in maintenance, a drained upstream and a config
// without pools are shown as they are.
func TestStatusPageFollowsOrders(t *testing.T) {
	app := newBackend(t, "app")
	s := run(t, fmt.Sprintf("healthpool_status /status\nhealthpool %s {\nname shop\n}", app.addr))
	for order, want := range map[string]string{"maintenance": "shop is in maintenance", "drain?upstream=" + app.addr: `<b class="draining">`} {
		s.adminDo(http.MethodPost, "/healthpool/pools/shop/"+order)
		wantText(t, s.get("/status"), want)
		s.adminDo(http.MethodDelete, "/healthpool/pools/shop/"+order)
		wantText(t, s.get("/status"), "-"+want)
	}
	if err := s.load("", "healthpool_status /status"); err != nil {
		t.Fatal(err)
	}
	s.awaitAnswer("/status", func(r response) bool { return strings.Contains(r.body, "There are no pools") })
}

// TestStatusPageIsProtected: the ways to restrict the page that the documentation shows
// work, whatever the order of the lines.
func TestStatusPageIsProtected(t *testing.T) {
	app := newBackend(t, "app")
	s := run(t, fmt.Sprintf("healthpool %s\nhealthpool_status @office\n@office {\npath /status\nremote_ip 10.0.0.0/8\n}", app.addr))
	if got := s.get("/status"); got.body != "app" {
		t.Errorf("someone else: %+v", got)
	}
	if err := s.load("", fmt.Sprintf("healthpool %s\nhealthpool_status @office\n@office {\npath /status\nremote_ip private_ranges\n}", app.addr)); err != nil {
		t.Fatal(err)
	}
	s.awaitAnswer("/status", func(r response) bool { return strings.Contains(r.body, app.addr) })
	notOurs := "$2a$04$" + strings.Repeat("x", 53) // no password has this hash
	if err := s.load("", fmt.Sprintf("handle /status {\nhealthpool_status\nbasic_auth {\nalice %s\n}\n}\nhealthpool %s", notOurs, app.addr)); err != nil {
		t.Fatal(err)
	}
	got := s.awaitAnswer("/status", func(r response) bool { return r.status == http.StatusUnauthorized })
	wantText(t, got, "-"+app.addr)
}
