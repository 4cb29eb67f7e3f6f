package cause

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/badserver"
)

// get sends a request with its own transport and returns the error.
func get(t *testing.T, address string, change func(*http.Transport)) error {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{}}
	if change != nil {
		change(transport)
	}
	t.Cleanup(transport.CloseIdleConnections)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	if err == nil {
		t.Fatalf("no error from %s", address)
	}
	return err
}

func silentServer(t *testing.T) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	t.Cleanup(server.CloseClientConnections) // runs first
	return server
}

func trust(server *httptest.Server) func(*http.Transport) {
	return func(tr *http.Transport) {
		tr.TLSClientConfig = server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
		tr.ForceAttemptHTTP2 = server.EnableHTTP2
	}
}

// failure is a real failure, and its expected cause.
type failure struct {
	name string
	make func(t *testing.T) error
	want Cause
}

// check produces the failures, and checks their causes, by type and from the text alone.
func check(t *testing.T, failures []failure) {
	t.Helper()
	for _, test := range failures {
		t.Run(test.name, func(t *testing.T) {
			err := test.make(t)
			t.Logf("%T: %v", err, err)
			for _, err := range []error{err, opaque{err}, &url.Error{Op: "Get", URL: "http://x/", Err: opaque{err}}} {
				if got := Of(err); got != test.want {
					t.Errorf("%T: got %s, want %s: %v", err, got, test.want, err)
				}
			}
		})
	}
}

func TestOfConnecting(t *testing.T) {
	check(t, []failure{
		{"refused", refused, ConnectionRefused},
		{"no socket", func(t *testing.T) error {
			_, err := new(net.Dialer).DialContext(t.Context(), "unix", filepath.Join(t.TempDir(), "x"))
			return err
		}, ConnectionRefused},
		{"dial timeout", func(t *testing.T) error {
			_, err := (&net.Dialer{Timeout: time.Nanosecond}).DialContext(t.Context(), "tcp", "127.0.0.1:1")
			return err
		}, ConnectionTimeout},
		{"dial canceled", func(t *testing.T) error {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_, err := new(net.Dialer).DialContext(ctx, "tcp", "127.0.0.1:1")
			return err
		}, ClientGone},
	})
}

