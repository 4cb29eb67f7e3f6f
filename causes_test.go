package healthpool_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

// failing is a reverse_proxy that fails, and what clients must be told.
type failing struct {
	name string
	// upstream is its upstream; options are further options.
	upstream, options string
	status            int
	cause, fate       string
}

// failings returns every failure that can be produced on one machine.
func failings(t *testing.T) []failing {
	t.Helper()
	unknownCA, _ := tlsBackend(t, "", nil)
	oldTLS, _ := tlsBackend(t, "", func(s *httptest.Server) {
		s.TLS.MinVersion, s.TLS.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	})
	noTLS := newBackend(t, "").addr
	silent := rawBackend(t, hang)
	transport := func(options string) string { return "transport http {\n" + options + "\n}" }
	resolvers := func(address, more string) string { return transport("resolvers " + address + "\n" + more) }
	return []failing{
		{"refused", deadAddress(t), "", 502, "connection_refused", "not_sent"},
		{"refused socket", "unix/" + t.TempDir() + "/app.sock", "", 502, "connection_refused", "not_sent"},
		{"dial timeout", silent, transport("dial_timeout 1ns"), 504, "connection_timeout", "not_sent"},
		{"no such name", "app.invalid:80", resolvers(nameServer(t, false), ""), 502, "dns_error", "not_sent"},
		{"silent name server", "app.invalid:80", resolvers(nameServer(t, true), "dial_timeout 100ms"), 504, "dns_timeout", "not_sent"},
		{"no route", "255.255.255.255:80", "", 502, "destination_ip_unroutable", "not_sent"},
		{"untrusted certificate", unknownCA, transport("tls"), 502, "tls_certificate_error", "not_sent"},
		{"no TLS there", noTLS, transport("tls"), 502, "tls_protocol_error", "not_sent"},
		{"TLS alert", oldTLS, transport("tls"), 502, "tls_alert_received", "not_sent"},
		{"closed", rawBackend(t, request), "", 502, "connection_terminated", "unknown"},
		{"closed in the headers", rawBackend(t, reply("HTTP/1.1 200 OK\r\nA: ")), "", 502, "connection_terminated", "unknown"},
		{"reset", rawBackend(t, func(c net.Conn) {
			request(c)
			_ = c.(*net.TCPConn).SetLinger(0)
		}), "", 502, "connection_terminated", "unknown"},
		{"no answer in time", silent, transport("response_header_timeout 50ms"), 504, "http_response_timeout", "unknown"},
		{"read timeout", silent, transport("read_timeout 50ms"), 504, "connection_read_timeout", "unknown"},
		{"garbage", rawBackend(t, reply("garbage dial tcp 10.1.2.3:4567: connect: connection refused\r\n\r\n")), "", 502, "http_protocol_error", "unknown"},
		{"speaks first", rawBackend(t, func(c net.Conn) {
			_, _ = io.WriteString(c, "220 smtp ready\r\n")
			request(c)
		}), "", 502, "http_protocol_error", "unknown"},
	}
}

// causesSite returns a site with a path for each failure.
func causesSite(failings []failing, page string) string {
	var b strings.Builder
	for i, f := range failings {
		fmt.Fprintf(&b, "handle /%d* {\n%s\nreverse_proxy %s {\n%s\n}\n}\n", i, page, f.upstream, f.options)
	}
	return b.String()
}

func TestCauses(t *testing.T) {
	failings := failings(t)
	s := run(t, causesSite(failings, "no_healthy_upstream"))
	for i, f := range failings {
		t.Run(f.name, func(t *testing.T) {
			got := s.get(fmt.Sprintf("/%d", i), acceptProblem...)
			p := got.problem(t)
			if got.status != f.status || p.Status != f.status || p.Cause != f.cause || p.RequestFate != f.fate {
				t.Errorf("got status %d and %+v, want %d %s %s", got.status, p, f.status, f.cause, f.fate)
			}
			checkLogged(t, s, p)
			for _, accept := range []string{"application/problem+json", "text/html", "text/plain", "image/png", "*/*"} {
				checkSecrets(t, s.get(fmt.Sprintf("/%d", i), "Accept", accept), f.upstream)
			}
		})
	}
}

// checkLogged checks that the log has the details that p does not show, under the same
// reference.
func checkLogged(t *testing.T, s *site, p problem) {
	t.Helper()
	entries := s.logged(func(e entry) bool { return e["err_id"] == p.Reference })
	if p.Reference == "" || len(entries) != 1 {
		t.Fatalf("reference %q is in the log %d times, want once", p.Reference, len(entries))
	}
	e := entries[0]
	if e["level"] != "error" || e["logger"] != "http.handlers.no_healthy_upstream" || e["cause"] != p.Cause || e["fate"] != p.RequestFate {
		t.Errorf("log entry: %v", e)
	}
	for _, field := range []string{"error", "upstream", "advice", "request"} {
		if e[field] == nil || e[field] == "" {
			t.Errorf("the log entry has no %s: %v", field, e)
		}
	}
}

// secrets matches what no client may see: Go's error texts, source files, addresses.
var secrets = regexp.MustCompile(`(?i)dial |connect: |connection refused|lookup |\btcp\b|x509|tls:|\beof\b|i/o timeout|by peer|\.go:\d|reverseproxy|goroutine|127\.0\.0\.1|localhost|\bcaddy\b.*error`)

