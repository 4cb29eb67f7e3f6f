package statuspage

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/healthpool/caddy-healthpool/internal/cause"
	"github.com/healthpool/caddy-healthpool/internal/intent"
	"github.com/healthpool/caddy-healthpool/internal/look"
	"github.com/healthpool/caddy-healthpool/internal/operator"
	"github.com/healthpool/caddy-healthpool/internal/pool"
)

var tonight = time.Date(2026, 11, 22, 20, 15, 3, 0, time.UTC)

// render is the page with these pools.
func render(t *testing.T, found ...pool.Status) string {
	t.Helper()
	var b strings.Builder
	if err := pageTemplate.Execute(&b, newView(found, tonight)); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// wantParts checks that text contains every part, except those with a minus sign before
// them, which it must not contain.
func wantParts(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if unwanted, isUnwanted := strings.CutPrefix(part, "-"); isUnwanted == strings.Contains(text, unwanted) {
			shown, _, _ := strings.Cut(text[max(0, strings.Index(text, "<header>")):], "<footer>")
			t.Errorf("%q in:\n%s", part, shown)
		}
	}
}

// upstream is a healthy upstream, with a change.
func upstream(change func(*pool.UpstreamStatus)) pool.UpstreamStatus {
	u := pool.UpstreamStatus{
		Address: "10.0.0.1:8080", Tier: "primary", State: "healthy", Since: tonight.Add(-90 * time.Second),
		LastCheck: &pool.CheckStatus{At: tonight.Add(-2 * time.Second), DurationMS: 0.42, Passed: true},
		History:   "FPP", Passes: 2, InFlight: 3, LatencyMS: 12.4, Weight: 7,
	}
	if change != nil {
		change(&u)
	}
	return u
}

func TestUpstreams(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*pool.UpstreamStatus)
		parts  []string
	}{
		"healthy": {nil, []string{
			`<code>10.0.0.1:8080</code> <b class="healthy">healthy</b>`, `primary, healthy since <time datetime="2026-11-22T20:13:33Z">20:13:33 UTC</time>, for 1m 30s`,
			"2 of 3 checks passed", ">2s</time> ago, took 0.4 ms", "<dd>2 passed</dd>", "<dd>3</dd>", "<dd>12 ms</dd>", "<dd>7</dd>",
			`-class="note"`, "-warming",
		}},
		"unhealthy": {func(u *pool.UpstreamStatus) {
			u.State, u.Cause, u.Advice = "unhealthy", cause.ConnectionRefused, cause.ConnectionRefused.Advice()
			u.Detail, u.Passes, u.Fails = "dial tcp: connection refused", 0, 4
			u.LastCheck.Passed, u.LastCheck.DurationMS, u.History = false, 2000, "PPPPFFFF"
		}, []string{
			`<b class="unhealthy">unhealthy</b>`, "<b>connection_refused</b>: Nothing listens on that port.", "<code>dial tcp: connection refused</code>",
			"4 of 8 checks passed", "<dd>4 failed</dd>", "failed <time", "took 2 s",
		}},
		"backup, warming": {func(u *pool.UpstreamStatus) { u.Tier, u.Warming = "backup", true }, []string{"backup, warming up"}},
		"ejected":         {func(u *pool.UpstreamStatus) { u.State = "ejected" }, []string{`<b class="ejected">ejected</b>`}},
		"draining":        {func(u *pool.UpstreamStatus) { u.State = "draining" }, []string{`<b class="draining">draining</b>`}},
		"checking": {func(u *pool.UpstreamStatus) {
			*u = pool.UpstreamStatus{Address: "a:1", Tier: "primary", State: "checking", Weight: 1}
		}, []string{`<b class="checking">checking</b>`, "not checked yet", "<dd>none</dd>", "<dd>none yet</dd>", "-0001-01-01", "-since <time"}},
	} {
		t.Run(name, func(t *testing.T) {
			wantParts(t, render(t, pool.Status{Name: "shop", State: pool.Up, Total: 1, Upstreams: []pool.UpstreamStatus{upstream(tt.change)}}), tt.parts...)
		})
	}
}

