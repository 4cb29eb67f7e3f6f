package probe

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/badserver"
	"github.com/healthpool/caddy-healthpool/internal/cause"
)

// own returns a transport that no other test shares.
func own(t testing.TB) *http.Transport {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

func server(t testing.TB, f http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	t.Cleanup(s.CloseClientConnections) // runs first
	return s.URL
}

func TestStatus(t *testing.T) {
	url := server(t, func(w http.ResponseWriter, r *http.Request) {
		var status int
		_, _ = fmt.Sscanf(r.URL.Path, "/%d", &status)
		w.WriteHeader(status)
	})
	tests := []struct {
		expect, status int
		detail         string
	}{
		{0, 200, ""},
		{0, 204, ""},
		{0, 399, ""},
		{0, 301, ""}, // without a Location
		{0, 400, "status 400, expected 200-399"},
		{0, 503, "status 503, expected 200-399"},
		{2, 200, ""},
		{2, 299, ""},
		{2, 302, "status 302, expected 2xx"},
		{5, 500, ""},
		{204, 204, ""},
		{204, 200, "status 200, expected 204"},
		{503, 503, ""},
	}
	for _, test := range tests {
		probe := HTTP{URL: fmt.Sprint(url, "/", test.status), Status: test.expect, Timeout: plenty, Transport: own(t)}
		got := probe.Probe(t.Context())
		if test.detail == "" {
			want(t, got, "", false)
			continue
		}
		want(t, got, cause.UnexpectedStatus, false)
		if got.Detail != test.detail {
			t.Errorf("got %q, want %q", got.Detail, test.detail)
		}
	}
}

func TestRequestIsAsConfigured(t *testing.T) {
	var got *http.Request
	var body []byte
	url := server(t, func(_ http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
	})
	header := http.Header{"X-Check": {"a", "b"}, "User-Agent": {"me"}, "Host": {"not.this"}}
	probe := HTTP{
		Method: http.MethodPut, URL: url + "/ready?x=1", Host: "shop.example", Header: header,
		Body: "ping", Timeout: plenty, Transport: own(t),
	}
	want(t, probe.Probe(t.Context()), "", false)
	if got.Method != "PUT" || got.RequestURI != "/ready?x=1" || got.Host != "shop.example" || string(body) != "ping" {
		t.Errorf("got %s %s of %s with %q", got.Method, got.RequestURI, got.Host, body)
	}
	if fmt.Sprint(got.Header["X-Check"], got.Header["User-Agent"]) != "[a b] [me]" || got.Header.Get("Host") != "" {
		t.Errorf("got %v", got.Header)
	}
	if len(header) != 3 {
		t.Errorf("the configured header is now %v", header)
	}

	probe = HTTP{URL: url, Header: http.Header{"Host": {"by.header"}}, Timeout: plenty}
	want(t, probe.Probe(t.Context()), "", false)
	if got.Method != "GET" || got.Host != "by.header" || len(body) != 0 {
		t.Errorf("got %s of %s with %q", got.Method, got.Host, body)
	}
}

func TestBody(t *testing.T) {
	url := server(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/ok":
			_, _ = io.WriteString(w, "all is well\n")
		case "/late":
			_, _ = io.WriteString(w, strings.Repeat(" ", maxBody)+"well")
		case "/endless":
			for _, err := io.WriteString(w, "well "); err == nil; {
				_, err = w.Write(make([]byte, 32<<10))
			}
		case "/slow":
			_, _ = io.WriteString(w, "we")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		case "/cut":
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "well")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
	})
	well, ill := regexp.MustCompile("well"), regexp.MustCompile("^ill$")
	tests := []struct {
		path    string
		expect  *regexp.Regexp
		timeout time.Duration
		want    cause.Cause
	}{
		{"/ok", well, plenty, ""},
		{"/ok", ill, plenty, cause.UnexpectedBody},
		{"/empty", well, plenty, cause.UnexpectedBody},
		{"/late", well, plenty, cause.UnexpectedBody},
		{"/late", nil, plenty, ""},
		{"/endless", well, plenty, ""},
		{"/endless", ill, plenty, cause.UnexpectedBody},
		{"/endless", nil, plenty, ""},
		{"/slow", nil, plenty, ""},
		{"/slow", well, little, cause.HTTPResponseTimeout},
		{"/cut", nil, plenty, ""},
		{"/cut", well, plenty, cause.ConnectionTerminated},
	}
	for _, test := range tests {
		t.Run(fmt.Sprint(test.path, test.expect), func(t *testing.T) {
			probe := HTTP{URL: url + test.path, ExpectBody: test.expect, Timeout: test.timeout, Transport: own(t)}
			began := time.Now()
			want(t, probe.Probe(t.Context()), test.want, false)
			if spent := time.Since(began); spent > plenty/2 {
				t.Errorf("it took %v", spent)
			}
		})
	}
}

