package healthpool_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// downSite returns a site whose only upstream is down, with options of the page.
func downSite(t *testing.T, options string) *site {
	t.Helper()
	s := run(t, fmt.Sprintf("healthpool %s {\nhold off\npage {\n%s\n}\n}", deadAddress(t), options))
	s.awaitPool("down")
	return s
}

// page returns what a visitor's browser gets.
func (s *site) page(headers ...string) response {
	s.t.Helper()
	return s.get("/", append([]string{"Accept", "text/html"}, headers...)...)
}

// wantText checks that a response contains all of the parts, except those prefixed with a
// minus sign, which it must not contain.
func wantText(t *testing.T, r response, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if unwanted, isUnwanted := strings.CutPrefix(want, "-"); isUnwanted == strings.Contains(r.body, unwanted) {
			t.Errorf("%q: status %d, %.600s", want, r.status, r.body)
		}
	}
}

// TestLanguages checks that visitors get their own language, and that the owner can limit the
// languages and replace sentences.
func TestLanguages(t *testing.T) {
	s := downSite(t, `translate de title "Gleich geht es <weiter>"`)
	for header, want := range map[string][3]string{
		"":                         {"en", "ltr", "Sorry, this page"},
		"fr-CH, fr;q=0.9":          {"fr", "ltr", "Veuillez nous excuser"},
		"zh-TW,zh;q=0.9,en;q=0.8":  {"zh-TW", "ltr", "抱歉"},
		"iw":                       {"he", "rtl", "הדף"},
		"sr-Latn":                  {"sr", "ltr", "страница"},
		"de-AT, en;q=0.9":          {"de", "ltr", "Gleich geht es &lt;weiter&gt;"},
		strings.Repeat("x,", 4000): {"en", "ltr", "Sorry"},
	} {
		got := s.page("Accept-Language", header)
		wantText(t, got, fmt.Sprintf(`<html lang="%s" dir="%s">`, want[0], want[1]), want[2])
		if lang := got.header.Get("Content-Language"); lang != want[0] {
			t.Errorf("%.40q: Content-Language %q", header, lang)
		}
	}
	if got := s.get("/", "Accept-Language", "de"); got.header.Get("Content-Language") != "en" {
		t.Errorf("text is English, but says %v", got.header)
	}
	s = downSite(t, "languages ja de")
	wantText(t, s.page("Accept-Language", "fr"), `lang="ja"`)
	wantText(t, s.page("Accept-Language", "de-CH"), `lang="de"`)
}

// TestLogoAndColor checks that the page has the owner's logo and colour, and that its
// Content-Security-Policy allows them.
func TestLogoAndColor(t *testing.T) {
	logo := filepath.Join(t.TempDir(), "logo")
	if err := os.WriteFile(logo, []byte(`<svg xmlns="http://www.w3.org/2000/svg"/>`), 0o600); err != nil {
		t.Fatal(err)
	}
	s := downSite(t, "color \"#767676\"\nlogo "+logo)
	got := s.page()
	wantText(t, got, `<img src="data:image/svg+xml;base64,`, "#767676")
	if csp := got.header.Get("Content-Security-Policy"); !strings.Contains(csp, "img-src data:") || strings.Contains(csp, "unsafe") {
		t.Errorf("policy %q", csp)
	}
}

// TestDetails checks that exactly the listed clients get the details, in every format.
func TestDetails(t *testing.T) {
	for ranges, shown := range map[string]bool{"127.0.0.1": true, "127.0.0.0/8 ::1": true, "10.0.0.0/8": false} {
		s := downSite(t, "details "+ranges)
		for _, accept := range []string{"text/html", "*/*", "text/markdown", "application/json", "application/problem+json", "application/problem+xml"} {
			got := s.get("/", "Accept", accept)
			for _, part := range []string{"127.0.0.1:", "connection_refused", "Nothing listens on that port", "unhealthy"} {
				if strings.Contains(strings.ReplaceAll(got.body, "\\_", "_"), part) != shown {
					t.Errorf("details %s, %s: %q is shown: %v\n%s", ranges, accept, part, !shown, got.body)
				}
			}
		}
		for _, headers := range [][]string{{"Content-Type", "application/grpc"}, {"Connect-Protocol-Version", "1"}, {"Sec-Fetch-Dest", "image"}} {
			got := s.do(http.MethodPost, "/", "", headers...)
			if all := fmt.Sprint(got.header, got.body); strings.Contains(all, "127.0.0.1") || strings.Contains(all, "refused") {
				t.Errorf("details %s: %v is shown %s", ranges, headers, all)
			}
		}
	}
}

