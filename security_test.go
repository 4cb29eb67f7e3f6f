package healthpool_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

// brokenRequests are requests that no proxy can pass on, because of the client: the bytes written
// to a connection.
var brokenRequests = map[string]string{
	"a chunk that is none": "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
	"the same with GET":    "GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
	"a body too short":     "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\nabc",
	"a trailer with a bad name": "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: a b\r\n\r\n" +
		"0\r\n\r\n",
	"the same trailer with GET": "GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: a b\r\n\r\n0\r\n\r\n",
}

// TestBrokenRequests checks that broken requests cannot get upstreams checked, suspected or
// ejected.
func TestBrokenRequests(t *testing.T) {
	for name, text := range brokenRequests {
		t.Run(name, func(t *testing.T) {
			app := func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }
			a, b := newBackendFunc(t, app), newBackendFunc(t, app)
			s := run(t, fmt.Sprintf("log\nhealthpool %s %s {\nhealth_interval 1h\nmax_fails 1\n}", a.addr, b.addr))
			s.awaitPool("up")
			const times = 10
			for range times {
				conn := s.dial()
				_, _ = io.WriteString(conn, text)
				if strings.Contains(text, "Content-Length") {
					_ = conn.(*net.TCPConn).CloseWrite()
				}
			}
			await(t, "all have been answered", func() bool { return len(s.logged(said("handled request"))) == times })
			for _, e := range s.logged(said("handled request")) {
				if e["status"] != 499.0 {
					t.Errorf("got %v", e["status"])
				}
			}
			if got := s.do(http.MethodPost, "/", "hello"); got.body != "hello" {
				t.Errorf("another client got %d %q", got.status, got.body)
			}
			for _, u := range s.pool().Upstreams {
				if u.State != "healthy" || u.History != "P" {
					t.Errorf("the upstream is %+v", u)
				}
			}
		})
	}
}

// TestRedirectedChecksStay checks that an upstream cannot redirect its checks elsewhere,
// nor get its connections used for another upstream.
func TestRedirectedChecksStay(t *testing.T) {
	for version, transport := range map[string]string{"HTTP/1": "", "h2c": "transport http {\nversions h2c\n}"} {
		t.Run(version, func(t *testing.T) {
			var addresses [2]string
			var strays, followed atomic.Int64
			app := func(server *http.Server) {
				server.Protocols = new(http.Protocols)
				server.Protocols.SetHTTP1(true)
				server.Protocols.SetUnencryptedHTTP2(true)
			}
			addresses[1] = serve(t, "tcp", "127.0.0.1:0", func(server *http.Server) {
				app(server)
				server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/stray" {
						strays.Add(1)
					}
					_, _ = io.WriteString(w, "b")
				})
			})
			addresses[0] = serve(t, "tcp", "127.0.0.1:0", func(server *http.Server) {
				app(server)
				server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					switch r.URL.Path {
					case checkPath:
						http.Redirect(w, r, "http://"+addresses[1]+"/stray", http.StatusFound)
					case "/stray":
						if r.Host == addresses[1] {
							followed.Add(1)
						}
					default:
						_, _ = io.WriteString(w, "a")
					}
				})
			})
			s := run(t, fmt.Sprintf("healthpool %s %s {\nlb_policy round_robin\nhealth_uri %s\nhealth_follow_redirects\nhealth_interval 10ms\n%s\n}",
				addresses[0], addresses[1], checkPath, transport))
			await(t, "the redirect was followed a few times", func() bool { return followed.Load()+strays.Load() > 5 })
			got := make(map[string]int)
			for range 20 {
				got[s.get("/").body]++
			}
			if strays.Load() > 0 || got["a"] != 10 || got["b"] != 10 {
				t.Errorf("the other upstream got %d checks; who answered: %v", strays.Load(), got)
			}
		})
	}
}

