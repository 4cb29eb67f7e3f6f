package healthpool_test

import (
	"bufio"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/fcgi"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// TestCorePolicies checks that every policy of Caddy works on a healthpool, with the
// upstreams in config order.
func TestCorePolicies(t *testing.T) {
	backends := make(map[string]*backend)
	var addresses string
	for _, name := range []string{"a", "b", "c"} {
		backends[name] = newBackend(t, name)
		addresses += " " + backends[name].addr
	}
	start := func(t *testing.T, policy string) *site {
		t.Helper()
		s := run(t, fmt.Sprintf("healthpool%s {\nlb_policy %s\nhealth_interval 50ms\n}", addresses, policy))
		s.awaitPool("up")
		return s
	}
	count := func(s *site, headers ...string) string {
		n := make(map[string]int)
		for range 30 {
			n[s.get("/", headers...).body]++
		}
		return fmt.Sprint(n)
	}
	t.Run("round_robin", func(t *testing.T) {
		if got := count(start(t, "round_robin")); got != "map[a:10 b:10 c:10]" {
			t.Errorf("got %s", got)
		}
	})
	for _, policy := range []string{"ip_hash", "client_ip_hash", "uri_hash", "header X-Key"} {
		t.Run(policy, func(t *testing.T) {
			if got := count(start(t, policy), "X-Key", "k"); !strings.Contains(got, ":30") {
				t.Errorf("not always the same upstream: %s", got)
			}
		})
	}
	t.Run("first", func(t *testing.T) {
		s := start(t, "first")
		if got := count(s); got != "map[a:30]" {
			t.Errorf("got %s", got)
		}
		backends["a"].stop()
		if got := count(s); got != "map[b:30]" {
			t.Errorf("with the first stopped, got %s", got)
		}
		backends["a"].start()
		await(t, "the first is used again", func() bool { return s.get("/").body == "a" })
		if got := count(s); got != "map[a:30]" {
			t.Errorf("with the first back, got %s", got)
		}
	})
	t.Run("cookie", func(t *testing.T) {
		s := start(t, "cookie lb")
		first := s.get("/")
		cookie, _, _ := strings.Cut(first.header.Get("Set-Cookie"), ";")
		if got := count(s, "Cookie", cookie); got != fmt.Sprintf("map[%s:30]", first.body) {
			t.Errorf("the cookie of %s led to %s", first.body, got)
		}
		backends[first.body].stop()
		if got := count(s, "Cookie", cookie); strings.Contains(got, first.body+":") || strings.Contains(got, "title") {
			t.Errorf("with %s stopped, its cookie led to %s", first.body, got)
		}
		backends[first.body].start()
	})
}

// TestHealthAwareOnStaticUpstreams checks that the policy helps without a pool: it skips
// what is down and spreads concurrent requests.
func TestHealthAwareOnStaticUpstreams(t *testing.T) {
	const atOnce = 20
	for name, page := range map[string]string{"alone": "", "with the page": "no_healthy_upstream\n"} {
		t.Run(name, func(t *testing.T) {
			var arrived atomic.Int64
			all := make(chan struct{})
			answer := func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/together" {
					if arrived.Add(1) == atOnce {
						close(all)
					}
					<-all
				}
			}
			a, b := newBackendFunc(t, answer), newBackendFunc(t, answer)
			s := run(t, page+fmt.Sprintf("reverse_proxy %s %s %s {\nlb_policy health_aware\nlb_retries 3\nfail_duration 1m\n}", a.addr, deadAddress(t), b.addr))
			for range 40 {
				if got := s.get("/"); got.status != http.StatusOK {
					t.Errorf("got %d", got.status)
				}
			}
			wasA, wasB := a.hits.Load(), b.hits.Load()
			answers := make([]<-chan response, atOnce)
			for i := range answers {
				answers[i] = s.ask(t.Context(), "GET", "/together", "")
			}
			for _, answer := range answers {
				if got := <-answer; got.status != http.StatusOK {
					t.Errorf("got %d", got.status)
				}
			}
			if toA, toB := a.hits.Load()-wasA, b.hits.Load()-wasB; toA < 3 || toB < 3 {
				t.Errorf("of %d requests at once, %d and %d went to each", atOnce, toA, toB)
			}
		})
	}
}