// TestDetailsOfStaticProxy checks that a proxy without a pool shows its error.
func TestDetailsOfStaticProxy(t *testing.T) {
	dead := deadAddress(t)
	s := run(t, "no_healthy_upstream {\ndetails 127.0.0.1\n}\nreverse_proxy "+dead)
	for _, accept := range []string{"text/html", "text/plain", "text/markdown", "application/json", "application/problem+xml"} {
		wantText(t, s.get("/", "Accept", accept), "dial tcp "+dead)
	}
}

// TestDetailsTrustProxies checks that the client is determined by trusted_proxies.
func TestDetailsTrustProxies(t *testing.T) {
	directives := fmt.Sprintf("no_healthy_upstream {\ndetails 192.0.2.7\n}\nreverse_proxy %s", deadAddress(t))
	s := run(t, directives)
	wantText(t, s.page("X-Forwarded-For", "192.0.2.7"), "-Only you")
	if err := s.load("servers {\ntrusted_proxies static 127.0.0.1\n}", directives); err != nil {
		t.Fatal(err)
	}
	got := s.awaitAnswer("/", func(r response) bool { return strings.Contains(r.body, "Only you see this") },
		"Accept", "text/html", "X-Forwarded-For", "192.0.2.7")
	wantText(t, got, "connection_refused", "127.0.0.1:")
	wantText(t, s.page("X-Forwarded-For", "192.0.2.8"), "-Only you")
}

// TestProxyStatus checks the header for programs (RFC 9209).
func TestProxyStatus(t *testing.T) {
	if got := downSite(t, "").get("/").header.Values("Proxy-Status"); got != nil {
		t.Errorf("without the option, got %q", got)
	}
	if got := downSite(t, "proxy_status edge-1").get("/").header.Get("Proxy-Status"); got != "edge-1;error=destination_unavailable" {
		t.Errorf("got %q", got)
	}
	s := run(t, "no_healthy_upstream {\nproxy_status \"Berlin 1\"\n}\nreverse_proxy "+deadAddress(t))
	if got := s.get("/").header.Get("Proxy-Status"); got != `"Berlin 1";error=connection_refused` {
		t.Errorf("got %q", got)
	}
}

// TestCORS checks that scripts of the listed origins can read the error.
func TestCORS(t *testing.T) {
	const app = "https://app.example"
	s := downSite(t, "cors "+app)
	got := s.get("/", "Origin", app, "Sec-Fetch-Dest", "empty")
	expect(t, got.header, map[string]bool{
		"origin":  got.header.Get("Access-Control-Allow-Origin") == app,
		"exposed": strings.Contains(got.header.Get("Access-Control-Expose-Headers"), "Retry-After"),
		"vary":    strings.Contains(got.header.Get("Vary"), "Origin"),
		"status":  got.status == http.StatusServiceUnavailable,
	})
	preflight := []string{"Origin", app, "Access-Control-Request-Method", "PUT", "Access-Control-Request-Headers", "x-token"}
	got = s.do(http.MethodOptions, "/", "", preflight...)
	expect(t, got, map[string]bool{
		"status":  got.status == http.StatusNoContent,
		"method":  got.header.Get("Access-Control-Allow-Methods") == "PUT",
		"headers": got.header.Get("Access-Control-Allow-Headers") == "x-token",
		"store":   got.header.Get("Cache-Control") == "no-store",
	})
	preflight[1] = "https://other.example"
	for _, got := range []response{s.do(http.MethodOptions, "/", "", preflight...), s.get("/", "Origin", preflight[1])} {
		if got.status != http.StatusServiceUnavailable || got.header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("another origin: got %d %v", got.status, got.header)
		}
	}
}

// TestEventStreamHold checks that an EventSource is kept alive only with the option.
func TestEventStreamHold(t *testing.T) {
	events := []string{"Accept", "text/event-stream", "Sec-Fetch-Dest", "empty"}
	if got := downSite(t, "").get("/", events...); got.status != http.StatusServiceUnavailable {
		t.Errorf("got %d", got.status)
	}
	s := downSite(t, "event_stream hold")
	got := s.get("/", events...)
	if got.status != http.StatusOK || got.header.Get("Content-Type") != "text/event-stream" || !regexp.MustCompile(`^retry: \d{4,5}\n: no healthy upstream\n\n$`).MatchString(got.body) {
		t.Errorf("got %d %q", got.status, got.body)
	}
	if got := s.page(); got.status < 500 {
		t.Errorf("the page has status %d", got.status)
	}
}

