package pool

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/healthpool/caddy-healthpool/internal/probe"
)

// Keys under which reverse_proxy and its transports look things up in the
// context of a request; core does not export them.
const (
	dialInfoKey  = caddy.CtxKey("reverse_proxy.dial_info")
	proxyInfoKey = "reverse_proxy.proxy_protocol_info"
)

// CheckSpec says how the upstreams of a pool are checked.
type CheckSpec struct {
	// Type is tcp or http.
	Type string
	// Upstream and Port say where to check instead of at the upstream itself.
	Upstream caddy.NetworkAddress
	Port     uint
	// URI has the path and query to ask for.
	URI             string
	Method          string
	Headers         http.Header
	Body            string
	Status          int
	ExpectBody      *regexp.Regexp
	FollowRedirects bool
	Timeout         time.Duration
}

// For returns the check of the upstream at addr, made through the transport of
// its proxy.
func (s *CheckSpec) For(addr caddy.NetworkAddress, transport func() http.RoundTripper) Check {
	addr = s.where(addr)
	if s.Type == "http" {
		return s.http(addr, transport).Probe
	}
	tcp := &probe.TCP{
		Network: addr.Network, Address: addr.JoinHostPort(0), Timeout: s.Timeout,
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			return dial(ctx, transport(), network, address)
		},
	}
	return tcp.Probe
}

// where is the address to check in place of addr.
func (s *CheckSpec) where(addr caddy.NetworkAddress) caddy.NetworkAddress {
	switch {
	case s.Upstream.Network != "":
		return s.Upstream
	case s.Port != 0:
		if addr.IsUnixNetwork() || addr.IsFdNetwork() {
			addr = caddy.NetworkAddress{Network: "tcp", Host: "localhost"}
		}
		addr.StartPort, addr.EndPort = s.Port, s.Port
	}
	return addr
}

func (s *CheckSpec) http(addr caddy.NetworkAddress, transport func() http.RoundTripper) *probe.HTTP {
	host := addr.JoinHostPort(0)
	if addr.IsUnixNetwork() || addr.IsFdNetwork() {
		host = "localhost" // a path is no host
	}
	repl := caddy.NewReplacer()
	repl.Set("http.reverse_proxy.active.target_upstream", addr.String())
	p := &probe.HTTP{
		Method: s.Method, URL: "http://" + host + s.URI, Header: make(http.Header),
		Body: repl.ReplaceKnown(s.Body, ""), Status: s.Status, ExpectBody: s.ExpectBody,
		FollowRedirects: s.FollowRedirects, Timeout: s.Timeout,
		Transport: throughProxy{transport: transport, to: reverseproxy.DialInfo{
			Upstream: &reverseproxy.Upstream{Dial: addr.String()},
			Network:  addr.Network, Address: addr.JoinHostPort(0),
			Host: addr.Host, Port: strconv.Itoa(int(addr.StartPort)),
		}},
	}
	for name, values := range s.Headers {
		name = http.CanonicalHeaderKey(repl.ReplaceKnown(name, ""))
		for _, v := range values {
			if v = repl.ReplaceKnown(v, ""); name == "Host" {
				p.Host = v
			} else {
				p.Header.Add(name, v)
			}
		}
	}
	return p
}

// throughProxy sends the requests of checks through the transport of the proxy,
// with what that expects to find in them, so that TLS, sockets, name servers and
// client certificates are the same as for the real ones.
type throughProxy struct {
	transport func() http.RoundTripper
	to        reverseproxy.DialInfo
}

// RoundTrip implements http.RoundTripper.
func (t throughProxy) RoundTrip(r *http.Request) (*http.Response, error) {
	transport := t.transport()
	if o, ok := transport.(reverseproxy.HealthCheckSchemeOverriderTransport); ok {
		o.OverrideHealthCheckScheme(r.URL, r.URL.Port())
	}
	ctx := checkContext(r.Context())
	ctx = context.WithValue(ctx, dialInfoKey, t.to)
	ctx = context.WithValue(ctx, caddyhttp.OriginalRequestCtxKey, *r)
	return transport.RoundTrip(r.WithContext(ctx))
}

// dial connects as the transport would.
func dial(ctx context.Context, transport http.RoundTripper, network, address string) (net.Conn, error) {
	if t, ok := transport.(*reverseproxy.HTTPTransport); ok && t.Transport != nil && t.Transport.DialContext != nil {
		return t.Transport.DialContext(checkContext(ctx), network, address)
	}
	return new(net.Dialer).DialContext(ctx, network, address)
}

// checkContext adds what transports expect of every request: a replacer, and the
// client to announce with the PROXY protocol, who is Caddy itself here.
func checkContext(ctx context.Context) context.Context {
	ctx = context.WithValue(ctx, caddy.ReplacerCtxKey, caddy.NewReplacer())
	return context.WithValue(ctx, caddyhttp.VarsCtxKey, map[string]any{
		proxyInfoKey: reverseproxy.ProxyProtocolInfo{AddrPort: netip.MustParseAddrPort("127.0.0.1:0")},
	})
}