// TestHugeErrorIsCut checks that an upstream cannot fill the log, or the details, with its
// answer.
func TestHugeErrorIsCut(t *testing.T) {
	const size = 100_000
	b := rawBackend(t, reply(strings.Repeat("\x1b[31mé", size/8)+"\r\n\r\n"))
	s := run(t, "healthpool "+b+" {\nhealth_uri /\nfail_open always\npage {\ndetails 127.0.0.1\n}\n}")
	await(t, "the upstream is known", func() bool { return s.pool().Upstreams[0].LastCheck != nil })
	page := s.do(http.MethodPost, "/", "x", "Accept", "text/html").body
	lines := s.logged(said("no healthy upstream"))
	if len(lines) != 1 {
		t.Fatalf("the log says %v", lines)
	}
	for where, text := range map[string]string{
		"log": fmt.Sprint(lines[0]["error"]), "page": page, "admin API": s.adminDo(http.MethodGet, "/healthpool/pools").body,
	} {
		if len(text) > size/10 || strings.Contains(text, "\x1b") || !strings.Contains(text, "malformed HTTP response") {
			t.Errorf("%s: %d bytes: %.100q", where, len(text), text)
		}
	}
}

// TestOrdersOfOtherSites checks that no web page can give orders through the browser of
// someone who can reach the admin endpoint, nor read it.
func TestOrdersOfOtherSites(t *testing.T) {
	s, a, _ := twoOf(t, "first")
	for name, headers := range map[string][]string{
		"another origin":          {"Origin", "https://evil.example"},
		"a sandbox":               {"Origin", "null"},
		"a form":                  {"Sec-Fetch-Mode", "navigate"},
		"fetch without CORS":      {"Sec-Fetch-Mode", "no-cors"},
		"a name that leads there": {"Host", "evil.example"},
	} {
		for _, order := range []struct{ method, path string }{
			{http.MethodPost, drainPath("shop", a.addr)}, {http.MethodPost, "shop/maintenance"}, {http.MethodGet, "shop"},
		} {
			req, err := http.NewRequestWithContext(t.Context(), order.method, "http://"+s.admin+"/healthpool/pools/"+order.path, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			if req.Header.Set(headers[0], headers[1]); headers[0] == "Host" {
				req.Host = headers[1]
			}
			if got := s.adminSend(req); got.status < 400 || strings.Contains(got.body, a.addr) || got.header.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%s %s from %s: got %d %s", order.method, order.path, name, got.status, got.body)
			}
		}
	}
	if states, pool := s.statesOfShop(); pool != "up" || states[a.addr] != "healthy" {
		t.Errorf("an order took effect: %v %s", states, pool)
	}
}

// TestSecretsStaySecret checks that what checks send is shown nowhere, and that visitors
// see nothing of an upstream, however it fails.
func TestSecretsStaySecret(t *testing.T) {
	redirect := "HTTP/1.1 302 Found\r\nLocation: /healthz?key=secret-uri\r\nContent-Length: 0\r\n\r\n"
	for name, answer := range map[string]string{
		"status": "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", "garbage": "what?\r\n\r\n", "nothing": "", "circle": redirect,
	} {
		t.Run(name, func(t *testing.T) {
			addr := rawBackend(t, reply(answer))
			s := run(t, "healthpool "+addr+` {
				name internal-name
				health_uri /healthz?key=secret-uri
				health_request_body secret-body
				health_headers {
					Authorization "Bearer secret-header"
				}
				health_follow_redirects
				fail_open never
				hold off
				page {
					intercept 5xx
				}
			}`)
			s.awaitPool("down")
			for _, accept := range []string{"text/html", "application/problem+json", "application/problem+xml", "text/markdown", "text/plain", "image/png"} {
				got := s.get("/", "Accept", accept)
				for _, hidden := range []string{addr, "internal-name", "127.0.0.1", ".go:", "malformed", "EOF", "secret"} {
					if all := fmt.Sprint(got.header, got.body); strings.Contains(all, hidden) {
						t.Errorf("%s: visitors are shown %q: %s", accept, hidden, all)
					}
				}
			}
			s.stop()
			if log := s.logText(); strings.Contains(log, "secret") || !strings.Contains(log, "internal-name") {
				t.Errorf("the log shows secrets, or nothing: %s", log)
			}
		})
	}
}

// TestSecretsStaySecretFromOperators checks the same for what operators see, because it is
// passed on, to a monitor or a colleague.
func TestSecretsStaySecretFromOperators(t *testing.T) {
	b := newBackend(t, "b")
	b.failChecks.Store(true)
	s := run(t, "metrics /metrics\nhealthpool_status /status\nhealthpool "+b.addr+" {\nname shop\nhealth_uri "+checkPath+"?key=secret\nhealth_headers {\nX-Key secret\n}\n}")
	s.awaitPool("down")
	for where, got := range map[string]response{
		"admin API": s.adminDo(http.MethodGet, "/healthpool/pools"), "metrics": s.get("/metrics"), "status page": s.get("/status", "Accept", "text/html"),
	} {
		if strings.Contains(got.body, "secret") || !strings.Contains(got.body, "shop") {
			t.Errorf("%s: %d %s", where, got.status, got.body)
		}
	}
}

