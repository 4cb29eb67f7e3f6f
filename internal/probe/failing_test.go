package probe

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/badserver"
	"github.com/healthpool/caddy-healthpool/internal/cause"
)

func TestBadServers(t *testing.T) {
	tests := []struct {
		name    string
		scheme  string
		serve   func(net.Conn)
		timeout time.Duration
		want    cause.Cause
	}{
		{"garbage", "http", badserver.Answer("\x00\xff what\r\n\r\n"), plenty, cause.HTTPProtocolError},
		{"long garbage", "http", badserver.Answer(strings.Repeat("HTTP/1.1 \xff", 1000) + "\r\n"), plenty, cause.HTTPProtocolError},
		{"closes", "http", badserver.HangUp, plenty, cause.ConnectionTerminated},
		{"closes in the headers", "http", badserver.Answer("HTTP/1.1 200"), plenty, cause.ConnectionTerminated},
		{"resets", "http", badserver.Reset, plenty, cause.ConnectionTerminated},
		{"speaks first", "http", badserver.SpeakFirst("SSH-2.0-x\r\n"), plenty, cause.HTTPProtocolError},
		{"endless header", "http", badserver.Endless("HTTP/1.1 200 OK\r\nA: ", "x"), plenty, cause.HTTPProtocolError},
		{"endless information", "http", badserver.Endless("", "HTTP/1.1 103 Early Hints\r\n\r\n"), plenty, cause.HTTPProtocolError},
		{"switches protocols", "http", badserver.Answer("HTTP/1.1 101 What\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"), plenty, cause.UnexpectedStatus},
		{"silent", "http", badserver.Hang, little, cause.HTTPResponseTimeout},
		{"slow headers", "http", func(c net.Conn) { badserver.Answer("HTTP/1.1 200 OK\r\n")(c); badserver.Hang(c) }, little, cause.HTTPResponseTimeout},
		{"no handshake", "https", badserver.Hang, little, cause.ConnectionTimeout},
		{"no TLS", "https", badserver.Answer("HTTP/1.1 200 OK\r\n\r\n"), plenty, cause.TLSProtocolError},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			probe := HTTP{URL: test.scheme + "://" + badserver.Listen(t, test.serve), Timeout: test.timeout, Transport: own(t)}
			want(t, probe.Probe(t.Context()), test.want, false)
		})
	}
}

// A listener that never accepts: the kernel still opens connections, which are never
// answered.
func TestHangingAccept(t *testing.T) {
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	probe := HTTP{URL: "http://" + listener.Addr().String(), Timeout: little, Transport: own(t)}
	want(t, probe.Probe(t.Context()), cause.HTTPResponseTimeout, false)
}

func TestConnecting(t *testing.T) {
	hanging, hanged := own(t), own(t)
	hanging.DialContext = hangingDial
	hanged.DialContext = failingDial(hidden{errors.New("dial tcp: lookup x on 10.0.0.1:53: read udp: i/o timeout")})
	resolving := own(t)
	resolving.DialContext = (&net.Dialer{Resolver: &net.Resolver{PreferGo: true, Dial: hangingDial}}).DialContext
	tests := []struct {
		name, host string
		transport  http.RoundTripper
		want       cause.Cause
		decisive   bool
	}{
		{"refused", badserver.Nobody(t), own(t), cause.ConnectionRefused, true},
		{"hanging", "127.0.0.1", hanging, cause.ConnectionTimeout, false},
		{"name servers hang", "name.invalid", resolving, cause.DNSTimeout, false},
		{"name servers hung", "name.invalid", hanged, cause.DNSTimeout, false},
		{"bad URL", "%zz", own(t), cause.ProxyInternalError, false},
		{"nothing", "x", tripper(func(*http.Request) (*http.Response, error) { return nil, nil }), cause.ProxyInternalError, false},
		{"tells nothing", "x", tripper(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}), cause.HTTPResponseTimeout, false},
		{"panic", "x", tripper(func(*http.Request) (*http.Response, error) { panic("oh\nno") }), cause.ProxyInternalError, false},
		{"panic in the body", "x", tripper(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Body: panicking{}}, nil
		}), cause.ProxyInternalError, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			probe := HTTP{URL: "http://" + test.host, Timeout: little, Transport: test.transport}
			if test.want == cause.ConnectionRefused {
				probe.Timeout = plenty
			}
			want(t, probe.Probe(t.Context()), test.want, test.decisive)
		})
	}
}

type tripper func(*http.Request) (*http.Response, error)

func (f tripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

type panicking struct{}

func (panicking) Read([]byte) (int, error) { panic("no") }
func (panicking) Close() error             { return nil }

func TestCanceledMeanwhile(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	url := server(t, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	probe := HTTP{URL: url, Timeout: plenty, Transport: own(t)}
	want(t, probe.Probe(ctx), cause.ClientGone, false)
}