func TestPools(t *testing.T) {
	since := tonight.Add(-26 * time.Hour)
	for name, tt := range map[string]struct {
		found []pool.Status
		parts []string
	}{
		"none": {nil, []string{"<title>There are no pools</title>", "No site of the running config has a healthpool", "-<nav", "-<section"}},
		"one up": {[]pool.Status{{Name: "shop", State: pool.Up, Healthy: 3, Total: 3, Held: 1, Waiting: 1}}, []string{
			"<h1>shop is up</h1>", "3 of 3 healthy, 1 held request, 1 waiting visitor.", `data-name="shop" data-state="up"`, "-<nav", "-Since",
		}},
		"one down": {[]pool.Status{{Name: "shop", State: pool.Down, Since: since, Total: 3, Held: 2, Waiting: 5}}, []string{
			"<title>shop is down</title>", `Since <time datetime="2026-11-21T18:15:03Z">2026-11-21 18:15:03 UTC</time>, for 1d 2h. 0 of 3 healthy, 2 held requests, 5 waiting visitors.`,
		}},
		"several up": {[]pool.Status{{Name: "a", State: pool.Up}, {Name: "b", State: pool.Up}}, []string{"<h1>All 2 pools are up</h1>", "<nav"}},
		"several": {
			[]pool.Status{{Name: "a", State: pool.Up}, {Name: "b", State: pool.Down}, {Name: "c", State: pool.Degraded}, {Name: "d", State: pool.InMaintenance}},
			[]string{"<h1>Of 4 pools, 1 down, 1 degraded, 1 in maintenance, 1 up</h1>"},
		},
		"maintenance": {[]pool.Status{{Name: "shop", State: pool.InMaintenance, Maintenance: &intent.Maintenance{
			Message: "Back <soon>", Until: tonight.Add(time.Hour),
		}}}, []string{"<h1>shop is in maintenance</h1>", "Back &lt;soon&gt;", `until <time datetime="2026-11-22T21:15:03Z">21:15:03 UTC</time>`, "-No end", "-Let through"}},
		"maintenance without an end": {[]pool.Status{{Name: "shop", State: pool.InMaintenance, Maintenance: &intent.Maintenance{}}}, []string{"No end is planned.", "-told"}},
	} {
		t.Run(name, func(t *testing.T) { wantParts(t, render(t, tt.found...), tt.parts...) })
	}
}

// TestEscapes: text from outside never becomes markup.
func TestEscapes(t *testing.T) {
	const evil = `"><script>alert(1)</script><img src=x onerror=alert(1)>'`
	page := render(t,
		pool.Status{
			Name: evil, State: pool.Down, Maintenance: &intent.Maintenance{Message: evil},
			Upstreams: []pool.UpstreamStatus{upstream(func(u *pool.UpstreamStatus) {
				u.Address, u.Detail, u.Advice, u.Cause, u.Tier, u.State = evil, evil, evil, evil, evil, evil
			})},
		}, pool.Status{Name: "javascript:alert(1)"})
	for pattern, want := range map[string]int{`<script`: 1, `<img`: 0, `href="javascript`: 0, `</script`: 1} {
		if n := strings.Count(page, pattern); n != want {
			t.Errorf("%s: %d times, want %d", pattern, n, want)
		}
	}
	wantParts(t, page, "&lt;script&gt;alert(1)&lt;/script&gt;")
}

// TestManyUpstreams: of a big pool, the page shows those with a problem first, and counts
// the rest.
func TestManyUpstreams(t *testing.T) {
	big := pool.Status{Name: "big", State: pool.Degraded, Healthy: 9997, Total: 10000}
	for i := range big.Total {
		big.Upstreams = append(big.Upstreams, upstream(func(u *pool.UpstreamStatus) {
			u.Address = fmt.Sprintf("app-%d:80", i)
			if state := map[int]string{500: "draining", 7000: "ejected", 9999: "unhealthy"}[i]; state != "" {
				u.State = state
			}
		}))
	}
	page := render(t, big)
	if n := strings.Count(page, "<h3>"); n != maxRows {
		t.Errorf("%d rows, want %d", n, maxRows)
	}
	wantParts(t, page, ">9800 more are healthy.<")
	if rows := regexp.MustCompile(`(?s)app-9999:80.*app-7000:80.*app-500:80.*app-0:80.*app-196:80`); !rows.MatchString(page) {
		t.Error("those that need someone must be first")
	}
	for i := range big.Upstreams {
		big.Upstreams[i].State = "unhealthy"
	}
	big.Upstreams[3].State = "checking"
	wantParts(t, render(t, big), ">9799 more are unhealthy, 1 more is checking.<")
}