func TestRedirects(t *testing.T) {
	var hits atomic.Int32
	down := "http://" + badserver.Nobody(t) + "/"
	url := server(t, func(w http.ResponseWriter, r *http.Request) {
		hits.Add(1)
		var left int
		switch _, _ = fmt.Sscanf(r.URL.Path, "/left/%d", &left); {
		case left > 0:
			http.Redirect(w, r, fmt.Sprint("/left/", left-1), http.StatusFound)
		case r.URL.Path == "/circle":
			http.Redirect(w, r, "/circle", http.StatusTemporaryRedirect)
		case r.URL.Path == "/nowhere":
			w.Header().Set("Location", "http://%zz/")
			w.WriteHeader(http.StatusFound)
		case r.URL.Path == "/down":
			http.Redirect(w, r, down, http.StatusFound)
		default:
			w.WriteHeader(http.StatusNoContent)
		}
	})
	tests := []struct {
		path     string
		follow   bool
		status   int
		want     cause.Cause
		decisive bool
		hits     int32
	}{
		{"/left/1", false, 0, "", false, 1},
		{"/left/1", false, 204, cause.UnexpectedStatus, false, 1},
		{"/left/1", true, 204, "", false, 2},
		{"/left/10", true, 204, "", false, 11},
		{"/left/11", true, 204, cause.UnexpectedStatus, false, 11},
		{"/circle", true, 0, cause.UnexpectedStatus, false, 11},
		{"/circle", false, 0, "", false, 1},
		{"/nowhere", true, 0, cause.HTTPProtocolError, false, 1},
		{"/down", true, 0, cause.ConnectionRefused, true, 1},
	}
	for _, test := range tests {
		t.Run(fmt.Sprint(test.path, test.follow, test.status), func(t *testing.T) {
			hits.Store(0)
			probe := HTTP{URL: url + test.path, FollowRedirects: test.follow, Status: test.status, Timeout: plenty, Transport: own(t)}
			want(t, probe.Probe(t.Context()), test.want, test.decisive)
			if got := hits.Load(); got != test.hits {
				t.Errorf("%d requests, want %d", got, test.hits)
			}
		})
	}
}

func TestConnectionsAreUsedAgain(t *testing.T) {
	var opened atomic.Int32
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, strings.Repeat("x", 20<<10))
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	probe := HTTP{URL: s.URL, Timeout: plenty, Transport: own(t)}
	for range 5 {
		want(t, probe.Probe(t.Context()), "", false)
	}
	if got := opened.Load(); got != 1 {
		t.Errorf("%d connections for five checks", got)
	}
}

func TestTLS(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Proto)
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	probe := HTTP{URL: s.URL, ExpectBody: regexp.MustCompile(`^HTTP/2\.0$`), Timeout: plenty, Transport: s.Client().Transport}
	want(t, probe.Probe(t.Context()), "", false)
	probe.Transport = own(t) // does not trust the CA
	want(t, probe.Probe(t.Context()), cause.TLSCertificateError, true)
}
