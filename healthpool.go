package healthpool

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/zap"

	"github.com/healthpool/caddy-healthpool/internal/check"
	"github.com/healthpool/caddy-healthpool/internal/exchange"
	"github.com/healthpool/caddy-healthpool/internal/option"
	"github.com/healthpool/caddy-healthpool/internal/pool"
)

const (
	defaultRefresh      = 10 * time.Second
	defaultGracePeriod  = time.Minute
	defaultMaxFails     = 5
	defaultFailDuration = 10 * time.Second
	defaultMaxEjected   = 50
	defaultSlowStart    = 10 * time.Second
	defaultHold         = 5 * time.Second
	defaultHoldMax      = 1000

	// maxWeight is as much as one upstream may outweigh another.
	maxWeight = 1000
)

// HealthPoolUpstreams is an upstream source that knows which of its upstreams
// can answer. It checks each of them in the background, through the transport of
// the reverse_proxy it belongs to, and hands out only the usable ones. What it
// learns outlives config reloads.
//
// A connection that is refused, a name that does not exist and a certificate
// that is not trusted take an upstream out at once; anything else has to fail
// health_fails times in a row. A failed request has its upstream checked at once.
// While no upstream is usable, requests wait for the first to come back (see
// hold), instead of failing.
//
// Use it with `lb_policy health_aware` for the best balance, at the same cost for
// any number of upstreams; every other policy works, too.
type HealthPoolUpstreams struct {
	// The name of the pool in status and logs. Pools that are
	// configured alike may share a name: they are one pool then.
	// Default: the address of the first upstream.
	Name string `json:"name,omitempty"`

	// The upstreams, in the order in which policies that care see them. None
	// twice. At least one, unless there are sources.
	Upstreams []PoolUpstream `json:"upstreams,omitempty"`

	// Sources of more upstreams: any modules that reverse_proxy takes, too. They
	// are read in the background. What they list anew passes a check before
	// its first request; while a reading fails, the last good list stands.
	SourcesRaw []json.RawMessage `json:"sources,omitempty" caddy:"namespace=http.reverse_proxy.upstreams inline_key=source"`

	// How often sources are read. Default: 10s.
	Refresh caddy.Duration `json:"refresh,omitempty"`

	// How long an upstream stays that no source lists any more but that still
	// passes its check. Default: 1m.
	GracePeriod caddy.Duration `json:"grace_period,omitempty"`

	check.Spec

	// How many failed requests in a row have an upstream ejected. Requests that
	// were never sent, and those whose client left, do not count. Default: 5.
	MaxFails int `json:"max_fails,omitempty"`

	// How long the first ejection lasts. It doubles with each further one, up
	// to 5m, is jittered by half, and shrinks again while the upstream stays
	// well. After it, the next passed check brings it back. Default: 10s.
	FailDuration caddy.Duration `json:"fail_duration,omitempty"`

	// The statuses of responses that count as failed requests: codes such as
	// 429, or classes as their first digit, such as 5. Default: 5.
	UnhealthyStatus []int `json:"unhealthy_status,omitempty"`

	// The time to a response from which on it counts as a failed request; 0 is
	// off. Default: off.
	UnhealthyLatency *caddy.Duration `json:"unhealthy_latency,omitempty"`

	// How many percent of the usable upstreams may be ejected at the same
	// time. One always may, the last never. From 1 to 100. Default: 50.
	MaxEjected int `json:"max_ejected,omitempty"`

	// How long an upstream that is new or came back takes to get its whole
	// share: it grows from 10 %, and not while all are new; 0 is off. Only the
	// health_aware policy heeds it. Default: 10s.
	SlowStart *caddy.Duration `json:"slow_start,omitempty"`

	// What to do when no upstream is healthy: "slow" goes on using those
	// that answer, only late or badly, because a slow site is better than
	// none; "never" uses healthy ones only; "always" uses all. Default: slow.
	FailOpen string `json:"fail_open,omitempty"`

	// How long requests wait for an upstream to come back, counted from the
	// beginning of the outage: a restart is bridged, and a long outage is
	// told at once. They also wait while every upstream has max_requests. 0 is
	// off. Default: 5s.
	Hold *caddy.Duration `json:"hold,omitempty"`

	// How many requests may wait at the same time; further ones are answered
	// at once. Default: 1000.
	HoldMax int `json:"hold_max,omitempty"`

	pool    *pool.Pool
	proxy   *reverseproxy.Handler
	sources []pool.CaddySource
	// ranked is whether the policy wants only the best, in order.
	healthAware bool
}