func TestHistory(t *testing.T) {
	for checks, want := range map[string]string{
		"":                                  "not checked yet:  /  / M0 19H319",
		"P":                                 "1 of 1 checks passed: M315 16H319 /  / M0 19H314",
		"PFF":                               "1 of 3 checks passed: M305 16H309 / M310 10H319 / M0 19H304",
		strings.Repeat("P", 64):             "64 of 64 checks passed: M0 16H319 /  / ",
		"F" + strings.Repeat("P", 62) + "F": "62 of 64 checks passed: M5 16H314 / M0 10H4M315 10H319 / ",
	} {
		h := newHistoryView(checks)
		if got := fmt.Sprintf("%s: %s / %s / %s", h.Words, h.Passed, h.Failed, h.Missing); got != want {
			t.Errorf("%q: got %s, want %s", checks, got, want)
		}
	}
}

// TestIDs: whatever the pools are called, no two elements have the same ID.
func TestIDs(t *testing.T) {
	names := []string{"at", "pool", "to", "name", "to/at", "name/at", "at/10.0.0.1:8080", "pool-at", ""}
	found := make([]pool.Status, 0, len(names))
	for _, name := range names {
		found = append(found, pool.Status{Name: name, Upstreams: []pool.UpstreamStatus{upstream(nil)}})
	}
	seen := make(map[string]bool)
	for _, id := range regexp.MustCompile(`\bid="([^"]*)"`).FindAllStringSubmatch(render(t, found...), -1) {
		if seen[id[1]] {
			t.Errorf("%q twice", id[1])
		}
		seen[id[1]] = true
	}
	wantParts(t, render(t, found[:2]...), `<section id="pool-at"`, `<a href="#pool-at">`, `aria-labelledby="name/pool-at"`)
}

// goneClient is a client that hangs up before it gets anything.
type goneClient struct{ http.ResponseWriter }

func (goneClient) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

// TestGoneClient: it is not an error of the handler if a client leaves.
func TestGoneClient(t *testing.T) {
	for _, accept := range []string{"text/html", "application/json"} {
		r := httptest.NewRequest(http.MethodGet, "/status", nil)
		r.Header.Set("Accept", accept)
		if err := new(Handler).ServeHTTP(goneClient{httptest.NewRecorder()}, r, nil); err != nil {
			t.Errorf("%s: %v", accept, err)
		}
	}
}

