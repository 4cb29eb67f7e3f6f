package healthpool

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
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

	// maxWeight bounds how much one upstream may outweigh another.
	maxWeight = 1000
)

// HealthPoolUpstreams is an upstream source that knows which of its upstreams
// can answer. It checks each of them in the background, through the transport of
// its reverse_proxy, and offers only the usable ones. What it learns survives
// config reloads.
//
// An upstream becomes unhealthy at once if it refuses the connection, its name does
// not exist or its certificate is not trusted; any other check has to fail
// health_fails times in a row. After a failed request, its upstream is checked at
// once. While no upstream is usable, requests wait for the first to come back (see
// hold) instead of failing.
//
// Use it with `lb_policy health_aware` for the best balance, at the same cost for
// any number of upstreams; every other policy works as well.
type HealthPoolUpstreams struct {
	// The pool's name in status, metrics and logs. Identically configured pools are one
	// pool and may share a name. Default: the first upstream's address, or the first
	// source's name, with a suffix if several pools begin with it.
	Name string `json:"name,omitempty"`

	// The upstreams, in order (policies such as first depend on it), without duplicates.
	// Required unless there are sources.
	Upstreams []PoolUpstream `json:"upstreams,omitempty"`

	// Sources of further upstreams: any upstream source module of reverse_proxy. They are
	// read in the background. A newly listed upstream must pass a check before its first
	// request. If reading fails, the last good list is kept.
	SourcesRaw []json.RawMessage `json:"sources,omitempty" caddy:"namespace=http.reverse_proxy.upstreams inline_key=source"`

	// How often to read the sources. Default: 10s.
	Refresh caddy.Duration `json:"refresh,omitempty"`

	// How long to keep an upstream that no source lists any more, while it still passes its
	// check. Default: 1m.
	GracePeriod caddy.Duration `json:"grace_period,omitempty"`

	check.Spec

	// How many consecutive failed requests eject an upstream. Requests that were never
	// sent, and those whose client left, do not count. Default: 5.
	MaxFails int `json:"max_fails,omitempty"`

	// How long the first ejection lasts. The time doubles with each further ejection, up to
	// 5m, is jittered by 50 %, and shrinks again while the upstream stays healthy. When it
	// is over, the next passed check brings the upstream back. Default: 10s.
	FailDuration caddy.Duration `json:"fail_duration,omitempty"`

	// Which response statuses count as failed requests: codes such as 429, or classes as
	// their first digit, such as 5. Default: 5.
	UnhealthyStatus []int `json:"unhealthy_status,omitempty"`

	// A response that takes at least this long counts as a failed request; 0 turns this
	// off. Default: off.
	UnhealthyLatency *caddy.Duration `json:"unhealthy_latency,omitempty"`

	// How many percent of the usable upstreams may be ejected at the same time, from 1 to
	// 100. At least one may always be ejected, but never the last usable one. Default: 50.
	MaxEjected int `json:"max_ejected,omitempty"`

	// How long a new or recovered upstream takes to reach its full share, starting at 10 %.
	// It does not apply while all upstreams are new. 0 turns it off. Only the health_aware
	// policy uses it. Default: 10s.
	SlowStart *caddy.Duration `json:"slow_start,omitempty"`

	// What to do when no upstream is healthy: "slow" keeps using upstreams that still
	// answer, if late or with errors; "never" uses none; "always" uses all. Default: slow.
	FailOpen string `json:"fail_open,omitempty"`

	// How long requests wait for an upstream to come back, counted from the beginning of
	// the outage: so a restart is bridged, but in a long outage visitors get the page
	// immediately. Requests also wait while every upstream is at max_requests. 0 turns it
	// off. Default: 5s.
	Hold *caddy.Duration `json:"hold,omitempty"`

	// How many requests may wait at the same time; further ones are answered immediately.
	// Default: 1000.
	HoldMax int `json:"hold_max,omitempty"`

	pool    *pool.Pool
	proxy   *reverseproxy.Handler
	sources []pool.CaddySource
	// healthAware is whether the policy is ours, which wants only the best upstreams, in
	// order.
	healthAware bool
}

// PoolUpstream is one upstream of a pool.
type PoolUpstream struct {
	// The [network address](/docs/conventions#network-addresses) to dial: a host and one
	// port, or a unix socket. Default port: 80. Global placeholders such as `{env.APP}` are
	// replaced once, at startup.
	Dial string `json:"dial,omitempty"`

	// Its weight relative to the other upstreams, from 1 to 1000. Only the health_aware
	// policy uses it. Default: 1.
	Weight int `json:"weight,omitempty"`

	// How many requests it may have at the same time. While all upstreams are full,
	// requests wait (see hold). Default: unlimited.
	MaxRequests int `json:"max_requests,omitempty"`

	// Whether it is used only while no other upstream is healthy. Default: false.
	Backup bool `json:"backup,omitempty"`

	// The path and query to check. Default: the pool's health_uri.
	HealthURI string `json:"health_uri,omitempty"`

	// The port to check, from 1 to 65535. Default: the pool's health_port.
	HealthPort int `json:"health_port,omitempty"`

	// The address to check instead of this upstream. Default: the pool's
	// health_upstream.
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
	raw := u.SourcesRaw // LoadModule clears SourcesRaw
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

// warn logs what in the proxy's configuration does not do what it seems to.
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

// Validate checks every option, and those that depend on each other.
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
		option.OneOf("fail_open", u.FailOpen, string(pool.FailOpenSlow), string(pool.FailOpenNever), string(pool.FailOpenAlways)),
		option.ZeroOrMore("hold", u.Hold),
		option.AtLeast("hold_max", u.HoldMax, 1),
	}
	for _, s := range u.UnhealthyStatus {
		errs = append(errs, option.Status("unhealthy_status", s))
	}
	for _, up := range u.Upstreams {
		errs = append(errs, up.validate(u.Spec))
	}
	return errors.Join(errs...)
}

// GetUpstreams returns the upstreams that r may use now; with the health_aware policy, only
// the best or the two best. While there are none it waits, as hold allows. It never fails:
// an error would make reverse_proxy fall back to static upstreams.
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

// coreMayReject reports whether core's own passive checks or circuit breaker may reject the
// best upstream. Only then is a second worth offering: core looks up each one under a
// global lock.
func (u *HealthPoolUpstreams) coreMayReject() bool {
	checks := u.proxy.HealthChecks
	return u.proxy.CB != nil || checks != nil && checks.Passive != nil
}

// ResetCache is core's signal that an attempt failed and another follows. There is no
// cache; the failed upstream becomes suspect.
func (u *HealthPoolUpstreams) ResetCache(r *http.Request) error {
	exchange.Of(r).AttemptFailed(r)
	return nil
}

// parentProxy returns the reverse_proxy that is being provisioned.
func parentProxy(ctx caddy.Context) *reverseproxy.Handler {
	for _, m := range slices.Backward(ctx.Modules()) {
		if proxy, ok := m.(*reverseproxy.Handler); ok {
			return proxy
		}
	}
	return nil
}

// refuseCoreChecks refuses reverse_proxy's own active checks, which core would silently
// ignore: it does not check dynamic upstreams.
func refuseCoreChecks(proxy *reverseproxy.Handler) error {
	if proxy.HealthChecks == nil || proxy.HealthChecks.Active == nil {
		return nil
	}
	name, what := "health_*", "health_uri and the other health_* options"
	switch active := proxy.HealthChecks.Active; {
	case active.URI != "":
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
