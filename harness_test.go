package healthpool_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/healthpool/caddy-healthpool"
)

// patience bounds what a test waits for. What must be fast has its own bound.
const patience = 10 * time.Second

// Requests use this name, so that no response has a reason to contain an address.
const siteName = "shop.example"

// site is a Caddy that runs in this process, with one site.
type site struct {
	t      *testing.T
	port   int
	admin  string // address of the admin API
	dir    string
	client *http.Client
}

// run starts Caddy with a site of these directives until the test ends.
func run(t *testing.T, directives string) *site {
	t.Helper()
	return runWith(t, "", directives)
}

// runWith is run with global options.
func runWith(t *testing.T, global, directives string) *site {
	t.Helper()
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 100}
	s := &site{
		t: t, port: freePort(t), admin: fmt.Sprintf("127.0.0.1:%d", freePort(t)), dir: t.TempDir(),
		client: &http.Client{
			Transport:     retryingTransport{transport},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		s.stop()
		if t.Failed() {
			t.Logf("Caddy's log:\n%s", s.logText())
		}
	})
	if err := s.load(global, directives); err != nil {
		t.Fatalf("loading: %v", err)
	}
	return s
}

// retryingTransport retries on a connection that was opened while Caddy's server, or its admin
// endpoint, was shutting down in a reload: net/http closes it without an answer, and the
// kernel resets it if it was not accepted yet.
type retryingTransport struct{ *http.Transport }

func (i retryingTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := i.Transport.RoundTrip(r)
	if !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) || r.GetBody == nil && r.Body != nil {
		return resp, err
	}
	if r.GetBody != nil {
		if r.Body, err = r.GetBody(); err != nil {
			return nil, err
		}
	}
	return i.Transport.RoundTrip(r)
}

// load loads a config into Caddy.
func (s *site) load(global, directives string) error {
	s.t.Helper()
	adapted, err := adapt(s.config(global, directives))
	if err != nil {
		s.t.Fatalf("adapting: %v", err)
	}
	return caddy.Load(adapted, true)
}

func (s *site) config(global, directives string) string {
	return fmt.Sprintf(`{
	admin %s
	auto_https off
	persist_config off
	grace_period 1s
	storage file_system %q
	log {
		output file %q {
			roll_disabled
		}
		format json
	}
	%s
}
http://:%d {
	%s
}
`, s.admin, filepath.Join(s.dir, "storage"), s.logFile(), global, s.port, directives)
}

func adapt(caddyfile string) ([]byte, error) {
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), nil)
	return adapted, err
}

// stop stops Caddy. Further calls do nothing.
func (s *site) stop() {
	if err := caddy.Stop(); err != nil {
		s.t.Errorf("stopping Caddy: %v", err)
	}
}

func (s *site) logFile() string { return filepath.Join(s.dir, "caddy.log") }

func (s *site) logText() string {
	text, err := os.ReadFile(s.logFile())
	if err != nil {
		s.t.Errorf("reading the log: %v", err)
	}
	return string(text)
}

// entry is one line of the log.
type entry map[string]any

// logged returns the log entries for which keep is true.
func (s *site) logged(keep func(entry) bool) []entry {
	s.t.Helper()
	var entries []entry
	text := s.logText()
	lines := bufio.NewScanner(strings.NewReader(text[:strings.LastIndexByte(text, '\n')+1])) // the last may be half written
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e entry
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			s.t.Fatalf("log line %q: %v", lines.Text(), err)
		}
		if keep(e) {
			entries = append(entries, e)
		}
	}
	return entries
}

// said selects log entries by their message.
func said(message string) func(entry) bool {
	return func(e entry) bool { return e["msg"] == message }
}

func isError(e entry) bool { return e["level"] == "error" }

// response is a completely read response.
type response struct {
	status int
	header http.Header
	body   string
	// cut is the error of reading the body, if any.
	cut error
	// took is the time from the request to the end of the body.
	took time.Duration
}

