package healthpool

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/zap"

	"github.com/healthpool/caddy-healthpool/internal/option"
	"github.com/healthpool/caddy-healthpool/internal/pool"
)

const (
	defaultInterval     = 5 * time.Second
	defaultEdgeInterval = time.Second
	defaultDownInterval = time.Second
	defaultTimeout      = 2 * time.Second
	defaultFails        = 3
	defaultPasses       = 2
	defaultHold         = 5 * time.Second
	defaultHoldMax      = 1000
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
	// The name of the pool in status, metrics and logs. Pools that are
	// configured alike may share a name: they are one pool then.
	// Default: the address of the first upstream.
	Name string `json:"name,omitempty"`

	// The upstreams, in the order in which policies that care see them. At
	// least one; none twice.
	Upstreams []PoolUpstream `json:"upstreams,omitempty"`

	// What a check is: "tcp" (a connection can be opened) or "http" (a request
	// is answered as expected). Default: http with health_uri, else tcp.
	HealthType string `json:"health_type,omitempty"`

	// The path and query of the request of an http check, such as "/healthz".
	// Default: "/".
	HealthURI string `json:"health_uri,omitempty"`

	// The port to check, if not the one that requests go to. From 1 to 65535.
	HealthPort int `json:"health_port,omitempty"`

	// The address to check in place of every upstream, for a service that
	// knows about all of them. Headers may name the upstream that is meant
	// with the placeholder `{http.reverse_proxy.active.target_upstream}`.
	HealthUpstream string `json:"health_upstream,omitempty"`

	// The method of an http check. Default: GET.
	HealthMethod string `json:"health_method,omitempty"`

	// Header fields of an http check, Host among them. Global placeholders
	// may be used.
	HealthHeaders http.Header `json:"health_headers,omitempty"`

	// The body of an http check. Global placeholders may be used.
	HealthRequestBody string `json:"health_request_body,omitempty"`

	// The status to expect of an http check: a code such as 204, or a class
	// as its first digit, such as 2. Default: any from 200 to 399.
	HealthStatus int `json:"health_status,omitempty"`

	// A regular expression that the body of an http check has to match. The
	// first 64 KiB are looked at.
	HealthBody string `json:"health_body,omitempty"`

	// Whether an http check follows redirects, ten at most. Otherwise a
	// redirect is an answer as good as any other. Default: false.
	HealthFollowRedirects bool `json:"health_follow_redirects,omitempty"`

	// How long to wait between two checks of a healthy upstream. Every
	// interval is jittered by 10 %. Default: 5s.
	HealthInterval caddy.Duration `json:"health_interval,omitempty"`

	// The same while a change is pending: some checks have passed or failed,
	// but not enough of them yet. Default: 1s.
	HealthEdgeInterval caddy.Duration `json:"health_edge_interval,omitempty"`

	// The same while an upstream is unhealthy. While requests are held for
	// it, it is checked every 50ms. Default: 1s.
	HealthDownInterval caddy.Duration `json:"health_down_interval,omitempty"`

	// How long a check may take. Default: 2s.
	HealthTimeout caddy.Duration `json:"health_timeout,omitempty"`

	// How many failed checks in a row make an upstream unhealthy. Default: 3.
	HealthFails int `json:"health_fails,omitempty"`

	// How many passed checks in a row make it healthy again. One is enough
	// while the whole pool is down, and for the first check ever. Default: 2.
	HealthPasses int `json:"health_passes,omitempty"`

	// What to do when no upstream is healthy: "slow" goes on using those
	// that answer, only late or badly, because a slow site is better than
	// none; "never" uses healthy ones only; "always" uses all. Default: slow.
	FailOpen string `json:"fail_open,omitempty"`

	// How long requests wait for an upstream to come back, counted from the
	// beginning of the outage: a restart is bridged, and a long outage is
	// told at once. 0 is off. Default: 5s.
	Hold *caddy.Duration `json:"hold,omitempty"`

	// How many requests may wait at the same time; further ones are answered
	// at once. Default: 1000.
	HoldMax int `json:"hold_max,omitempty"`

	pool  *pool.Pool
	proxy *reverseproxy.Handler
	// ranked is whether the policy wants only the best, in order.
	ranked bool
}

// PoolUpstream is one upstream of a pool.
type PoolUpstream struct {
	// The [network address](/docs/conventions#network-addresses) to dial:
	// a host and one port, or a unix socket. Without a port: 80. Global
	// placeholders such as `{env.APP}` are replaced once, at the start.
	Dial string `json:"dial,omitempty"`
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
	if len(proxy.Upstreams) > 0 {
		ctx.Logger().Warn("static upstreams beside dynamic healthpool are never used; move them into it",
			zap.Int("upstreams", len(proxy.Upstreams)))
	}
	if lb := proxy.LoadBalancing; lb != nil {
		_, u.ranked = lb.SelectionPolicy.(*HealthAwareSelection)
	}
	app, err := appOf(ctx)
	if err != nil {
		return err
	}
	u.proxy = proxy
	u.pool, err = app.join(u, proxy)
	return err
}

func (u *HealthPoolUpstreams) setDefaults() {
	option.Default(&u.HealthInterval, caddy.Duration(defaultInterval))
	option.Default(&u.HealthEdgeInterval, caddy.Duration(defaultEdgeInterval))
	option.Default(&u.HealthDownInterval, caddy.Duration(defaultDownInterval))
	option.Default(&u.HealthTimeout, caddy.Duration(defaultTimeout))
	option.Default(&u.HealthFails, defaultFails)
	option.Default(&u.HealthPasses, defaultPasses)
	option.Default(&u.FailOpen, string(pool.FailOpenSlow))
	option.Default(&u.HoldMax, defaultHoldMax)
	if u.Hold == nil {
		hold := caddy.Duration(defaultHold)
		u.Hold = &hold
	}
	if u.HealthType == "" && u.HealthURI == "" {
		u.HealthType = "tcp"
	}
	option.Default(&u.HealthType, "http")
	if u.HealthType == "http" {
		option.Default(&u.HealthURI, "/")
		option.Default(&u.HealthMethod, http.MethodGet)
	}
}

