package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/healthpool/caddy-healthpool/internal/badserver"
	"github.com/healthpool/caddy-healthpool/internal/cause"
)

const (
	serving    = grpc_health_v1.HealthCheckResponse_SERVING
	notServing = grpc_health_v1.HealthCheckResponse_NOT_SERVING
)

// ownH2C is own for HTTP/2 without TLS.
func ownH2C(t testing.TB) *http.Transport {
	t.Helper()
	transport := own(t)
	transport.Protocols = new(http.Protocols)
	transport.Protocols.SetUnencryptedHTTP2(true)
	return transport
}

// certificate returns a certificate for 127.0.0.1, and a transport that trusts it.
func certificate(t testing.TB) (tls.Certificate, *http.Transport) {
	t.Helper()
	s := httptest.NewTLSServer(nil)
	s.Close()
	transport := own(t)
	transport.ForceAttemptHTTP2 = true
	transport.TLSClientConfig = &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
	transport.TLSClientConfig.RootCAs.AddCert(s.Certificate())
	return s.TLS.Certificates[0], transport
}

// grpcServer serves what register registers, until the test ends.
func grpcServer(t testing.TB, register func(*grpc.Server), options ...grpc.ServerOption) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(options...)
	register(s)
	go func() { _ = s.Serve(listener) }()
	t.Cleanup(s.Stop)
	return listener.Addr().String()
}

// standard returns grpc-go's own health service.
func standard() *health.Server {
	s := health.NewServer()
	s.SetServingStatus("shop", serving)
	s.SetServingStatus("till", notServing)
	s.SetServingStatus("stock", grpc_health_v1.HealthCheckResponse_UNKNOWN)
	s.SetServingStatus("gone", grpc_health_v1.HealthCheckResponse_SERVICE_UNKNOWN)
	s.SetServingStatus("new", 99)
	return s
}

func TestGRPCHealthServer(t *testing.T) {
	register := func(s *grpc.Server) { grpc_health_v1.RegisterHealthServer(s, standard()) }
	certificate, trusting := certificate(t)
	overTLS := grpcServer(t, register, grpc.Creds(credentials.NewServerTLSFromCert(&certificate)))
	probes := map[string]GRPC{
		"h2c": {URL: "http://" + grpcServer(t, register), Transport: ownH2C(t)},
		"TLS": {URL: "https://" + overTLS + "/", Transport: trusting},
	}
	tests := []struct {
		service string
		detail  string
	}{
		{"", ""},
		{"shop", ""},
		{"till", "the service is NOT_SERVING, expected SERVING"},
		{"stock", "the service is UNKNOWN, expected SERVING"},
		{"gone", "the service is SERVICE_UNKNOWN, expected SERVING"},
		{"new", "the service is 99, expected SERVING"},
		{"sh\"op", `grpc-status 5 (NotFound), the app does not know the service "sh\"op": unknown service`},
	}
	for name, probe := range probes {
		for _, test := range tests {
			t.Run(name+"/"+test.service, func(t *testing.T) {
				probe := probe
				probe.Service, probe.Timeout = test.service, plenty
				got := probe.Probe(t.Context())
				if test.detail == "" {
					want(t, got, "", false)
					return
				}
				want(t, got, cause.UnexpectedStatus, false)
				if got.Detail != test.detail {
					t.Errorf("got %q, want %q", got.Detail, test.detail)
				}
			})
		}
	}
	untrusting := own(t)
	untrusting.ForceAttemptHTTP2 = true
	probe := GRPC{URL: "https://" + overTLS, Timeout: plenty, Transport: untrusting}
	want(t, probe.Probe(t.Context()), cause.TLSCertificateError, true)
}

// app is a health service implemented by a function.
type app struct {
	grpc_health_v1.UnimplementedHealthServer
	check func(context.Context, string) error
}

func (a app) Check(ctx context.Context, r *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	return &grpc_health_v1.HealthCheckResponse{Status: serving}, a.check(ctx, r.Service)
}

func TestGRPCStatus(t *testing.T) {
	url := "http://" + grpcServer(t, func(s *grpc.Server) {
		grpc_health_v1.RegisterHealthServer(s, app{check: func(_ context.Context, service string) error {
			var code codes.Code
			_, _ = fmt.Sscan(service, &code)
			return status.Error(code, "50 % of\nwhat is needed")
		}})
	})
	nothing := "http://" + grpcServer(t, func(*grpc.Server) {})
	tests := []struct {
		url, service, detail string
	}{
		{nothing, "", "grpc-status 12 (Unimplemented), the app has no health service: unknown service grpc.health.v1.Health"},
		{url, "4", "grpc-status 4 (DeadlineExceeded): 50 % of what is needed"},
		{url, "14", "grpc-status 14 (Unavailable): 50 % of what is needed"},
		{url, "16", "grpc-status 16 (Unauthenticated): 50 % of what is needed"},
		{url, "77", "grpc-status 77 (Code(77)): 50 % of what is needed"},
	}
	for _, test := range tests {
		probe := GRPC{URL: test.url, Service: test.service, Timeout: plenty, Transport: ownH2C(t)}
		got := probe.Probe(t.Context())
		want(t, got, cause.UnexpectedStatus, false)
		if got.Detail != test.detail {
			t.Errorf("got %q, want %q", got.Detail, test.detail)
		}
	}
}

