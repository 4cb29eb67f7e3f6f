package healthpool

import (
	"maps"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/healthpool/caddy-healthpool/internal/balance"
	"github.com/healthpool/caddy-healthpool/internal/exchange"
)

// HealthAwareSelection picks the upstream that is likely to answer first, by its latency (a
// moving average that rises at once and falls slowly), its requests in flight, and how long
// those have been waiting. Errors count as slow answers, so that an upstream that fails
// fast attracts no requests. Up to eight upstreams are all compared; of more, the better of
// two random ones is picked.
//
// On `dynamic healthpool` it costs the same for any number of upstreams. On static
// upstreams and other sources it skips the unavailable ones and picks by requests in flight
// and, within no_healthy_upstream, by latency.
type HealthAwareSelection struct {
	// loads has the load of each upstream that is not in a pool, by address. The map is
	// replaced, never changed; mu guards replacing it.
	loads atomic.Pointer[map[string]*balance.Load]
	mu    sync.Mutex
}

// CaddyModule returns the Caddy module information.
func (*HealthAwareSelection) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.reverse_proxy.selection_policies.health_aware",
		New: func() caddy.Module { return new(HealthAwareSelection) },
	}
}

// UnmarshalCaddyfile sets up the policy from Caddyfile tokens. Syntax:
//
//	lb_policy health_aware
func (*HealthAwareSelection) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the name of the policy
	if d.NextArg() {
		return d.Errf("health_aware: takes no value, got %q", d.Val())
	}
	if d.NextBlock(d.Nesting()) {
		return d.Errf("health_aware: has no options, got %q", d.Val())
	}
	return nil
}

// Select returns the best of the upstreams that are available, or nil.
func (s *HealthAwareSelection) Select(upstreams reverseproxy.UpstreamPool, r *http.Request, _ http.ResponseWriter) *reverseproxy.Upstream {
	rec := exchange.Of(r)
	if rec.Offered(upstreams) {
		return rec.TakeOffered(r.Context(), upstreams)
	}
	if rec.Selection == s {
		rec.AttemptFailed(r) // the same proxy tries again
	} else {
		rec.RecordResponse(r)
	}
	rec.Selection = s
	loads := s.loadsOf(upstreams)
	best := pickAvailable(upstreams, loads, rec.FailedAt)
	if best < 0 {
		best = pickAvailable(upstreams, loads, func(*balance.Load) bool { return false })
	}
	if best < 0 {
		return nil
	}
	rec.Begin(r.Context(), loads[upstreams[best].Dial])
	return upstreams[best]
}

// pickAvailable returns the index of the best upstream that is available and not to be
// avoided, or -1.
func pickAvailable(upstreams reverseproxy.UpstreamPool, loads map[string]*balance.Load, avoid func(*balance.Load) bool) int {
	best, _ := balance.Pick(len(upstreams), balance.Now(), func(i int) balance.Choice {
		load := loads[upstreams[i].Dial]
		if avoid(load) || !upstreams[i].Available() {
			return balance.Choice{}
		}
		return balance.Choice{Load: load}
	})
	return best
}

// loadsOf returns the loads of the upstreams, creating those that are missing.
func (s *HealthAwareSelection) loadsOf(upstreams reverseproxy.UpstreamPool) map[string]*balance.Load {
	if known := s.loads.Load(); known != nil && knowsAll(*known, upstreams) {
		return *known
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	known := make(map[string]*balance.Load, len(upstreams))
	if old := s.loads.Load(); old != nil && len(*old) <= 2*len(upstreams) {
		maps.Copy(known, *old) // bounded: addresses may come and go
	}
	for _, up := range upstreams {
		if known[up.Dial] == nil {
			known[up.Dial] = new(balance.Load)
		}
	}
	s.loads.Store(&known)
	return known
}

func knowsAll(known map[string]*balance.Load, upstreams reverseproxy.UpstreamPool) bool {
	for _, up := range upstreams {
		if known[up.Dial] == nil {
			return false
		}
	}
	return true
}

// watchPolicy makes the pool see what another policy than ours selects: otherwise it would
// not know how many requests its upstreams have in flight, and how they answer.
func (u *HealthPoolUpstreams) watchPolicy(proxy *reverseproxy.Handler) {
	if proxy.LoadBalancing == nil {
		proxy.LoadBalancing = new(reverseproxy.LoadBalancing)
	}
	lb := proxy.LoadBalancing
	if lb.SelectionPolicy == nil {
		lb.SelectionPolicy = reverseproxy.RandomSelection{} // core's default, which it sets later
	}
	if _, u.healthAware = lb.SelectionPolicy.(*HealthAwareSelection); !u.healthAware {
		lb.SelectionPolicy = watchedPolicy{lb.SelectionPolicy}
	}
}

// watchedPolicy is another policy, whose selections are recorded.
type watchedPolicy struct{ reverseproxy.Selector }

// Select records the selection of the other policy.
func (s watchedPolicy) Select(upstreams reverseproxy.UpstreamPool, r *http.Request, w http.ResponseWriter) *reverseproxy.Upstream {
	selected := s.Selector.Select(upstreams, r, w)
	if selected != nil && !exchange.Of(r).BeginWhere(r.Context(), selected.Dial) {
		return nil // it has just become full
	}
	return selected
}

// Interface guards
var (
	_ reverseproxy.Selector = (*HealthAwareSelection)(nil)
	_ caddyfile.Unmarshaler = (*HealthAwareSelection)(nil)
)