// get requests path; headers are alternating names and values.
func (s *site) get(path string, headers ...string) response {
	s.t.Helper()
	return s.do(http.MethodGet, path, "", headers...)
}

// awaitAnswer waits until a response is as expected, and returns it: just after a reload, a
// connection may still get an answer of the old config.
func (s *site) awaitAnswer(path string, expected func(response) bool, headers ...string) (got response) {
	s.t.Helper()
	await(s.t, "the new config answers", func() bool {
		got = s.get(path, headers...)
		return expected(got)
	})
	return got
}

func (s *site) do(method, path, body string, headers ...string) response {
	s.t.Helper()
	r, err := s.try(s.t.Context(), method, path, body, headers...)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	return r
}

// try is do for goroutines and for requests that may fail.
func (s *site) try(ctx context.Context, method, path, body string, headers ...string) (response, error) {
	req, err := http.NewRequestWithContext(ctx, method, s.url(path), strings.NewReader(body))
	if err != nil {
		return response{}, err
	}
	req.Host = siteName
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			req.Host = headers[i+1]
		}
		req.Header.Add(headers[i], headers[i+1])
	}
	start := time.Now()
	resp, err := s.client.Do(req)
	if err != nil {
		return response{}, err
	}
	defer resp.Body.Close()
	read, cut := io.ReadAll(resp.Body)
	return response{resp.StatusCode, resp.Header, string(read), cut, time.Since(start)}, nil
}

func (s *site) url(path string) string { return fmt.Sprintf("http://127.0.0.1:%d%s", s.port, path) }

// dial opens a connection to the site for a request that net/http cannot make.
func (s *site) dial() net.Conn {
	s.t.Helper()
	conn, err := new(net.Dialer).DialContext(s.t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", s.port))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return conn
}

// adminDo sends a request to the admin API.
func (s *site) adminDo(method, path string) response {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, "http://"+s.admin+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.adminSend(req)
}

func (s *site) adminSend(req *http.Request) response {
	s.t.Helper()
	resp, err := s.client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return response{status: resp.StatusCode, header: resp.Header, body: string(body)}
}

// problem is problem+json as §4 of the design defines it.
type problem struct {
	Type        string `json:"type"`
	Title       string `json:"title"`
	Status      int    `json:"status"`
	Detail      string `json:"detail"`
	Instance    string `json:"instance"`
	Reference   string `json:"reference"`
	Cause       string `json:"cause"`
	Retryable   *bool  `json:"retryable"`
	RetryAfter  int    `json:"retry_after"`
	RequestFate string `json:"request_fate"`
}

// acceptProblem are the headers of a request for problem+json.
var acceptProblem = []string{"Accept", "application/problem+json"}

func (r response) problem(t *testing.T) problem {
	t.Helper()
	var p problem
	decoder := json.NewDecoder(bytes.NewReader([]byte(r.body)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&p); err != nil {
		t.Fatalf("no problem+json: status %d, %v, body %q: %v", r.status, r.header, r.body, err)
	}
	return p
}

// isOurs reports whether no_healthy_upstream wrote the response.
func (r response) isOurs() bool { return r.header.Get("X-Robots-Tag") == "noindex" }

// await waits until ok returns true.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// expect reports which of the named conditions do not hold for got.
func expect(t *testing.T, got any, conditions map[string]bool) {
	t.Helper()
	for name, holds := range conditions {
		if !holds {
			t.Errorf("%s is not as it must be: %+v", name, got)
		}
	}
}

// lowestPort and highestPort enclose ports that no operating system assigns to clients, so
// that a free one stays free.
const lowestPort, highestPort = 10000, 20000

var portsGiven = make(map[int]bool)

// freePort returns a port on which nothing listens, each only once.
func freePort(t *testing.T) int {
	t.Helper()
	for range 1000 {
		port := lowestPort + rand.IntN(highestPort-lowestPort)
		if portsGiven[port] {
			continue
		}
		portsGiven[port] = true
		listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			_ = listener.Close()
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}

// deadAddress returns an address that refuses connections.
func deadAddress(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", freePort(t))
}
