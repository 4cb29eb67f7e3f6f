package check

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/healthpool/caddy-healthpool/internal/health"
	"github.com/healthpool/caddy-healthpool/internal/option"
	"github.com/healthpool/caddy-healthpool/internal/probe"
)

// Context keys of reverse_proxy and its transports, which core does not export.
const (
	dialInfoKey  = caddy.CtxKey("reverse_proxy.dial_info")
	proxyInfoKey = "reverse_proxy.proxy_protocol_info"
)

// For returns the check of the upstream at addr, through the proxy's transport.
func (s *Spec) For(addr caddy.NetworkAddress, transport func() http.RoundTripper) (func(context.Context) health.Result, error) {
	repl := caddy.NewReplacer()
	repl.Set("http.reverse_proxy.active.target_upstream", addr.String())
	addr, err := s.target(addr)
	if err != nil {
		return nil, err
	}
	switch s.HealthType {
	case typeHTTP:
		return s.http(addr, repl, transport)
	case typeGRPC:
		return s.grpc(addr, repl, transport), nil
	}
	tcp := &probe.TCP{
		Network: addr.Network, Address: addr.JoinHostPort(0), Timeout: time.Duration(s.HealthTimeout),
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			return dial(ctx, transport(), network, address)
		},
	}
	return tcp.Probe, nil
}

// target returns the address to check instead of addr.
func (s *Spec) target(addr caddy.NetworkAddress) (caddy.NetworkAddress, error) {
	switch {
	case s.HealthUpstream != "":
		return option.Address("health_upstream", s.HealthUpstream)
	case s.HealthPort != 0:
		if addr.IsUnixNetwork() || addr.IsFdNetwork() {
			addr = caddy.NetworkAddress{Network: "tcp", Host: "localhost"}
		}
		addr.StartPort, addr.EndPort = uint(s.HealthPort), uint(s.HealthPort)
	}
	return addr, nil
}

func (s *Spec) http(addr caddy.NetworkAddress, repl *caddy.Replacer, transport func() http.RoundTripper) (func(context.Context) health.Result, error) {
	body, err := regexp.Compile(s.HealthBody)
	if err != nil {
		return nil, fmt.Errorf("health_body: %w", err)
	}
	if s.HealthBody == "" {
		body = nil
	}
	p := &probe.HTTP{
		Method: s.HealthMethod, URL: "http://" + host(addr) + s.HealthURI,
		Body: repl.ReplaceKnown(s.HealthRequestBody, ""), Status: s.HealthStatus, ExpectBody: body,
		FollowRedirects: s.HealthFollowRedirects, Timeout: time.Duration(s.HealthTimeout),
		Transport: newCheckTransport(addr, transport),
	}
	p.Host, p.Header = s.headers(repl)
	return p.Probe, nil
}

func (s *Spec) grpc(addr caddy.NetworkAddress, repl *caddy.Replacer, transport func() http.RoundTripper) func(context.Context) health.Result {
	p := &probe.GRPC{
		URL: "http://" + host(addr), Service: s.HealthService,
		Timeout: time.Duration(s.HealthTimeout), Transport: newCheckTransport(addr, transport),
	}
	p.Host, p.Header = s.headers(repl)
	return p.Probe
}

// headers returns the configured headers; Host is set separately.
func (s *Spec) headers(repl *caddy.Replacer) (host string, header http.Header) {
	header = make(http.Header)
	for name, values := range s.HealthHeaders {
		name = http.CanonicalHeaderKey(repl.ReplaceKnown(name, ""))
		for _, v := range values {
			if v = repl.ReplaceKnown(v, ""); name == "Host" {
				host = v
			} else {
				header.Add(name, v)
			}
		}
	}
	return host, header
}

// host returns the host of a URL for addr; it cannot be the path of a socket.
func host(addr caddy.NetworkAddress) string {
	if addr.IsUnixNetwork() || addr.IsFdNetwork() {
		return "localhost"
	}
	return addr.JoinHostPort(0)
}

func newCheckTransport(addr caddy.NetworkAddress, transport func() http.RoundTripper) http.RoundTripper {
	return checkTransport{transport: transport, host: addr.JoinHostPort(0), dialInfo: reverseproxy.DialInfo{
		Upstream: &reverseproxy.Upstream{Dial: addr.String()},
		Network:  addr.Network, Address: addr.JoinHostPort(0),
		Host: addr.Host, Port: strconv.Itoa(int(addr.StartPort)),
	}}
}

