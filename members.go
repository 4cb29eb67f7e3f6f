package healthpool

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/healthpool/caddy-healthpool/internal/check"
	"github.com/healthpool/caddy-healthpool/internal/option"
	"github.com/healthpool/caddy-healthpool/internal/pool"
)

// recruiter makes members of a pool: of what the config names, and of what its
// sources list.
type memberBuilder struct {
	u     *HealthPoolUpstreams
	proxy *reverseproxy.Handler
}

// fixed are the members that the config names.
func (b memberBuilder) configured() ([]pool.Member, error) {
	addresses, err := b.u.addresses()
	if err != nil {
		return nil, err
	}
	members := make([]pool.Member, len(addresses))
	for i, addr := range addresses {
		if members[i], err = b.build(addr, b.u.Upstreams[i]); err != nil {
			return nil, err
		}
	}
	return members, nil
}

// enlist makes a member of what a source lists. Placeholders are for the owner: who
// lists upstreams is not to read the environment by them.
func (b memberBuilder) fromListing(l pool.Listing) (pool.Member, error) {
	if strings.Contains(l.Address, "{") {
		return pool.Member{}, fmt.Errorf("source: must list addresses without placeholders, got %q", l.Address)
	}
	addr, err := option.Address("source", l.Address)
	if err != nil {
		return pool.Member{}, err
	}
	return b.build(addr, PoolUpstream{MaxRequests: l.MaxRequests})
}

func (b memberBuilder) build(addr caddy.NetworkAddress, up PoolUpstream) (pool.Member, error) {
	spec := up.spec(b.u.Spec)
	c, err := spec.For(addr, func() http.RoundTripper { return b.proxy.Transport }) // it may be set after us
	return pool.Member{
		Key:      pool.Key{Address: dialString(addr), Check: digest(spec, b.proxy.Transport, runtimeSettings(b.proxy.Transport))},
		HostPort: addr.JoinHostPort(0), Check: c,
		Weight: max(up.Weight, 1), MaxRequests: up.MaxRequests, Backup: up.Backup,
	}, err
}

// source makes a source of the pool of one of reverse_proxy's.
func (b memberBuilder) source(s pool.CaddySource, raw json.RawMessage) pool.Source {
	return pool.Source{
		Name: s.Name(), Key: digest(raw, b.u.Spec), Read: s.Read, NewMember: b.fromListing,
	}
}

// loadSources loads the modules of the sources.
func (u *HealthPoolUpstreams) loadSources(ctx caddy.Context) error {
	if len(u.SourcesRaw) == 0 {
		return nil
	}
	modules, err := ctx.LoadModule(u, "SourcesRaw")
	if err != nil {
		return fmt.Errorf("source: loading: %w", err)
	}
	for _, m := range modules.([]any) {
		s, ok := m.(reverseproxy.UpstreamSource)
		if _, itself := m.(*HealthPoolUpstreams); !ok || itself {
			return fmt.Errorf("source: must be another upstream source, got %T", m)
		}
		if a, ok := s.(*reverseproxy.AUpstreams); ok {
			a.Refresh = 1 // it cannot be told to forget what it has cached
		}
		u.sources = append(u.sources, pool.CaddySource{UpstreamSource: s})
	}
	return nil
}

// addresses returns the upstreams as network addresses: each one valid and there
// only once.
func (u *HealthPoolUpstreams) addresses() ([]caddy.NetworkAddress, error) {
	out := make([]caddy.NetworkAddress, 0, len(u.Upstreams))
	seen := make(map[caddy.NetworkAddress]bool, len(u.Upstreams))
	for _, up := range u.Upstreams {
		addr, err := option.Address(up.option(), up.Dial)
		if err != nil {
			return nil, err
		}
		if seen[addr] {
			return nil, fmt.Errorf("%s: must name each upstream once, got %q twice", up.option(), up.Dial)
		}
		seen[addr] = true
		out = append(out, addr)
	}
	return out, nil
}

// option is the one that names this upstream.
func (up PoolUpstream) option() string {
	switch {
	case up != PoolUpstream{Dial: up.Dial, Backup: up.Backup}:
		return "upstream"
	case up.Backup:
		return "backup"
	}
	return "to"
}

// firstName is what a pool without a name is called after.
func (u *HealthPoolUpstreams) defaultName() string {
	if len(u.Upstreams) > 0 {
		return u.Upstreams[0].Dial
	}
	return u.sources[0].Name()
}

// dialString is how reverse_proxy is told to dial an address.
func dialString(addr caddy.NetworkAddress) string {
	if addr.Network == "tcp" {
		return addr.JoinHostPort(0)
	}
	return addr.String()
}

// hidden is what a transport does that its configuration does not tell any more: loading
// its modules takes that away.
func runtimeSettings(transport http.RoundTripper) string {
	anywhere := caddy.NetworkAddress{Host: "upstream.invalid", StartPort: 80, EndPort: 80}
	return fmt.Sprint(trustID(transport), check.ForwardProxy(transport, anywhere))
}

// authorities are the sets of authorities that transports have trusted, each once: a
// set tells nothing but whether it is equal to another.
var knownRoots struct {
	sync.Mutex
	known []*x509.CertPool
}

// trust is a number for the authorities that a transport trusts, 0 for those of the
// system.
func trustID(transport http.RoundTripper) int {
	t, ok := transport.(*reverseproxy.HTTPTransport)
	if !ok || t.Transport == nil || t.Transport.TLSClientConfig == nil || t.Transport.TLSClientConfig.RootCAs == nil {
		return 0
	}
	roots := t.Transport.TLSClientConfig.RootCAs
	knownRoots.Lock()
	defer knownRoots.Unlock()
	i := slices.IndexFunc(knownRoots.known, roots.Equal)
	if i < 0 {
		i = len(knownRoots.known)
		knownRoots.known = append(knownRoots.known, roots)
	}
	return i + 1
}

// digest tells whether two things are configured alike.
func digest(parts ...any) string {
	sum := sha256.New()
	for _, part := range parts {
		encoded, err := json.Marshal(part)
		if err != nil { // then it is not from a config, and stands for itself
			encoded = fmt.Appendf(nil, "%T %p", part, part)
		}
		sum.Write(append(encoded, 0))
	}
	return hex.EncodeToString(sum.Sum(nil))
}