// PoolUpstream is one upstream of a pool.
type PoolUpstream struct {
	// The [network address](/docs/conventions#network-addresses) to dial:
	// a host and one port, or a unix socket. Without a port: 80. Global
	// placeholders such as `{env.APP}` are replaced once, at the start.
	Dial string `json:"dial,omitempty"`

	// Its share among equals, from 1 to 1000. Only the health_aware policy
	// heeds it. Default: 1.
	Weight int `json:"weight,omitempty"`

	// How many requests it may have at the same time. While all upstreams are
	// full, requests wait (see hold). Default: any number.
	MaxRequests int `json:"max_requests,omitempty"`

	// Whether it is used only while no other one is usable. Default: false.
	Backup bool `json:"backup,omitempty"`

	// What to check in place of what the pool's own options say.
	HealthURI      string `json:"health_uri,omitempty"`
	HealthPort     int    `json:"health_port,omitempty"`
	HealthUpstream string `json:"health_upstream,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (*HealthPoolUpstreams) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.reverse_proxy.upstreams.healthpool",
		New: func() caddy.Module { return new(HealthPoolUpstreams) },
	}
}

// Provision joins the pool that the healthpool app runs for this configuration.
func (u *HealthPoolUpstreams) Provision(ctx caddy.Context) error {
	u.setDefaults()
	if err := u.Validate(); err != nil {
		return err
	}
	proxy := parentProxy(ctx)
	if proxy == nil {
		return errors.New("healthpool is a source for reverse_proxy and works only in one")
	}
	if err := refuseCoreChecks(proxy); err != nil {
		return err
	}
	raw := u.SourcesRaw // loading takes them away
	if err := u.loadSources(ctx); err != nil {
		return err
	}
	u.warn(ctx.Logger(), proxy)
	u.watchPolicy(proxy)
	app, err := appOf(ctx)
	if err != nil {
		return err
	}
	u.proxy = proxy
	u.pool, err = app.join(u, proxy, raw)
	return err
}

// warn tells the owner what in the configuration of the proxy does not do what it looks
// like.
func (u *HealthPoolUpstreams) warn(logger *zap.Logger, proxy *reverseproxy.Handler) {
	if n := len(proxy.Upstreams); n > 0 {
		logger.Warn("static upstreams beside dynamic healthpool are never used; move them into it", zap.Int("upstreams", n))
	}
	if lb := proxy.LoadBalancing; lb != nil && lb.TryDuration > 0 {
		logger.Warn("lb_try_duration delays every error page and maintenance page by as long; use hold and lb_retries instead",
			zap.Duration("lb_try_duration", time.Duration(lb.TryDuration)))
	}
	for _, up := range u.Upstreams {
		addr, err := option.Address(up.option(), up.Dial)
		if err == nil && up.spec(u.Spec).HealthType == "tcp" && check.ForwardProxy(proxy.Transport, addr) != nil {
			logger.Warn("requests go through a forward proxy, but checks that only connect do not; set health_uri", zap.String("upstream", up.Dial))
			return
		}
	}
}

func (u *HealthPoolUpstreams) setDefaults() {
	u.SetDefaults()
	option.Default(&u.Refresh, caddy.Duration(defaultRefresh))
	option.Default(&u.GracePeriod, caddy.Duration(defaultGracePeriod))
	option.Default(&u.MaxFails, defaultMaxFails)
	option.Default(&u.FailDuration, caddy.Duration(defaultFailDuration))
	option.Default(&u.MaxEjected, defaultMaxEjected)
	option.Default(&u.FailOpen, string(pool.FailOpenSlow))
	option.Default(&u.HoldMax, defaultHoldMax)
	option.DefaultTo(&u.Hold, caddy.Duration(defaultHold))
	option.DefaultTo(&u.SlowStart, caddy.Duration(defaultSlowStart))
	option.DefaultTo(&u.UnhealthyLatency, 0)
	if u.UnhealthyStatus == nil {
		u.UnhealthyStatus = []int{5}
	}
}

// Validate checks every option by itself and those that depend on each other.
func (u *HealthPoolUpstreams) Validate() error {
	if len(u.Upstreams) == 0 && len(u.SourcesRaw) == 0 && len(u.sources) == 0 {
		return errors.New("to: must name at least one upstream, such as app:8080")
	}
	_, err := u.addresses()
	errs := []error{
		err,
		u.Spec.Validate(),
		option.Positive("refresh", u.Refresh),
		option.Positive("grace_period", u.GracePeriod),
		option.AtLeast("max_fails", u.MaxFails, 1),
		option.Positive("fail_duration", u.FailDuration),
		option.ZeroOrMore("unhealthy_latency", u.UnhealthyLatency),
		option.Within("max_ejected", u.MaxEjected, 1, 100),
		option.ZeroOrMore("slow_start", u.SlowStart),
		option.OneOf("fail_open", u.FailOpen, "slow", "never", "always"),
		option.ZeroOrMore("hold", u.Hold),
		option.AtLeast("hold_max", u.HoldMax, 1),
	}
	for _, s := range u.UnhealthyStatus {
		if !option.IsStatus(s) {
			errs = append(errs, fmt.Errorf("unhealthy_status: must be a status such as 200 or a class such as 2xx, got %d", s))
		}
	}
	for _, up := range u.Upstreams {
		errs = append(errs, up.validate(u.Spec))
	}
	return errors.Join(errs...)
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

// spec is how this upstream is checked.
func (up PoolUpstream) spec(spec check.Spec) check.Spec {
	if up.HealthURI != "" {
		spec = spec.WithURI(up.HealthURI)
	}
	if up.HealthPort != 0 || up.HealthUpstream != "" {
		spec.HealthPort, spec.HealthUpstream = up.HealthPort, up.HealthUpstream
	}
	return spec
}

// GetUpstreams returns the upstreams that r may be given now; with the
// health_aware policy, only the best, or the two best. It waits while there is none, as hold
// allows. It never fails: an error would make reverse_proxy fall back to static
// upstreams.
func (u *HealthPoolUpstreams) GetUpstreams(r *http.Request) ([]*reverseproxy.Upstream, error) {
	rec := exchange.Of(r)
	rec.Enter(r, u.pool, u.proxy)
	rec.Admitted = admits(u.pool, r)
	switch {
	case rec.Poll, !rec.Admitted && u.pool.Maintenance() != nil:
		return nil, nil
	case u.healthAware:
		best, second := u.pool.Pick(r.Context(), &rec.Request)
		if !u.coreMayReject() {
			second = nil
		}
		return rec.Offer(best, second), nil
	}
	usable := u.pool.Usable(r.Context(), &rec.Request)
	out := make([]*reverseproxy.Upstream, len(usable))
	for i, up := range usable {
		out[i] = &reverseproxy.Upstream{Dial: up.Dial(), MaxRequests: up.MaxRequests}
	}
	return out, nil
}

// refuses reports whether reverse_proxy itself may have something against the best
// upstream. If not, another would only cost: it looks each up under a lock of all.
func (u *HealthPoolUpstreams) coreMayReject() bool {
	checks := u.proxy.HealthChecks
	return u.proxy.CB != nil || checks != nil && checks.Passive != nil
}

// ResetCache is told that the attempt before failed and another is to follow.
// Nothing is forgotten but the trust in the upstream that failed.
func (u *HealthPoolUpstreams) ResetCache(r *http.Request) error {
	exchange.Of(r).AttemptFailed(r)
	return nil
}

// parentProxy is the reverse_proxy that is being provisioned.
func parentProxy(ctx caddy.Context) *reverseproxy.Handler {
	for _, m := range slices.Backward(ctx.Modules()) {
		if proxy, ok := m.(*reverseproxy.Handler); ok {
			return proxy
		}
	}
	return nil
}

// refuseCoreChecks refuses the active checks of reverse_proxy itself, which it
// would ignore without a word: it does not check dynamic upstreams.
func refuseCoreChecks(proxy *reverseproxy.Handler) error {
	if proxy.HealthChecks == nil || proxy.HealthChecks.Active == nil {
		return nil
	}
	name, what := "health_*", "health_uri and the other health_* options"
	switch active := proxy.HealthChecks.Active; {
	case active.URI != "", active.Path != "":
		name, what = "health_uri", "health_uri"
	case active.Port != 0:
		name, what = "health_port", "health_port"
	}
	return fmt.Errorf("%s: reverse_proxy does not check dynamic upstreams; move %s into dynamic healthpool", name, what)
}

// Interface guards
var (
	_ caddy.Provisioner                  = (*HealthPoolUpstreams)(nil)
	_ caddy.Validator                    = (*HealthPoolUpstreams)(nil)
	_ reverseproxy.CachingUpstreamSource = (*HealthPoolUpstreams)(nil)
)