func TestOfHTTP(t *testing.T) {
	check(t, []failure{
		{"reset", func(t *testing.T) error { return get(t, "http://"+badserver.Listen(t, badserver.Reset), nil) }, ConnectionTerminated},
		{"closed", func(t *testing.T) error { return get(t, "http://"+badserver.Listen(t, badserver.HangUp), nil) }, ConnectionTerminated},
		{"closed in the headers", func(t *testing.T) error { return reply(t, "HTTP/1.1 200 OK\r\nA: ") }, ConnectionTerminated},
		{"closed in the body", func(t *testing.T) error { return reply(t, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx") }, ConnectionTerminated},
		{"garbage", func(t *testing.T) error { return reply(t, "garbage no such host\r\n\r\n") }, HTTPProtocolError},
		{"speaks first", func(t *testing.T) error {
			return get(t, "http://"+badserver.Listen(t, badserver.SpeakFirst("SSH-2.0-x\r\n")), nil)
		}, HTTPProtocolError},
		{"bad status", func(t *testing.T) error { return reply(t, "HTTP/1.1 abc operation was canceled\r\n\r\n") }, HTTPProtocolError},
		{"bad version", func(t *testing.T) error { return reply(t, "HTTX/9 200 OK\r\n\r\n") }, HTTPProtocolError},
		{"bad header", func(t *testing.T) error { return reply(t, "HTTP/1.1 200 OK\r\nlookup x\r\n\r\n") }, HTTPProtocolError},
		{"bad length", func(t *testing.T) error { return reply(t, "HTTP/1.1 200 OK\r\nContent-Length: tls: x\r\n\r\n") }, HTTPProtocolError},
		{"two lengths", func(t *testing.T) error {
			return reply(t, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n")
		}, HTTPProtocolError},
		{"bad encoding", func(t *testing.T) error { return reply(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: what\r\n\r\n") }, HTTPProtocolError},
		{"bad chunk", func(t *testing.T) error {
			return reply(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
		}, HTTPProtocolError},
		{"too much header", func(t *testing.T) error {
			return reply(t, "HTTP/1.1 200 OK\r\nA: "+strings.Repeat("x", 1<<16)+"\r\n\r\n")
		}, HTTPProtocolError},
		{"silent", silent, HTTPResponseTimeout},
		{"silent, HTTP/2", silentH2, HTTPResponseTimeout},
		{"cut off, HTTP/2", cutH2, ConnectionTerminated},
		{"aborted, HTTP/2", abortedH2, ConnectionTerminated},
		{"read deadline", readDeadline, ConnectionReadTimeout},
	})
}

func TestOfTLS(t *testing.T) {
	check(t, []failure{
		{"handshake timeout", func(t *testing.T) error {
			return get(t, "https://"+badserver.Listen(t, badserver.Hang), func(tr *http.Transport) {
				tr.TLSHandshakeTimeout = 20 * time.Millisecond
			})
		}, ConnectionTimeout},
		{"TLS to plain HTTP", func(t *testing.T) error {
			server := httptest.NewServer(http.NotFoundHandler())
			t.Cleanup(server.Close)
			return get(t, strings.Replace(server.URL, "http:", "https:", 1), nil)
		}, TLSProtocolError},
		{"TLS to something else", func(t *testing.T) error {
			return get(t, "https://"+badserver.Listen(t, badserver.SpeakFirst("220 mail\r\n")), nil)
		}, TLSProtocolError},
		{"plain HTTP to TLS", func(t *testing.T) error {
			return reply(t, "\x15\x03\x01\x00\x02\x02\x46")
		}, HTTPProtocolError},
		{"unknown authority", func(t *testing.T) error { return get(t, silentServer(t).URL, nil) }, TLSCertificateError},
		{"wrong name", func(t *testing.T) error {
			server := silentServer(t)
			return get(t, server.URL, func(tr *http.Transport) { trust(server)(tr); tr.TLSClientConfig.ServerName = "other" })
		}, TLSCertificateError},
		{"alert", func(t *testing.T) error {
			return fussy(t, &tls.Config{MinVersion: tls.VersionTLS13}, tls.VersionTLS12)
		}, TLSAlertReceived},
		{"alert for the name", func(t *testing.T) error {
			refuse := func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, errors.New("no such name") }
			return fussy(t, &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: refuse}, tls.VersionTLS13)
		}, TLSAlertReceived},
		{"client certificate wanted, TLS 1.2", func(t *testing.T) error {
			return fussy(t, &tls.Config{ClientAuth: tls.RequireAnyClientCert}, tls.VersionTLS12)
		}, TLSAlertReceived},
		{"client certificate wanted, TLS 1.3", func(t *testing.T) error {
			return fussy(t, &tls.Config{ClientAuth: tls.RequireAnyClientCert}, tls.VersionTLS13)
		}, TLSAlertReceived},
	})
}

func refused(t *testing.T) error {
	if runtime.GOOS == "windows" {
		t.Skip("takes two seconds there")
	}
	return get(t, "http://"+badserver.Nobody(t), nil)
}

// reply returns the error of a client that gets these bytes and then the end.
func reply(t *testing.T, bytes string) error {
	return get(t, "http://"+badserver.Listen(t, badserver.Answer(bytes)), func(tr *http.Transport) { tr.MaxResponseHeaderBytes = 4 << 10 })
}

func silent(t *testing.T) error {
	return get(t, "http://"+badserver.Listen(t, badserver.Hang), func(tr *http.Transport) { tr.ResponseHeaderTimeout = 20 * time.Millisecond })
}

func silentH2(t *testing.T) error {
	server := silentServer(t)
	return get(t, server.URL, func(tr *http.Transport) {
		trust(server)(tr)
		tr.ResponseHeaderTimeout = 20 * time.Millisecond
	})
}

func cutH2(t *testing.T) error {
	server := httptest.NewUnstartedServer(nil)
	server.EnableHTTP2 = true
	server.Config.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { server.CloseClientConnections() })
	server.StartTLS()
	t.Cleanup(server.Close)
	return get(t, server.URL, trust(server))
}

func abortedH2(t *testing.T) error {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		panic(http.ErrAbortHandler)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	return get(t, server.URL, trust(server))
}

func readDeadline(t *testing.T) error {
	address := badserver.Listen(t, badserver.Hang)
	return get(t, "http://"+address, func(tr *http.Transport) {
		tr.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, address)
			if err == nil {
				err = conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
			}
			return conn, err
		}
	})
}

// fussy returns the error of a client that offers one TLS version and no certificate, to a
// server that requires something else.
func fussy(t *testing.T, config *tls.Config, version uint16) error {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.TLS = config
	server.StartTLS()
	t.Cleanup(server.Close)
	return get(t, server.URL, func(tr *http.Transport) {
		trust(server)(tr)
		tr.TLSClientConfig.MinVersion, tr.TLSClientConfig.MaxVersion = version, version
	})
}
