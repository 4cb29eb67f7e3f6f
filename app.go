package healthpool

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/zap"

	"github.com/healthpool/caddy-healthpool/internal/health"
	"github.com/healthpool/caddy-healthpool/internal/option"
	"github.com/healthpool/caddy-healthpool/internal/pool"
)

const defaultMaxProbes = 128

// App runs the pools of one config: it checks their upstreams while the config
// is in use. It needs no configuration of its own.
type App struct {
	// How many checks may be under way at once, in all pools together.
	// Default: 128.
	MaxProbes int `json:"max_probes,omitempty"`

	logger *zap.Logger
	prober *pool.Prober
	// pools are in the order of the config; joined has the digest of what
	// each was made from, polls their poll tokens.
	pools  []*pool.Pool
	joined map[string]string
	polls  map[string]*pool.Pool
}

// CaddyModule returns the Caddy module information.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "healthpool",
		New: func() caddy.Module { return new(App) },
	}
}

// Provision sets a up.
func (a *App) Provision(ctx caddy.Context) error {
	option.Default(&a.MaxProbes, defaultMaxProbes)
	if err := a.Validate(); err != nil {
		return err
	}
	a.logger = ctx.Logger()
	a.prober = pool.NewProber(a.MaxProbes)
	a.joined = make(map[string]string)
	a.polls = make(map[string]*pool.Pool)
	return nil
}

// Validate checks the options.
func (a *App) Validate() error { return option.AtLeast("max_probes", a.MaxProbes, 1) }

// Start begins to check the upstreams of all pools.
func (a *App) Start() error {
	for _, p := range a.pools {
		p.Start(a.prober)
	}
	return nil
}

// Stop ends what Start began and waits for it. What is known of the upstreams
// stays, for a config that takes over.
func (a *App) Stop() error {
	for _, p := range a.pools {
		p.Stop()
	}
	a.prober.Stop()
	return nil
}

// Cleanup lets go of the upstreams.
func (a *App) Cleanup() error {
	for _, p := range a.pools {
		p.Release()
	}
	return nil
}

// Pools returns the status of every pool.
func (a *App) Pools() []pool.Status {
	out := make([]pool.Status, len(a.pools))
	for i, p := range a.pools {
		out[i] = p.Status()
	}
	return out
}

// join returns the pool for the source u. Sources that are configured alike share
// one, so that two sites with the same upstreams have one status and one queue.
func (a *App) join(u *HealthPoolUpstreams, proxy *reverseproxy.Handler) (*pool.Pool, error) {
	whole := digest(*u, proxy.Transport)
	name, err := a.name(u, whole)
	if err != nil {
		return nil, err
	}
	for _, p := range a.pools {
		if p.Name == name {
			return p, nil
		}
	}
	members, err := u.members(proxy)
	if err != nil {
		return nil, err
	}
	p := pool.New(pool.Options{
		Name: name,
		Policy: health.Policy{
			Fails: u.HealthFails, Passes: u.HealthPasses,
			Interval:     time.Duration(u.HealthInterval),
			EdgeInterval: time.Duration(u.HealthEdgeInterval),
			DownInterval: time.Duration(u.HealthDownInterval),
		},
		FailOpen: pool.FailOpen(u.FailOpen),
		Hold:     time.Duration(*u.Hold), HoldMax: u.HoldMax,
		OnTransition: a.logTransition(name),
		OnState:      a.logState(name),
	}, members)
	a.pools = append(a.pools, p)
	a.joined[name] = whole
	a.polls[pollToken(name)] = p
	return p, nil
}

// name is the name of the pool for u. A name that the owner gave must not stand
// for two things; one that we gave is made to differ.
func (a *App) name(u *HealthPoolUpstreams, digest string) (string, error) {
	if u.Name != "" {
		if other, taken := a.joined[u.Name]; taken && other != digest {
			return "", fmt.Errorf("name: must be one pool's alone, but %q is configured in two ways", u.Name)
		}
		return u.Name, nil
	}
	name := u.Upstreams[0].Dial
	for n := 2; ; n++ {
		if other, taken := a.joined[name]; !taken || other == digest {
			return name, nil
		}
		name = fmt.Sprintf("%s-%d", u.Upstreams[0].Dial, n)
	}
}