// get asks the handler.
func get(t *testing.T, method string, headers ...string) (*httptest.ResponseRecorder, error) {
	t.Helper()
	r := httptest.NewRequest(method, "/status", nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	return w, new(Handler).ServeHTTP(w, r, nil)
}

// TestFormats: people get the page, and programs the JSON of the admin API.
func TestFormats(t *testing.T) {
	const html, jsn = "text/html; charset=utf-8", "application/json"
	for accept, want := range map[string]string{
		"": html, "*/*": html, "text/html,application/xhtml+xml,*/*;q=0.8": html, "text/plain": html,
		"application/json": jsn, "application/json, text/html;q=0.9": jsn,
	} {
		w, err := get(t, http.MethodGet, "Accept", accept)
		if got := w.Header().Get("Content-Type"); got != want || err != nil || w.Code != http.StatusOK {
			t.Errorf("%q: got %s, want %s (%d, %v)", accept, got, want, w.Code, err)
		}
		for name, value := range map[string]string{
			"Cache-Control": "no-store", "X-Robots-Tag": "noindex", "X-Content-Type-Options": "nosniff",
			"Referrer-Policy": "no-referrer", "Cross-Origin-Resource-Policy": "same-origin", "Vary": "Accept, Sec-Fetch-Dest",
		} {
			if got := w.Header().Get(name); got != value {
				t.Errorf("%q: %s is %q, want %q", accept, name, got, value)
			}
		}
	}
	w, _ := get(t, http.MethodGet, "Accept", "application/json")
	admin := httptest.NewRecorder()
	if err := (operator.AdminAPI{}).Routes()[0].Handler.ServeHTTP(admin, httptest.NewRequest(http.MethodGet, operator.PoolsPath, nil)); err != nil {
		t.Fatal(err)
	}
	if got, want := w.Body.String(), admin.Body.String(); got != want || !json.Valid([]byte(got)) {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestMethods(t *testing.T) {
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions, http.MethodPatch} {
		w, err := get(t, method)
		var refused caddyhttp.HandlerError
		if !errors.As(err, &refused) || refused.StatusCode != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: %v, %v", method, err, w.Header())
		}
	}
	if w, err := get(t, http.MethodHead); err != nil || w.Code != http.StatusOK {
		t.Errorf("HEAD: %d, %v", w.Code, err)
	}
}

// TestPolicy: the policy allows the style and the script of the page, whatever it shows, and
// nothing else.
func TestPolicy(t *testing.T) {
	page := render(t, pool.Status{Name: "shop", Upstreams: []pool.UpstreamStatus{upstream(nil)}})
	for _, name := range []string{"style", "script"} {
		if n := strings.Count(page, "<"+name); n != 1 || !strings.Contains(policy, name+"-src "+hashOf(page, name)+";") {
			t.Errorf("%d %s, not all allowed by %s", n, name, policy)
		}
	}
	wantParts(t, policy, "default-src 'none'", "connect-src 'self'", "frame-ancestors 'none'", "-unsafe", "-http")
	wantParts(t, page, "- style=", "- onclick=", "-http:", "-https:", "-/*")
}

// TestContrast: text has at least 7:1 (WCAG 2.2, 1.4.6) on both themes.
func TestContrast(t *testing.T) {
	for i, colors := range themes(t, style) {
		for _, name := range []string{"text", "soft", "link", "good", "warn", "bad"} {
			if ratio := look.Contrast(colors[name], colors["ground"]); ratio < 7 {
				t.Errorf("theme %d: %s has a contrast of %.2f", i, name, ratio)
			}
		}
	}
}

// TestPalette: the colours that both pages have are the same on the visitors' page.
func TestPalette(t *testing.T) {
	visitors, err := os.ReadFile("../page/page.css")
	if err != nil {
		t.Fatal(err)
	}
	ours := themes(t, style)
	for i, colors := range themes(t, string(visitors)) {
		for name, want := range colors {
			if got, both := ours[i][name]; both && got != want {
				t.Errorf("theme %d: %s is %v, want %v", i, name, got, want)
			}
		}
	}
}

// themes are the colours of a style by name, in the light and in the dark theme.
func themes(t *testing.T, style string) (all []map[string]look.Color) {
	t.Helper()
	for _, theme := range regexp.MustCompile(`(?s):root \{(.*?)\}`).FindAllStringSubmatch(style, -1) {
		colors := make(map[string]look.Color)
		for _, m := range regexp.MustCompile(`--(\w+): (#\w+);`).FindAllStringSubmatch(theme[1], -1) {
			c, err := look.ParseColor(m[2])
			if err != nil {
				t.Error(err)
			}
			colors[m[1]] = c
		}
		all = append(all, colors)
	}
	if len(all) != 2 {
		t.Fatalf("%d themes, want a light and a dark one", len(all))
	}
	return all
}

func TestSyntax(t *testing.T) {
	for text, want := range map[string]string{
		"healthpool_status":                   "",
		"healthpool_status x":                 `takes no value but a matcher, got "x"`,
		"healthpool_status {\n\trefresh 1\n}": `has no options, got "refresh"`,
	} {
		err := new(Handler).UnmarshalCaddyfile(caddyfile.NewTestDispenser(text))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}
