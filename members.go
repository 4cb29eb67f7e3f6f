package healthpool

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/healthpool/caddy-healthpool/internal/check"
	"github.com/healthpool/caddy-healthpool/internal/option"
	"github.com/healthpool/caddy-healthpool/internal/pool"
)

// memberBuilder builds the members of a pool, from the config and from what its sources
// list.
type memberBuilder struct {
	u     *HealthPoolUpstreams
	proxy *reverseproxy.Handler
	// settings are the runtimeSettings of the proxy's transport, which all members share.
	settings string
}

// configured returns the members that the config names.
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

// fromListing builds a member from what a source lists. Placeholders are refused: whoever
// controls the list must not be able to read the environment.
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
	c, err := spec.For(addr, func() http.RoundTripper { return b.proxy.Transport }) // the transport may be set later
	return pool.Member{
		Key:      pool.Key{Address: dialString(addr), Check: digest(spec, b.proxy.Transport, b.settings)},
		HostPort: addr.JoinHostPort(0), Check: c,
		Weight: max(up.Weight, 1), MaxRequests: up.MaxRequests, Backup: up.Backup,
	}, err
}

// source wraps an upstream source of reverse_proxy for the pool.
func (b memberBuilder) source(s pool.CaddySource, raw json.RawMessage) pool.Source {
	return pool.Source{
		Name: s.Name(), Key: digest(raw, b.u.Spec), Read: s.Read, NewMember: b.fromListing,
	}
}

// loadSources loads the source modules.
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
			a.Refresh = 1 // it cannot be told to drop its cache
		}
		u.sources = append(u.sources, pool.CaddySource{UpstreamSource: s})
	}
	return nil
}

// addresses returns the upstreams as network addresses, which must be valid and unique.
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

// option returns the name of the option that configured this upstream, for errors.
func (up PoolUpstream) option() string {
	switch {
	case up != PoolUpstream{Dial: up.Dial, Backup: up.Backup}:
		return "upstream"
	case up.Backup:
		return "backup"
	}
	return "to"
}

// validate checks the options of one upstream.
func (up PoolUpstream) validate(poolSpec check.Spec) error {
	var checked, weight error
	if up.Weight != 0 {
		weight = option.Within("weight", up.Weight, 1, maxWeight)
	}
	if own := up.spec(poolSpec); !reflect.DeepEqual(own, poolSpec) {
		checked = own.Validate()
	}
	if err := errors.Join(
		weight,
		option.AtLeast("max_requests", up.MaxRequests, 0),
		checked,
	); err != nil {
		return fmt.Errorf("upstream %s: %w", up.Dial, err)
	}
	return nil
}

// spec returns how this upstream is checked, given the pool's spec.
func (up PoolUpstream) spec(spec check.Spec) check.Spec {
	if up.HealthURI != "" {
		spec = spec.WithURI(up.HealthURI)
	}
	if up.HealthPort != 0 || up.HealthUpstream != "" {
		spec.HealthPort, spec.HealthUpstream = up.HealthPort, up.HealthUpstream
	}
	return spec
}

// defaultName returns the name of a pool that was not given one.
func (u *HealthPoolUpstreams) defaultName() string {
	if len(u.Upstreams) > 0 {
		return u.Upstreams[0].Dial
	}
	return u.sources[0].Name()
}

// dialString returns addr as reverse_proxy dials it.
func dialString(addr caddy.NetworkAddress) string {
	if addr.Network == "tcp" {
		return addr.JoinHostPort(0)
	}
	return addr.String()
}

// runtimeSettings describes the settings of a transport that no longer show in its
// configuration: loading its modules clears them.
func runtimeSettings(transport http.RoundTripper) string {
	anywhere := caddy.NetworkAddress{Host: "upstream.invalid", StartPort: 80, EndPort: 80}
	return fmt.Sprint(trustID(transport), check.ForwardProxy(transport, anywhere))
}

// knownRoots lists the distinct sets of CAs that transports have trusted. A CertPool can
// only be compared, not serialized, so its index stands for it.
var knownRoots struct {
	sync.Mutex
	known []*x509.CertPool
}

// trustID returns a number that identifies the CAs that a transport trusts; 0 stands for
// the system's.
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

// digest returns the same value for things that are configured identically.
func digest(parts ...any) string {
	sum := sha256.New()
	for _, part := range parts {
		encoded, err := json.Marshal(part)
		if err != nil { // not from a config: compare by identity
			encoded = fmt.Appendf(nil, "%T %p", part, part)
		}
		sum.Write(append(encoded, 0))
	}
	return hex.EncodeToString(sum.Sum(nil))
}
