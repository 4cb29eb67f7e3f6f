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
	"testing"
)

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

// TestForwardProxyIsPartOfThePool has two sites reach the same address through different
// proxies: each is checked through its own.
func TestForwardProxyIsPartOfThePool(t *testing.T) {
	good := newBackend(t, "by the good proxy")
	site := func(name, proxy string) string {
		return "handle /" + name + " {\nhealthpool app.invalid:80 {\nhealth_uri /\nhold off\ntransport http {\nnetwork_proxy url http://" + proxy + "\n}\n}\n}\n"
	}
	s := run(t, site("good", good.addr)+site("bad", deadAddress(t)))
	await(t, "both are known", func() bool {
		pools := s.pools()
		return len(pools) == 2 && pools[0].State != pools[1].State && pools[0].Upstreams[0].LastCheck != nil && pools[1].Upstreams[0].LastCheck != nil
	})
	if got := s.get("/good"); got.body != "by the good proxy" {
		t.Errorf("got %d %q", got.status, got.body)
	}
	if got := s.get("/bad"); got.status == http.StatusOK {
		t.Errorf("got %d %q", got.status, got.body)
	}
}