// checkSecrets checks that nothing in an answer reveals the upstream.
func checkSecrets(t *testing.T, r response, upstream string) {
	t.Helper()
	var all strings.Builder
	fmt.Fprintln(&all, r.status)
	_ = r.header.Write(&all)
	all.WriteString(r.body)
	text := strings.ReplaceAll(all.String(), "https://github.com/healthpool/caddy-healthpool", "")
	if at := secrets.FindStringIndex(text); at != nil {
		t.Errorf("the answer gives %q away: …%s…", text[at[0]:at[1]], text[max(0, at[0]-60):min(len(text), at[1]+60)])
	}
	host, port, err := net.SplitHostPort(upstream)
	if err != nil { // a socket
		host, port = upstream, upstream
	}
	for _, secret := range []string{host, port} {
		if len(secret) > 2 && strings.Contains(text, secret) {
			t.Errorf("the answer gives %q of the upstream away: %v %s", secret, r.header, r.body)
		}
	}
}

// TestPassPlaceholders checks that an owner's page can show what ours would.
func TestPassPlaceholders(t *testing.T) {
	failings := failings(t)
	s := run(t, causesSite(failings, "no_healthy_upstream {\npass\n}")+`
	handle_errors {
		respond "{http.no_healthy_upstream.cause} {http.no_healthy_upstream.fate} {http.no_healthy_upstream.reference} {http.error.id} {http.no_healthy_upstream.retry_after} [{http.no_healthy_upstream.pool}]"
	}`)
	for i, f := range failings {
		t.Run(f.name, func(t *testing.T) {
			got := s.get(fmt.Sprintf("/%d", i))
			words := strings.Fields(got.body)
			if len(words) != 6 || got.isOurs() {
				t.Fatalf("got %d %v %q", got.status, got.header, got.body)
			}
			if words[0] != f.cause || words[1] != f.fate || words[4] != "1" || words[5] != "[]" {
				t.Errorf("got %q, want %s %s and 1 second", got.body, f.cause, f.fate)
			}
			if words[2] != words[3] {
				t.Errorf("reference %s is not the error id %s", words[2], words[3])
			}
		})
	}
	if ours := s.logged(said("no healthy upstream")); len(ours) > 0 {
		t.Errorf("with pass, the log is Caddy's: %v", ours)
	}
}

// TestNoneAvailable covers upstreams that Caddy's own health checks exclude.
func TestNoneAvailable(t *testing.T) {
	b := newBackend(t, "hello")
	b.failChecks.Store(true)
	dead := deadAddress(t)
	s := run(t, `no_healthy_upstream
	handle /active* {
		reverse_proxy `+b.addr+` {
			health_uri /healthz
			health_interval 20ms
		}
	}
	handle /passive* {
		reverse_proxy `+dead+` {
			fail_duration 1m
		}
	}`)
	check := func(t *testing.T, path, upstream string) {
		t.Helper()
		await(t, "Caddy has ruled the upstream out", func() bool { return s.get(path).status == 503 })
		got := s.get(path, acceptProblem...)
		p := got.problem(t)
		if got.status != 503 || p.Cause != "destination_unavailable" || p.RequestFate != "not_sent" || !*p.Retryable {
			t.Errorf("got status %d and %+v", got.status, p)
		}
		checkSecrets(t, got, upstream)
		if len(s.logged(func(e entry) bool { return e["err_id"] == p.Reference && e["cause"] == p.Cause })) != 1 {
			t.Errorf("reference %q is not in the log once", p.Reference)
		}
	}
	t.Run("active checks", func(t *testing.T) { check(t, "/active", b.addr) })
	t.Run("passive checks", func(t *testing.T) { check(t, "/passive", dead) })
}

// TestRetryMatchExhausted covers a status that lb_retry_match does not accept: Caddy has
// closed that body, so it cannot be passed on.
func TestRetryMatchExhausted(t *testing.T) {
	b := newBackendFunc(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"of the app"`)
		if r.URL.Path == "/429" {
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	for name, proxy := range map[string]string{
		"static":       "reverse_proxy " + b.addr + " {",
		"healthpool":   "reverse_proxy {\ndynamic healthpool " + b.addr + "\nlb_policy health_aware",
		"other policy": "reverse_proxy {\ndynamic healthpool " + b.addr + " {\nname other\n}\nlb_policy first",
	} {
		t.Run(name, func(t *testing.T) {
			s := run(t, "no_healthy_upstream\n"+proxy+`
			lb_retries 2
			lb_retry_match {
				expression `+"`{rp.status_code} in [429, 503]`"+`
			}
		}`)
			for path, status := range map[string]int{"/": 503, "/429": 429} {
				b.hits.Store(0)
				got := s.get(path, acceptProblem...)
				p := got.problem(t)
				if got.status != status || p.Status != status || p.Cause != "destination_unavailable" || p.RequestFate != "unknown" {
					t.Errorf("%s: got status %d and %+v", path, got.status, p)
				}
				if got.header.Get("Etag") != "" {
					t.Errorf("%s: a header of the app's lost response is there: %v", path, got.header)
				}
				if hits := b.hits.Load(); hits != 3 {
					t.Errorf("%s: the app got the request %d times, want 3", path, hits)
				}
			}
		})
	}
}