// checkTransport sends checks through the proxy's transport, with the context that it
// expects, so that TLS, sockets, resolvers and client certificates are the same as for
// requests.
type checkTransport struct {
	transport func() http.RoundTripper
	// host is the host in the URLs of reverse_proxy's requests, even if it is the path of a
	// socket: transports keep connections by it.
	host     string
	dialInfo reverseproxy.DialInfo
}

// RoundTrip implements http.RoundTripper. Redirects, too, are sent to this upstream, with
// only the Host header changed. Its connections must not be kept under the name of another
// upstream, whose requests would then use them.
func (t checkTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	transport, asked := t.transport(), *r.URL
	asked.Scheme, asked.Host = "http", t.host
	if o, ok := transport.(reverseproxy.HealthCheckSchemeOverriderTransport); ok {
		o.OverrideHealthCheckScheme(&asked, asked.Port())
	}
	ctx := checkContext(r.Context())
	ctx = context.WithValue(ctx, dialInfoKey, t.dialInfo)
	ctx = context.WithValue(ctx, caddyhttp.OriginalRequestCtxKey, *r)
	host := cmp.Or(r.Host, r.URL.Host)
	r = r.WithContext(ctx)
	r.URL, r.Host = &asked, host
	r.Close = r.Close || plainHTTP1(transport)
	return transport.RoundTrip(r)
}

// plainHTTP1 reports whether connections are cheap and serve one request at a time. Then
// checks keep none open: thousands of them would cost memory, and a new one tells more
// about the upstream.
func plainHTTP1(transport http.RoundTripper) bool {
	t, ok := transport.(*reverseproxy.HTTPTransport)
	return ok && !t.TLSEnabled() && !slices.Contains(t.Versions, "h2c") && !slices.Contains(t.Versions, "3")
}

// ForwardProxy returns the URL of the forward proxy that transport uses for addr; nil means
// none.
func ForwardProxy(transport http.RoundTripper, addr caddy.NetworkAddress) *url.URL {
	t, ok := transport.(*reverseproxy.HTTPTransport)
	if !ok || t.Transport == nil || t.Transport.Proxy == nil {
		return nil
	}
	asked := url.URL{Scheme: "http", Host: host(addr)}
	if t.TLSEnabled() {
		asked.Scheme = "https"
	}
	r := (&http.Request{Method: http.MethodGet, URL: &asked}).WithContext(checkContext(context.Background()))
	via, err := t.Transport.Proxy(r)
	if err != nil {
		return nil // requests will fail the same way
	}
	return via
}

// dial connects as the transport would, with TLS if that would.
func dial(ctx context.Context, transport http.RoundTripper, network, address string) (net.Conn, error) {
	t, ok := transport.(*reverseproxy.HTTPTransport)
	if !ok || t.Transport == nil || t.Transport.DialContext == nil {
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	conn, err := t.Transport.DialContext(checkContext(ctx), network, address)
	if err != nil || !usesTLS(t, address) {
		return conn, err
	}
	config := t.Transport.TLSClientConfig.Clone()
	if config.ServerName == "" {
		config.ServerName, _, _ = net.SplitHostPort(address)
	}
	secured := tls.Client(conn, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secured, nil
}

// usesTLS reports whether t uses TLS for that address. A server name that depends on the
// request cannot be checked without a request.
func usesTLS(t *reverseproxy.HTTPTransport, address string) bool {
	if !t.TLSEnabled() || strings.Contains(t.TLS.ServerName, "{") || t.Transport.TLSClientConfig == nil {
		return false
	}
	_, port, _ := net.SplitHostPort(address)
	return !slices.Contains(t.TLS.ExceptPorts, port)
}

// checkContext adds what transports expect of every request: a replacer, a server (FastCGI
// asks it what to log), and the client to announce with the PROXY protocol, which is Caddy
// itself here.
func checkContext(ctx context.Context) context.Context {
	ctx = context.WithValue(ctx, caddy.ReplacerCtxKey, caddy.NewReplacer())
	ctx = context.WithValue(ctx, caddyhttp.ServerCtxKey, new(caddyhttp.Server))
	return context.WithValue(ctx, caddyhttp.VarsCtxKey, map[string]any{
		proxyInfoKey: reverseproxy.ProxyProtocolInfo{AddrPort: netip.MustParseAddrPort("127.0.0.1:0")},
	})
}