// TestTransports checks that checks use the same transport as requests.
func TestTransports(t *testing.T) {
	secure, certificate := tlsBackend(t, "hello", nil)
	socket := filepath.Join(shortDir(t), "App.sock") // upper case is another file
	serve(t, "unix", socket, nil)
	h2c := serve(t, "tcp", "127.0.0.1:0", func(s *http.Server) {
		s.Protocols = new(http.Protocols)
		s.Protocols.SetUnencryptedHTTP2(true)
	})
	transport := func(lines string) string { return "transport http {\n" + lines + "\n}" }
	for _, tt := range []struct{ name, upstream, options string }{
		{"TLS with its authority", secure, transport("tls_trust_pool file " + certificate)},
		{"TLS without verification", secure, transport("tls_insecure_skip_verify")},
		{"socket", "unix/" + socket, ""},
		{"h2c", h2c, transport("versions h2c")},
		{"FastCGI", fastCGI(t), "transport fastcgi {\nroot /srv\n}"},
	} {
		for check, options := range map[string]string{"tcp": "", "http": "health_uri /"} {
			t.Run(tt.name+" "+check, func(t *testing.T) {
				s := run(t, "healthpool "+tt.upstream+" {\nfail_open never\n"+options+"\n"+tt.options+"\n}")
				await(t, "the upstream is known", func() bool { return s.pool().Upstreams[0].LastCheck != nil })
				if got := s.get("/"); got.status != http.StatusOK || got.body != "hello" || s.pool().State != "up" {
					t.Errorf("got %d %q: %+v", got.status, got.body, s.pool())
				}
			})
		}
	}
	for check, options := range map[string]string{"tcp": "", "http": "health_uri /"} {
		t.Run("untrusted "+check, func(t *testing.T) {
			s := run(t, "healthpool "+secure+" {\n"+options+"\n"+transport("tls")+"\n}")
			s.awaitPool("down")
			if u := s.pool().Upstreams[0]; u.Cause != "tls_certificate_error" || u.Fails < 1 {
				t.Errorf("got %+v", u)
			}
		})
	}
}

// TestSocketsAreCheckedApart has two apps on sockets with keep-alive: a check of one must
// not use a connection to the other.
func TestSocketsAreCheckedApart(t *testing.T) {
	dir := shortDir(t)
	upstreams := ""
	for i, status := range []int{http.StatusOK, http.StatusInternalServerError} {
		socket := filepath.Join(dir, fmt.Sprint(i))
		upstreams += " unix/" + serve(t, "unix", socket, func(s *http.Server) {
			s.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
			s.Protocols = new(http.Protocols)
			s.Protocols.SetUnencryptedHTTP2(true)
		})
	}
	s := run(t, "healthpool"+upstreams+" {\nhealth_uri /\nhealth_interval 10ms\nhealth_down_interval 10ms\ntransport http {\nversions h2c\n}\n}")
	await(t, "ten checks of each", func() bool {
		p := s.pool()
		return min(len(p.Upstreams[0].History), len(p.Upstreams[1].History)) >= 10
	})
	for i, want := range []string{"healthy", "unhealthy"} {
		if u := s.pool().Upstreams[i]; u.State != want || strings.Trim(u.History, u.History[:1]) != "" {
			t.Errorf("%s is %s after %s, want %s", u.Address, u.State, u.History, want)
		}
	}
}

// TestStaticUpstreamsAreReported checks the warning about upstreams configured in two
// places.
func TestStaticUpstreamsAreReported(t *testing.T) {
	a, b := newBackend(t, "a"), newBackend(t, "b")
	s := run(t, "reverse_proxy {\nto "+b.addr+"\ndynamic healthpool "+a.addr+"\n}")
	s.awaitPool("up")
	for range 5 {
		if got := s.get("/"); got.body != "a" {
			t.Errorf("got %d %q", got.status, got.body)
		}
	}
	if lines := s.logged(said("static upstreams beside dynamic healthpool are never used; move them into it")); len(lines) != 1 || lines[0]["level"] != "warn" {
		t.Errorf("the log says %v", lines)
	}
}

// shortDir returns a directory whose path is short enough for a socket.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pool")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func serve(t *testing.T, network, address string, configure func(*http.Server)) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), network, address)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "hello")
	})}
	if configure != nil {
		configure(server)
	}
	go runServer(t, server, listener)
	t.Cleanup(func() { _ = server.Close() })
	return listener.Addr().String()
}

// fastCGI runs an app that says hello over FastCGI and returns its address.
func fastCGI(t *testing.T) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		_ = fcgi.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }))
	}()
	return listener.Addr().String()
}

