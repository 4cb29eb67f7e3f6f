package healthpool_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"
)

// streams are the ways to wrap a proxy; APP stands for its upstream.
var streams = map[string]string{
	"static":       "no_healthy_upstream\nreverse_proxy APP",
	"static aware": "no_healthy_upstream\nreverse_proxy APP {\nlb_policy health_aware\n}",
	"short form":   "healthpool APP",
	"other policy": "healthpool APP {\nlb_policy first\n}",
	"encode":       "encode\nno_healthy_upstream\nhandle {\nhealthpool APP\n}",
}

// eachStream runs a test on each of these sites in front of an app.
func eachStream(t *testing.T, addr string, test func(*testing.T, *site)) {
	t.Helper()
	for name, directives := range streams {
		t.Run(name, func(t *testing.T) {
			test(t, run(t, strings.ReplaceAll(directives, "APP", addr)))
		})
	}
}

// open sends a request whose response the test reads piece by piece.
func (s *site) open(r *http.Request) *http.Response {
	s.t.Helper()
	r.Host = siteName
	resp, err := s.client.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp
}

func (s *site) newRequest(t *testing.T, path string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url(path), nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestEventStream checks that nothing is buffered: the app sends an event only after the
// client has read the previous one.
func TestEventStream(t *testing.T) {
	next := make(chan struct{})
	b := newBackendFunc(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			fmt.Fprintf(w, "data: %d\n\n", i)
			_ = http.NewResponseController(w).Flush()
			<-next
		}
	})
	eachStream(t, b.addr, func(t *testing.T, s *site) {
		resp := s.open(s.newRequest(t, "/"))
		defer resp.Body.Close()
		lines := bufio.NewScanner(resp.Body)
		for i := range 3 {
			for lines.Scan() && lines.Text() == "" {
			}
			if want := fmt.Sprintf("data: %d", i); lines.Text() != want {
				t.Fatalf("got %q, want %q: %v", lines.Text(), want, lines.Err())
			}
			next <- struct{}{}
		}
	})
}

// TestUpgrade checks that a connection is handed over, with a client that waits for each
// echo.
func TestUpgrade(t *testing.T) {
	b := newBackendFunc(t, func(w http.ResponseWriter, r *http.Request) {
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", r.Header.Get("Upgrade"))
		_, _ = io.Copy(conn, buffered)
	})
	eachStream(t, b.addr, func(t *testing.T, s *site) {
		conn := s.dial()
		_, _ = fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", siteName)
		r := bufio.NewReader(conn)
		resp, err := http.ReadResponse(r, nil)
		if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("got %v: %v", resp, err)
		}
		_ = resp.Body.Close()
		for i := range 3 {
			line := fmt.Sprintf("message %d\n", i)
			_, _ = io.WriteString(conn, line)
			if got, err := r.ReadString('\n'); got != line {
				t.Fatalf("got %q, want %q: %v", got, line, err)
			}
		}
	})
}

func TestTrailersAndEarlyHints(t *testing.T) {
	b := newBackendFunc(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("Trailer", "X-Sum")
		w.WriteHeader(http.StatusOK)
		fmt.Fprint(w, "body")
		w.Header().Set("X-Sum", "42")
		w.Header().Set(http.TrailerPrefix+"X-Late", "yes")
	})
	eachStream(t, b.addr, func(t *testing.T, s *site) {
		var hints []int
		r := s.newRequest(t, "/")
		r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
				if header.Get("Link") != "" {
					hints = append(hints, code)
				}
				return nil
			},
		}))
		resp := s.open(r)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK || string(body) != "body" {
			t.Errorf("got %d %q: %v", resp.StatusCode, body, err)
		}
		if len(hints) != 1 || hints[0] != http.StatusEarlyHints {
			t.Errorf("early hints: got %v", hints)
		}
		if resp.Trailer.Get("X-Sum") != "42" || resp.Trailer.Get("X-Late") != "yes" {
			t.Errorf("trailers: got %v", resp.Trailer)
		}
	})
}

// TestResponseBreaksOff checks that nothing is written over or after what the client
// already has.
func TestResponseBreaksOff(t *testing.T) {
	for name, text := range map[string]string{
		"with a length": "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun",
		"in chunks":     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n",
		"bad chunk":     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\nxyz\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			eachStream(t, rawBackend(t, reply(text)), func(t *testing.T, s *site) {
				got := s.get("/")
				if got.status != http.StatusOK || got.isOurs() || got.body != "begun" || got.cut == nil {
					t.Errorf("got %d %v %q, cut off by %v", got.status, got.header, got.body, got.cut)
				}
				if ours := s.logged(said("no healthy upstream")); len(ours) > 0 {
					t.Errorf("an answered request is in the log as unanswered: %v", ours)
				}
			})
		})
	}
}

// TestEarlyHintsThenNothing checks that a 1xx response does not count as the response.
func TestEarlyHintsThenNothing(t *testing.T) {
	eachStream(t, rawBackend(t, reply("HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n")), func(t *testing.T, s *site) {
		got := s.do("POST", "/", "a body", acceptProblem...)
		if p := got.problem(t); got.status != 502 || p.Cause != "connection_terminated" || p.RequestFate != "unknown" {
			t.Errorf("got %d %+v", got.status, p)
		}
	})
}

// TestUpgradeToDeadApp checks that a WebSocket to a dead app gets a bare status on a
// connection that can be reused.
func TestUpgradeToDeadApp(t *testing.T) {
	eachStream(t, deadAddress(t), func(t *testing.T, s *site) {
		conn := s.dial()
		_, _ = fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", siteName)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode < 502 || resp.StatusCode > 503 || len(body) > 0 || resp.Header.Get("Content-Type") != "" {
			t.Errorf("got %d %v %q: %v", resp.StatusCode, resp.Header, body, err)
		}
	})
}

// TestLargeBodies checks that large bodies are unchanged in both directions.
func TestLargeBodies(t *testing.T) {
	b := newBackendFunc(t, func(w http.ResponseWriter, r *http.Request) {
		got, _ := io.ReadAll(r.Body)
		_, _ = w.Write(got)
	})
	body := strings.Repeat("0123456789abcdef", 1<<16)
	eachStream(t, b.addr, func(t *testing.T, s *site) {
		if got := s.do("POST", "/", body); got.status != http.StatusOK || got.body != body {
			t.Errorf("got %d and %d bytes of %d", got.status, len(got.body), len(body))
		}
	})
}

// TestConnectionIsReused checks that a connection to Caddy survives the page: a visitor's
// browser reuses it.
func TestConnectionIsReused(t *testing.T) {
	eachStream(t, deadAddress(t), func(t *testing.T, s *site) {
		conn := s.dial()
		r := bufio.NewReader(conn)
		for range 3 {
			_, _ = fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: %s\r\nContent-Length: 5\r\n\r\nhello", siteName)
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
	})
}