// Validate checks every option by itself and those that depend on each other.
func (u *HealthPoolUpstreams) Validate() error {
	if len(u.Upstreams) == 0 {
		return errors.New("to: must name at least one upstream, such as app:8080")
	}
	_, err := u.addresses()
	errs := []error{
		err,
		option.OneOf("health_type", u.HealthType, "tcp", "http"),
		option.OneOf("fail_open", u.FailOpen, "slow", "never", "always"),
		option.Positive("health_interval", u.HealthInterval),
		option.Positive("health_edge_interval", u.HealthEdgeInterval),
		option.Positive("health_down_interval", u.HealthDownInterval),
		option.Positive("health_timeout", u.HealthTimeout),
		option.AtLeast("health_fails", u.HealthFails, 1),
		option.AtLeast("health_passes", u.HealthPasses, 1),
		option.AtLeast("hold_max", u.HoldMax, 1),
		option.ZeroOrMore("hold", u.Hold),
		u.validateWhere(),
	}
	if u.HealthType == "tcp" {
		return errors.Join(append(errs, u.validateTCP())...)
	}
	return errors.Join(append(errs, u.validateHTTP())...)
}

// validateWhere checks what says where to check.
func (u *HealthPoolUpstreams) validateWhere() error {
	if p := u.HealthPort; p < 0 || p > 65535 {
		return fmt.Errorf("health_port: must be from 1 to 65535, got %d", p)
	}
	if u.HealthUpstream == "" {
		return nil
	}
	if u.HealthPort != 0 {
		return errors.New("health_port: must not be set together with health_upstream, which has a port of its own")
	}
	_, err := option.Address("health_upstream", u.HealthUpstream)
	return err
}

// validateTCP refuses the options that a tcp check has no use for: a check that
// is not made as meant is worse than none.
func (u *HealthPoolUpstreams) validateTCP() error {
	for _, o := range []struct {
		name string
		set  bool
	}{
		{"health_uri", u.HealthURI != ""},
		{"health_method", u.HealthMethod != ""},
		{"health_headers", len(u.HealthHeaders) > 0},
		{"health_request_body", u.HealthRequestBody != ""},
		{"health_status", u.HealthStatus != 0},
		{"health_body", u.HealthBody != ""},
		{"health_follow_redirects", u.HealthFollowRedirects},
	} {
		if o.set {
			return fmt.Errorf("%s: needs health_uri or health_type http, because a tcp check only connects", o.name)
		}
	}
	return nil
}

func (u *HealthPoolUpstreams) validateHTTP() error {
	var errs []error
	if _, err := url.ParseRequestURI(u.HealthURI); err != nil || !strings.HasPrefix(u.HealthURI, "/") {
		errs = append(errs, fmt.Errorf("health_uri: must be a path that begins with /, got %q", u.HealthURI))
	}
	if s := u.HealthStatus; s != 0 && (s < 1 || s > 5) && (s < 100 || s > 599) {
		errs = append(errs, fmt.Errorf("health_status: must be a status such as 200 or a class such as 2xx, got %d", s))
	}
	if _, err := regexp.Compile(u.HealthBody); err != nil {
		errs = append(errs, fmt.Errorf("health_body: must be a regular expression, got %q: %w", u.HealthBody, err))
	}
	return errors.Join(errs...)
}

// GetUpstreams returns the upstreams that r may be given now; with the
// health_aware policy, only the two best. It waits while there is none, as hold
// allows. It never fails: an error would make reverse_proxy fall back to static
// upstreams.
func (u *HealthPoolUpstreams) GetUpstreams(r *http.Request) ([]*reverseproxy.Upstream, error) {
	rec := recordOf(r)
	rec.Enter(u.pool)
	rec.resends = len(u.proxy.LoadBalancing.RetryMatch) > 0
	clearSelected(r)
	switch {
	case rec.Poll:
		return nil, nil
	case u.ranked:
		return rec.offer(u.pool.Pick(r.Context(), &rec.Request)), nil
	}
	usable := u.pool.Usable(r.Context(), &rec.Request)
	out := make([]*reverseproxy.Upstream, len(usable))
	for i, up := range usable {
		out[i] = &reverseproxy.Upstream{Dial: up.Address}
	}
	return out, nil
}

// ResetCache is told that the attempt before failed and another is to follow.
// Nothing is forgotten but the trust in the upstream that failed.
func (u *HealthPoolUpstreams) ResetCache(r *http.Request) error {
	recordOf(r).attemptFailed(r)
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
	name := "health_*"
	switch active := proxy.HealthChecks.Active; {
	case active.URI != "":
		name = "health_uri"
	case active.Port != 0:
		name = "health_port"
	}
	return fmt.Errorf("%s: reverse_proxy does not check dynamic upstreams; move %s into dynamic healthpool", name, name)
}

// Interface guards
var (
	_ caddy.Provisioner                  = (*HealthPoolUpstreams)(nil)
	_ caddy.Validator                    = (*HealthPoolUpstreams)(nil)
	_ reverseproxy.CachingUpstreamSource = (*HealthPoolUpstreams)(nil)
)
