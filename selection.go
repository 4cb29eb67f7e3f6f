package healthpool

import (
	"context"
	"maps"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/healthpool/caddy-healthpool/internal/balance"
	"github.com/healthpool/caddy-healthpool/internal/cause"
	"github.com/healthpool/caddy-healthpool/internal/failure"
	"github.com/healthpool/caddy-healthpool/internal/pool"
)

// HealthAwareSelection chooses the upstream that is likely to answer first: by
// its latency (a moving average that rises at once and falls slowly), the
// requests it has in flight, and how long those have been waiting already.
// Errors count as slow answers, so that an upstream that fails fast attracts
// nothing. Up to eight upstreams are all compared; of more, the better of two
// random ones is taken.
//
// On `dynamic healthpool` it costs the same for any number of upstreams. On
// static upstreams and other sources it skips the unavailable ones and chooses
// by requests in flight, and within no_healthy_upstream by latency, too.
type HealthAwareSelection struct {
	// loads has what is known of upstreams that are not in a pool, by their
	// address. It is replaced, never changed; mu is for those who do.
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
	rec := recordOf(r)
	if rec.offered.made(upstreams) {
		return rec.takeOffered(r.Context(), upstreams)
	}
	if rec.selection == s {
		rec.Failed(0) // this proxy tries again
	}
	rec.selection = s
	loads := s.loadsOf(upstreams)
	best, _ := balance.Pick(len(upstreams), balance.Now(), func(i int) *balance.Load {
		if !upstreams[i].Available() {
			return nil
		}
		return loads[upstreams[i].Dial]
	})
	if best < 0 {
		return nil
	}
	rec.Begin(r.Context(), loads[upstreams[best].Dial])
	return upstreams[best]
}

// loadsOf returns the loads of all the upstreams.
func (s *HealthAwareSelection) loadsOf(upstreams reverseproxy.UpstreamPool) map[string]*balance.Load {
	if known := s.loads.Load(); known != nil && knowsAll(*known, upstreams) {
		return *known
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	known := make(map[string]*balance.Load, len(upstreams))
	if old := s.loads.Load(); old != nil && len(*old) <= 2*len(upstreams) {
		maps.Copy(known, *old) // addresses that come and go are kept within bounds
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

// recordKey is the request variable that holds the record.
const recordKey = "healthpool.record"

// record is what our modules tell each other about one request.
type record struct {
	pool.Request

	// offered is what the source handed out last; the policy takes from it.
	offered *offer
	// selection is the policy that chose last outside of a pool.
	selection *HealthAwareSelection
	// resends is whether the proxy may send a request again that an upstream
	// has had already, by the owner's lb_retry_match.
	resends bool
}

// fate is what happened to the request. An attempt before the last may have got
// through, if it is one that is sent again after that.
func (rec *record) fate(r *http.Request, f failure.Failure) cause.Fate {
	if rec.Resent() && (rec.resends || r.Method == http.MethodGet) {
		return cause.Unknown
	}
	return f.Fate
}

// recordOf returns the record of r, which no_healthy_upstream has begun, or
// whoever needs it first.
func recordOf(r *http.Request) *record {
	if rec, ok := caddyhttp.GetVar(r.Context(), recordKey).(*record); ok {
		return rec
	}
	rec := new(record)
	caddyhttp.SetVar(r.Context(), recordKey, rec)
	return rec
}

// offer is the best upstream and the second best, in one piece of memory: fresh
// for each attempt, because reverse_proxy writes to what it is given.
type offer struct {
	upstreams [2]reverseproxy.Upstream
	list      [2]*reverseproxy.Upstream
	members   [2]*pool.Upstream
}

func (rec *record) offer(best, second *pool.Upstream) []*reverseproxy.Upstream {
	if best == nil {
		rec.offered = nil
		return nil
	}
	o := &offer{members: [2]*pool.Upstream{best, second}}
	rec.offered = o
	n := 0
	for ; n < len(o.members) && o.members[n] != nil; n++ {
		o.upstreams[n].Dial = o.members[n].Address
		o.list[n] = &o.upstreams[n]
	}
	return o.list[:n]
}

// made reports whether upstreams is this offer.
func (o *offer) made(upstreams reverseproxy.UpstreamPool) bool {
	return o != nil && len(upstreams) > 0 && upstreams[0] == o.list[0]
}

// takeOffered takes the first of the offered upstreams that reverse_proxy itself
// has nothing against.
func (rec *record) takeOffered(ctx context.Context, upstreams reverseproxy.UpstreamPool) *reverseproxy.Upstream {
	for i, up := range upstreams {
		if up.Available() {
			rec.BeginAt(ctx, rec.offered.members[i])
			return up
		}
	}
	return nil
}

// Placeholders of reverse_proxy. It sets selectedMark whenever it has selected an
// upstream; without our policy, that is all there is to learn it from.
const (
	hostPortPlaceholder = "http.reverse_proxy.upstream.hostport"
	statusPlaceholder   = "http.reverse_proxy.status_code"
	selectedMark        = "http.reverse_proxy.upstream.fails"
)

func replacerOf(r *http.Request) *caddy.Replacer {
	return r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
}

// clearSelected forgets what reverse_proxy has selected before.
func clearSelected(r *http.Request) {
	repl := replacerOf(r)
	repl.Delete(selectedMark)
	repl.Delete(statusPlaceholder)
}

// noteSelected notes what another policy has selected, if it has.
func (rec *record) noteSelected(r *http.Request) {
	repl := replacerOf(r)
	if _, selected := repl.Get(selectedMark); selected {
		address, _ := repl.GetString(hostPortPlaceholder)
		rec.BeganAt(address)
	}
}

// attemptFailed notes that an attempt failed: with a response that is not to be
// passed on, or without any.
func (rec *record) attemptFailed(r *http.Request) {
	rec.noteSelected(r)
	status := 0
	if v, ok := replacerOf(r).Get(statusPlaceholder); ok {
		status, _ = v.(int)
	}
	replacerOf(r).Delete(statusPlaceholder)
	rec.Failed(status)
}

// Interface guards
var (
	_ reverseproxy.Selector = (*HealthAwareSelection)(nil)
	_ caddyfile.Unmarshaler = (*HealthAwareSelection)(nil)
)