func TestGRPCRequestIsAsConfigured(t *testing.T) {
	var got metadata.MD
	var service string
	var calls atomic.Int32
	url := "http://" + grpcServer(t, func(s *grpc.Server) {
		grpc_health_v1.RegisterHealthServer(s, app{check: func(ctx context.Context, name string) error {
			calls.Add(1)
			got, _ = metadata.FromIncomingContext(ctx)
			service = name
			return nil
		}})
	})
	header := http.Header{
		"X-Check": {"a", "b"}, "User-Agent": {"me"}, "Host": {"not.this"},
		"Content-Type": {"text/plain"}, "Te": {"gzip"},
	}
	probe := GRPC{URL: url, Host: "shop.example", Service: "shöp", Header: header, Timeout: plenty, Transport: ownH2C(t)}
	want(t, probe.Probe(t.Context()), "", false)
	if calls.Load() != 1 || service != "shöp" {
		t.Errorf("%d calls, the last about %q", calls.Load(), service)
	}
	if have := fmt.Sprint(got["x-check"], got["user-agent"], got[":authority"], got["content-type"]); have != "[a b] [me] [shop.example] [application/grpc]" {
		t.Errorf("got %v", have)
	}
	if header.Get("Te") != "gzip" || len(header) != 5 {
		t.Errorf("the configured header is now %v", header)
	}
	probe.Host, probe.Header = "", http.Header{"Host": {"by.header"}}
	want(t, probe.Probe(t.Context()), "", false)
	if have := got[":authority"]; len(have) != 1 || have[0] != "by.header" {
		t.Errorf("got %v", have)
	}
}

func TestGRPCBadRequests(t *testing.T) {
	tests := map[string]GRPC{
		"bad URL":       {URL: "http://%zz"},
		"no URL":        {},
		"invalid name":  {URL: "http://x", Service: "\xff"},
		"long name":     {URL: "http://x", Service: strings.Repeat("x", maxMessage)},
		"no answer":     {URL: "http://x", Transport: tripper(func(*http.Request) (*http.Response, error) { return nil, nil })},
		"panic":         {URL: "http://x", Transport: tripper(func(*http.Request) (*http.Response, error) { panic("oh\nno") })},
		"panic in body": {URL: "http://x", Transport: answering(http.Response{Body: panicking{}})},
	}
	for name, probe := range tests {
		t.Run(name, func(t *testing.T) {
			probe.Timeout = plenty
			want(t, probe.Probe(t.Context()), cause.ProxyInternalError, false)
		})
	}
}

// answering returns a transport that answers with r, completed by what every answer needs.
func answering(r http.Response) tripper {
	return func(req *http.Request) (*http.Response, error) {
		_ = req.Body.Close()
		r := r
		r.ProtoMajor, r.StatusCode = 2, http.StatusOK
		if r.Header == nil {
			r.Header = http.Header{"Content-Type": {"application/grpc"}}
		}
		return &r, nil
	}
}

func TestGRPCTimeouts(t *testing.T) {
	url := "http://" + grpcServer(t, func(s *grpc.Server) {
		grpc_health_v1.RegisterHealthServer(s, app{check: func(ctx context.Context, _ string) error {
			<-ctx.Done() // the server notices that the check was canceled
			return ctx.Err()
		}})
	})
	hanging := ownH2C(t)
	hanging.DialContext = hangingDial
	silent := "://" + badserver.Listen(t, func(c net.Conn) { _, _ = c.Read(make([]byte, 1)); time.Sleep(2 * little) })
	tests := []struct {
		name, url string
		transport http.RoundTripper
		want      cause.Cause
		decisive  bool
	}{
		{"slow app", url, ownH2C(t), cause.HTTPResponseTimeout, false},
		{"silent", "http" + silent, ownH2C(t), cause.HTTPResponseTimeout, false},
		{"no handshake", "https" + silent, own(t), cause.ConnectionTimeout, false},
		{"no connection", "http://127.0.0.1", hanging, cause.ConnectionTimeout, false},
		{"refused", "http://" + badserver.Nobody(t), ownH2C(t), cause.ConnectionRefused, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			probe := GRPC{URL: test.url, Timeout: little, Transport: test.transport}
			want(t, probe.Probe(t.Context()), test.want, test.decisive)
		})
	}
	t.Run("canceled", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), little)
		defer cancel()
		probe := GRPC{URL: url, Timeout: plenty, Transport: ownH2C(t)}
		want(t, probe.Probe(ctx), cause.ClientGone, false)
	})
}

// The same connection serves all checks, even after a failed one. If the server goes away
// between two checks, the next one reconnects.
func TestGRPCConnections(t *testing.T) {
	var dials atomic.Int32
	transport := ownH2C(t)
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		dials.Add(1)
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	var app *grpc.Server
	url := "http://" + grpcServer(t, func(s *grpc.Server) {
		app = s
		grpc_health_v1.RegisterHealthServer(s, standard())
	})
	probe := GRPC{URL: url, Timeout: plenty, Transport: transport}
	for _, service := range []string{"", "till", "nobody", "shop", ""} {
		probe.Service = service
		if got := probe.Probe(t.Context()); got.Cause != "" && got.Cause != cause.UnexpectedStatus {
			t.Errorf("%q: %+v", service, got)
		}
	}
	if got := dials.Load(); got != 1 {
		t.Errorf("%d connections for five checks", got)
	}
	app.GracefulStop() // sends GOAWAY
	want(t, probe.Probe(t.Context()), cause.ConnectionRefused, true)
}