// TestShortFormPassesOptionsOn checks that reverse_proxy's options work in the short form.
func TestShortFormPassesOptionsOn(t *testing.T) {
	b := newBackendFunc(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-App", "yes")
		fmt.Fprintf(w, "%s %s", r.URL.Path, r.Header.Get("X-Up"))
	})
	s := run(t, `healthpool `+b.addr+` {
		header_up X-Up "went up"
		header_down -X-App
		rewrite /v1{uri}
		@teapot status 418
		page {
			service Shop
		}
		handle_response @teapot {
			respond "no coffee" 200
		}
		@found status 2xx
		replace_status @found 202
		lb_policy first
		lb_try_duration 1s
		health_uri /
	}`)
	s.awaitPool("up")
	if got := s.get("/x"); got.status != 202 || got.body != "/v1/x went up" || got.header.Get("X-App") != "" {
		t.Errorf("got %d %v %q", got.status, got.header, got.body)
	}
}

func TestShortFormOptions(t *testing.T) {
	b := newBackendFunc(t, func(w http.ResponseWriter, r *http.Request) {
		var status int
		if _, err := fmt.Sscanf(r.URL.Path, "/%d", &status); err == nil {
			w.WriteHeader(status)
		}
		fmt.Fprint(w, r.URL.Path)
	})
	t.Run("handle_response", func(t *testing.T) {
		s := run(t, "healthpool "+b.addr+" {\n@teapot status 418\nhandle_response @teapot {\nrespond \"no coffee\" 200\n}\n}")
		teapot, gone := s.get("/418"), s.get("/410")
		expect(t, teapot, map[string]bool{"status": teapot.status == 200, "body": teapot.body == "no coffee"})
		expect(t, gone, map[string]bool{"status": gone.status == 410, "body": gone.body == "/410"})
	})
	t.Run("matcher", func(t *testing.T) {
		s := run(t, "@api path /api/*\nhealthpool @api "+b.addr)
		if got, rest := s.get("/api/1"), s.get("/"); got.body != "/api/1" || rest.body != "" {
			t.Errorf("got %q and %q", got.body, rest.body)
		}
	})
	t.Run("page", func(t *testing.T) {
		s := run(t, "healthpool "+deadAddress(t)+" {\npage {\nservice Shop\nstatus 503\n}\n}")
		if got := s.get("/"); got.status != 503 || !strings.Contains(got.body, "Shop is not answering") {
			t.Errorf("got %d %q", got.status, got.body)
		}
	})
	t.Run("upstreams of to", func(t *testing.T) {
		s := run(t, "healthpool {\nto "+deadAddress(t)+"\nto "+b.addr+" "+deadAddress(t)+"\n}")
		if got := s.get("/x"); got.body != "/x" || len(s.pool().Upstreams) != 3 {
			t.Errorf("got %d %q of %+v", got.status, got.body, s.pool())
		}
	})
}

// TestProxyProtocol checks that checks work through a transport that announces the client
// with the PROXY protocol.
func TestProxyProtocol(t *testing.T) {
	first := make(chan string, 10)
	addr := rawBackend(t, func(conn net.Conn) {
		r := bufio.NewReader(conn)
		line, _ := r.ReadString('\n')
		first <- line
		if _, err := http.ReadRequest(r); err == nil {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
		}
	})
	s := run(t, "healthpool "+addr+" {\nhealth_uri /\ntransport http {\nproxy_protocol v1\n}\n}")
	s.awaitPool("up")
	if line := <-first; !strings.HasPrefix(line, "PROXY TCP4 127.0.0.1 ") {
		t.Errorf("a check began with %q", line)
	}
	if got := s.get("/"); got.body != "ok" {
		t.Errorf("got %d %q", got.status, got.body)
	}
}

// TestTwoSitesOnePool checks that identically configured sources are one pool.
func TestTwoSitesOnePool(t *testing.T) {
	b := newBackend(t, "hello")
	s := run(t, "handle /a {\nhealthpool "+b.addr+"\n}\nhandle {\nhealthpool "+b.addr+" {\nlb_policy first\n}\n}")
	s.awaitPool("up")
	if got := s.get("/a").body + s.get("/b").body; got != "hellohello" {
		t.Errorf("got %q", got)
	}
}

// TestCorePassiveChecksDoNotBlockPool checks that reverse_proxy's own passive checks do not
// take down a pool that is up: visitors would get the page while all upstreams answer.
func TestCorePassiveChecksDoNotBlockPool(t *testing.T) {
	a, b, c := answering(t, 404), answering(t, 404), answering(t, 404)
	s := run(t, fmt.Sprintf("no_healthy_upstream\nreverse_proxy {\ndynamic healthpool %s %s %s\nlb_policy health_aware\nfail_duration 30s\nunhealthy_status 404\n}",
		a.addr, b.addr, c.addr))
	s.awaitPool("up")
	for i := range 12 { // more than there are upstreams to exclude
		if got := s.get("/"); got.status != http.StatusNotFound || got.isOurs() {
			t.Fatalf("request %d got %d %q", i, got.status, got.body)
		}
	}
}
