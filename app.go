package healthpool

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/zap"

	"github.com/healthpool/caddy-healthpool/internal/operator"
	"github.com/healthpool/caddy-healthpool/internal/option"
	"github.com/healthpool/caddy-healthpool/internal/pool"
)

const (
	defaultMaxProbes    = 128
	defaultSyncInterval = caddy.Duration(5 * time.Second)
)

// App runs the pools of one config: it checks their upstreams while the config is in use.
// It needs no configuration of its own.
type App struct {
	// How many checks may run at once, over all pools. Default: 128.
	MaxProbes int `json:"max_probes,omitempty"`

	// How often drains and maintenance are read from Caddy's storage, which other Caddys
	// may share. 0 reads them only at startup; orders given here are still stored.
	// Default: 5s.
	SyncInterval *caddy.Duration `json:"sync_interval,omitempty"`

	logger  *zap.Logger
	prober  *pool.Prober
	intents *intents
	events  *operator.Events
	// pools are in config order; polls finds a pool by its poll token.
	pools []joined
	polls map[string]*pool.Pool
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
	option.DefaultTo(&a.SyncInterval, defaultSyncInterval)
	if err := a.Validate(); err != nil {
		return err
	}
	a.logger = ctx.Logger()
	a.prober = pool.NewProber(a.MaxProbes)
	a.polls = make(map[string]*pool.Pool)
	a.intents = newIntents(a, ctx.Storage())
	if err := ctx.GetMetricsRegistry().Register(operator.Metrics{Pools: a.Pools}); err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	var err error
	a.events, err = operator.NewEvents(ctx)
	return err
}

// Validate checks the options.
func (a *App) Validate() error {
	return errors.Join(option.AtLeast("max_probes", a.MaxProbes, 1), option.ZeroOrMore("sync_interval", a.SyncInterval))
}

// Start starts checking the upstreams of all pools.
func (a *App) Start() error {
	for _, p := range a.pools {
		operator.Report(p.Pool, a.logger, a.events) // the pool has its final name by now
		p.Start(a.prober)
	}
	a.intents.Start()
	return nil
}

// Stop ends what Start began and waits for it. The state of the upstreams is kept for the
// config that takes over.
func (a *App) Stop() error {
	a.intents.Stop()
	for _, p := range a.pools {
		p.Stop()
	}
	a.prober.Stop()
	a.events.Stop()
	return nil
}

// Cleanup releases the upstreams.
func (a *App) Cleanup() error {
	for _, p := range a.pools {
		p.Release()
	}
	a.intents.release()
	return nil
}

// Pools returns the status of every pool, by name.
func (a *App) Pools() []pool.Status {
	out := make([]pool.Status, len(a.pools))
	for i, p := range a.pools {
		out[i] = p.Status()
	}
	slices.SortFunc(out, func(x, y pool.Status) int { return strings.Compare(x.Name, y.Name) })
	return out
}

// join returns the pool for the source u. Identically configured sources share one pool, so
// that two sites with the same upstreams have one status and one queue.
func (a *App) join(u *HealthPoolUpstreams, proxy *reverseproxy.Handler, sources []json.RawMessage) (*pool.Pool, error) {
	settings := runtimeSettings(proxy.Transport)
	poolDigest := digest(*u, sources, proxy.Transport, settings)
	for _, j := range a.pools {
		if j.digest == poolDigest {
			return j.Pool, nil
		}
	}
	name, err := a.poolName(u, poolDigest)
	if err != nil {
		return nil, err
	}
	builder := memberBuilder{u: u, proxy: proxy, settings: settings}
	members, err := builder.configured()
	if err != nil {
		return nil, err
	}
	o := u.poolOptions(name)
	o.Token = pollToken(poolDigest)
	for i, s := range u.sources {
		o.Sources = append(o.Sources, builder.source(s, sources[i]))
	}
	defaultName := ""
	if u.Name == "" {
		defaultName = u.defaultName()
	}
	p := pool.New(o, members)
	p.Apply(a.intents.Of(p.Name))
	a.pools = append(a.pools, joined{p, poolDigest, defaultName})
	a.polls[o.Token] = p
	return p, nil
}

// joined is a pool, the digest of its configuration, and its default name if it was not
// given one.
type joined struct {
	*pool.Pool
	digest, defaultName string
}

// poolName returns the name of the pool for u. A configured name must be unique. A default
// name is the first upstream's address, or the first source's name; if several pools share
// it, each gets a suffix, whatever their order.
func (a *App) poolName(u *HealthPoolUpstreams, digest string) (string, error) {
	name := u.Name
	if name == "" {
		name = u.defaultName()
	}
	for _, j := range a.pools {
		switch {
		case j.Name != name && j.defaultName != name:
		case u.Name != "" && j.defaultName == "":
			return "", fmt.Errorf("name: must be one pool's alone, but %q is configured in two ways", u.Name)
		case u.Name != "":
			a.rename(j)
		default:
			name = withSuffix(u.defaultName(), digest)
			a.rename(j)
		}
	}
	return name, nil
}

// rename gives a pool with a default name a suffix, because another pool has the same name.
func (a *App) rename(j joined) {
	if j.defaultName == "" || j.Name != j.defaultName {
		return
	}
	j.Name = withSuffix(j.defaultName, j.digest)
	j.Apply(a.intents.Of(j.Name))
	a.logger.Info("pools begin with the same upstream, or have its name; give each a name", zap.String("pool", j.Name))
}

// withSuffix appends part of the pool's digest to its name, so that the name is the same
// after a reload.
func withSuffix(name, digest string) string {
	const enough = 6
	return name + "-" + digest[:enough]
}

// poolOptions converts the configuration for the pool package.
func (u *HealthPoolUpstreams) poolOptions(name string) pool.Options {
	policy := u.Policy()
	policy.Ejection = time.Duration(u.FailDuration)
	return pool.Options{
		Name: name, Policy: policy, FailOpen: pool.FailOpen(u.FailOpen),
		Hold: time.Duration(*u.Hold), HoldMax: u.HoldMax,
		Passive: pool.Passive{
			MaxFails: u.MaxFails, Statuses: u.UnhealthyStatus,
			Latency: time.Duration(*u.UnhealthyLatency), MaxEjected: float64(u.MaxEjected) / 100,
		},
		SlowStart: time.Duration(*u.SlowStart),
		Refresh:   time.Duration(u.Refresh), Grace: time.Duration(u.GracePeriod),
	}
}

// pollKey keeps poll tokens opaque: nobody can guess a pool's configuration from them.
var pollKey = func() (key [32]byte) {
	_, _ = rand.Read(key[:]) // never fails
	return key
}()

// pollToken returns the token by which a visitor's page names the pool with that digest.
func pollToken(digest string) string {
	const size = 9 // bytes; enough that nobody guesses another pool's token
	mac := hmac.New(sha256.New, pollKey[:])
	mac.Write([]byte(digest))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:size])
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