// members is what a pool is made of.
func (u *HealthPoolUpstreams) members(proxy *reverseproxy.Handler) ([]pool.Member, error) {
	addresses, err := u.addresses()
	if err != nil {
		return nil, err
	}
	check := pool.CheckSpec{
		Type: u.HealthType, URI: u.HealthURI, Port: uint(u.HealthPort),
		Method: u.HealthMethod, Headers: u.HealthHeaders, Body: u.HealthRequestBody,
		Status: u.HealthStatus, FollowRedirects: u.HealthFollowRedirects,
		Timeout: time.Duration(u.HealthTimeout),
	}
	if u.HealthBody != "" {
		check.ExpectBody = regexp.MustCompile(u.HealthBody) // Validate compiled it
	}
	if u.HealthUpstream != "" {
		if check.Upstream, err = option.Address("health_upstream", u.HealthUpstream); err != nil {
			return nil, err
		}
	}
	checked := digest(u.onlyChecks(), proxy.Transport)
	transport := func() http.RoundTripper { return proxy.Transport } // it may be set after us
	members := make([]pool.Member, len(addresses))
	for i, addr := range addresses {
		members[i] = pool.Member{
			Key:      pool.Key{Address: dialString(addr), Check: checked},
			HostPort: addr.JoinHostPort(0),
			Check:    check.For(addr, transport),
		}
	}
	return members, nil
}

// addresses returns the upstreams as network addresses: each one valid and there
// only once.
func (u *HealthPoolUpstreams) addresses() ([]caddy.NetworkAddress, error) {
	var out []caddy.NetworkAddress
	for _, up := range u.Upstreams {
		addr, err := option.Address("to", up.Dial)
		if err != nil {
			return nil, err
		}
		if slices.Contains(out, addr) {
			return nil, fmt.Errorf("to: must name each upstream once, got %q twice", up.Dial)
		}
		out = append(out, addr)
	}
	return out, nil
}

func (a *App) logTransition(name string) func(pool.Transition) {
	return func(t pool.Transition) {
		fields := []zap.Field{
			zap.String("pool", name), zap.String("upstream", t.Upstream),
			zap.Duration("check_duration", t.Check.Duration),
			zap.Int("passes", t.Passes), zap.Int("fails", t.Fails),
		}
		if t.After > 0 {
			fields = append(fields, zap.Duration("after", t.After))
		}
		if t.To == health.Healthy {
			a.logger.Info("upstream is healthy", fields...)
			return
		}
		a.logger.Warn("upstream is unhealthy", append(fields,
			zap.String("cause", string(t.Check.Cause)), zap.String("detail", t.Check.Detail),
			zap.String("advice", t.Check.Cause.Advice()))...)
	}
}

func (a *App) logState(name string) func(pool.State) {
	return func(s pool.State) {
		if s == pool.Down {
			a.logger.Error("pool is down: no upstream can answer", zap.String("pool", name))
			return
		}
		a.logger.Info("pool is "+string(s), zap.String("pool", name))
	}
}

// onlyChecks is u without what has nothing to do with how its upstreams are
// checked, so that they stay the same when that changes.
func (u *HealthPoolUpstreams) onlyChecks() HealthPoolUpstreams {
	c := *u
	c.Name, c.Upstreams, c.FailOpen, c.Hold, c.HoldMax = "", nil, "", nil, 0
	return c
}

// digest tells whether two sources are configured alike, the transport of their
// proxies included: an address is only as healthy as the way to it.
func digest(u HealthPoolUpstreams, transport http.RoundTripper) string {
	sum := sha256.New()
	for _, part := range []any{u, transport} {
		encoded, err := json.Marshal(part)
		if err != nil { // then it is not from a config, and stands for itself
			encoded = fmt.Appendf(nil, "%T %p", part, part)
		}
		sum.Write(append(encoded, 0))
	}
	return base64.RawURLEncoding.EncodeToString(sum.Sum(nil))
}

// pollKey makes poll tokens opaque: they stand for names that may be addresses.
var pollKey = func() (key [32]byte) {
	_, _ = rand.Read(key[:]) // never fails
	return key
}()

// pollToken is what a visitor's page calls a pool.
func pollToken(name string) string {
	const size = 9 // bytes: enough that nobody guesses another pool's
	mac := hmac.New(sha256.New, pollKey[:])
	mac.Write([]byte(name))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:size])
}

// dialString is how reverse_proxy is told to dial an address.
func dialString(addr caddy.NetworkAddress) string {
	if addr.Network == "tcp" {
		return addr.JoinHostPort(0)
	}
	return addr.String()
}

// appOf returns the app of the config that ctx belongs to.
func appOf(ctx caddy.Context) (*App, error) {
	app, err := ctx.App("healthpool")
	if err != nil {
		return nil, err
	}
	a, ok := app.(*App)
	if !ok {
		return nil, errors.New("healthpool: another module has taken this name")
	}
	return a, nil
}

// Interface guards
var (
	_ caddy.App          = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.Validator    = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
)