// TestInterceptedResponseIsGone checks that nothing of a replaced response gets through,
// and that an endless body does not delay the answer.
func TestInterceptedResponseIsGone(t *testing.T) {
	b := newBackendFunc(t, func(w http.ResponseWriter, r *http.Request) {
		for name, value := range map[string]string{
			"Set-Cookie": "session=evil", "Cache-Control": "public, max-age=9999", "Cdn-Cache-Control": "max-age=9999", "Etag": `"evil"`,
			"Location": "https://evil.example", "Access-Control-Allow-Origin": "*", "Refresh": "0; url=https://evil.example", "Trailer": "X-Evil",
		} {
			w.Header().Set(name, value)
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		for r.Context().Err() == nil {
			_, _ = io.WriteString(w, strings.Repeat("evil", 1000))
		}
	})
	s := run(t, "healthpool "+b.addr+" {\npage {\nintercept 503\n}\n}")
	s.awaitPool("up")
	got := s.get("/", "Accept", "text/html")
	if all := fmt.Sprint(got.header, got.body); !got.isOurs() || strings.Contains(all, "vil") || strings.Contains(all, "9999") || got.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("got %d %s", got.status, all)
	}
	if got.header.Get("Cache-Control") != "no-store" || got.took > patience/2 {
		t.Errorf("after %v got %v", got.took, got.header)
	}
}

// TestVisitorsMakeNoSeries checks that nothing a visitor chooses becomes a metric label:
// each value would stay in memory.
func TestVisitorsMakeNoSeries(t *testing.T) {
	s := run(t, "healthpool "+deadAddress(t)+" {\nhold off\n}")
	s.awaitPool("down")
	shown := func() string { return s.adminDo(http.MethodGet, "/metrics").body }
	series := func() int { return strings.Count(shown(), "\ncaddy_no_healthy_upstream_responses_total{") }
	s.do("MADEUP", "/", "", "Host", "madeup.example", "Accept", "text/html")
	before := series()
	for i := range 20 {
		made := fmt.Sprintf("MADEUP%d", i)
		s.do(made, "/"+made, "", "Host", made, "Accept", "text/html, x/"+made, "Accept-Language", made, "Recovery-Poll", made, "Origin", "https://"+made)
	}
	if got := shown(); before == 0 || series() != before || strings.Contains(got, "MADEUP1") {
		t.Errorf("there were %d series: %s", before, got)
	}
}

// The tests named in docs/security.md: one or more, then their file or folder.
var (
	proofs = regexp.MustCompile("((?:`(?:Test|Fuzz)\\w+`(?:, )?)+) (?:\\(|in )([\\w/.]+)")
	proof  = regexp.MustCompile(`(?:Test|Fuzz)\w+`)
	row    = regexp.MustCompile(`^\| [a-z]`) // an attack
)

// TestDefencesAreTested checks that each defence in docs/security.md names tests that exist
// where it says.
func TestDefencesAreTested(t *testing.T) {
	text, err := os.ReadFile("docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for line := range strings.Lines(string(text)) {
		all := proofs.FindAllStringSubmatch(line, -1)
		for _, named := range all {
			for _, name := range proof.FindAllString(named[1], -1) {
				if found++; !hasTest(named[2], name) {
					t.Errorf("there is no %s in %s", name, named[2])
				}
			}
		}
		if row.MatchString(line) && len(all) == 0 || proof.MatchString(proofs.ReplaceAllString(line, "")) {
			t.Errorf("this names no test, or not where it is: %s", line)
		}
	}
	if found < 50 {
		t.Errorf("only %d tests are named", found)
	}
}

// hasTest reports whether a file or folder has a test.
func hasTest(where, name string) bool {
	files := []string{where}
	if !strings.HasSuffix(where, ".go") {
		files, _ = filepath.Glob(filepath.Join(where, "*_test.go"))
	}
	return slices.ContainsFunc(files, func(file string) bool {
		text, err := os.ReadFile(file)
		return err == nil && strings.Contains(string(text), "\nfunc "+name+"(")
	})
}