// TestRetryAfterAgrees checks that all formats have the same time, and that it depends on
// the next check.
func TestRetryAfterAgrees(t *testing.T) {
	s := run(t, fmt.Sprintf("healthpool %s {\nhold off\nhealth_down_interval 20s\n}", deadAddress(t)))
	s.awaitPool("down")
	for range 3 {
		got := s.get("/", acceptProblem...)
		n, _ := strconv.Atoi(got.header.Get("Retry-After"))
		if n < 10 || n > 22 || n != got.problem(t).RetryAfter {
			t.Errorf("header %d, member %d: the next check is some 20 s away", n, got.problem(t).RetryAfter)
		}
		page := s.page()
		wantText(t, page, fmt.Sprintf(`data-after="%s"`, page.header.Get("Retry-After")), fmt.Sprintf("in about %s seconds", page.header.Get("Retry-After")))
	}
	var pools []struct{ Waiting int }
	if err := json.Unmarshal([]byte(s.adminDo(http.MethodGet, "/healthpool/pools").body), &pools); err != nil || pools[0].Waiting != 3 {
		t.Errorf("%+v: three pages wait: %v", pools, err)
	}
}

// TestIntercept checks that exactly the configured upstream responses are replaced.
func TestIntercept(t *testing.T) {
	b := newBackendFunc(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Set-Cookie", "of=upstream")
		w.Header().Set("X-App", "yes")
		status, _ := strconv.Atoi(r.URL.Query().Get("status"))
		w.WriteHeader(status)
		fmt.Fprint(w, r.URL.Query().Get("text"))
		if r.URL.Query().Has("abort") {
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
	})
	for name, directives := range map[string]string{
		"static": "no_healthy_upstream {\nintercept 503 4xx\n}\nreverse_proxy APP",
		"pool":   "healthpool APP {\npage {\nintercept 503 4xx\n}\n}",
	} {
		t.Run(name, func(t *testing.T) {
			s := run(t, strings.ReplaceAll(directives, "APP", b.addr))
			for query, want := range map[string]string{
				"status=503&text=no+healthy+upstream": "not_sent", "status=503&text=no+healthy+upstreams": "unknown", "status=503&text=no": "unknown",
				"status=404": "unknown", "status=503&text=half&abort": "unknown",
			} {
				got := s.do(http.MethodPost, "/?"+query, "", acceptProblem...)
				p := got.problem(t)
				expect(t, got, map[string]bool{
					"status":           strings.Contains(query, fmt.Sprintf("status=%d", got.status)) && p.Status == got.status,
					"fate of " + query: p.RequestFate == want, "cause": p.Cause == "destination_unavailable",
					"headers": got.header.Get("Set-Cookie") == "" && got.header.Get("X-App") == "", "is ours": got.isOurs(),
				})
			}
			for _, status := range []int{200, 500, 502} {
				got := s.get(fmt.Sprintf("/?status=%d&text=mine", status))
				expect(t, got, map[string]bool{"status": got.status == status, "body": got.body == "mine", "header": got.header.Get("X-App") == "yes"})
			}
		})
	}
}

// TestInterceptPoll checks that a page learns when a mesh behind Caddy is back.
func TestInterceptPoll(t *testing.T) {
	up := make(chan struct{})
	b := newBackendFunc(t, func(w http.ResponseWriter, _ *http.Request) {
		select {
		case <-up:
		default:
			http.Error(w, "no healthy upstream", http.StatusServiceUnavailable)
		}
	})
	s := run(t, "no_healthy_upstream {\nintercept 503\n}\nreverse_proxy "+b.addr)
	token := s.token("/")
	checkPoll(t, s.poll("/", token), http.StatusServiceUnavailable)
	close(up)
	checkPoll(t, s.poll("/", token), http.StatusNoContent)
}

// TestVisitorsReturnInTurn checks that pages that poll once a pool is back are told to
// return one after another.
func TestVisitorsReturnInTurn(t *testing.T) {
	b := newBackend(t, "hello")
	s := run(t, "healthpool "+b.addr)
	await(t, "the pool is up", func() bool { return s.poll("/", "-").status == http.StatusNoContent })
	began, last := time.Now(), 0
	const visitors = 100
	for range visitors {
		last, _ = strconv.Atoi(s.poll("/", "-").header.Get("Retry-After"))
	}
	if last < 3 && time.Since(began) < time.Second {
		t.Errorf("after %d visitors, the next may return after %d s", visitors, last)
	}
}
