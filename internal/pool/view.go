package pool

import (
	"slices"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/balance"
	"github.com/healthpool/caddy-healthpool/internal/health"
)

// State is the state of a pool as a whole.
type State string

// The states of a pool.
const (
	// Up: every upstream is healthy.
	Up State = "up"
	// Degraded: requests are served, but not every upstream is healthy.
	Degraded State = "degraded"
	// Down: there is no upstream to send a request to.
	Down State = "down"
)

// view is a pool at one moment. It is never changed, only replaced, so that
// requests read it without a lock.
type view struct {
	state State
	// usable are the upstreams to choose from, in the order of the config.
	usable []*Upstream
	// unchecked are those of which nothing is known, while nothing is usable.
	unchecked []*Upstream
	healthy   int
	// since is when this state began.
	since time.Time
	// outage is when a down pool went down; zero when nobody saw it begin.
	outage time.Time
	// changed is closed when a newer view has taken this one's place.
	changed chan struct{}
}

func (v *view) down() bool { return v.state == Down }

// look makes a view of the upstreams as they are now. Caller must hold p.mu.
func (p *Pool) look() *view {
	v := &view{changed: make(chan struct{})}
	var by [hard + 1][]*Upstream
	for _, u := range p.upstreams {
		s := standing(u.standing.Load())
		by[s] = append(by[s], u)
	}
	v.healthy = len(by[healthy])
	switch {
	case v.healthy > 0:
		v.usable = by[healthy]
	case p.FailOpen == FailOpenAlways:
		v.usable = p.upstreams
	case p.FailOpen == FailOpenSlow && len(by[soft]) > 0:
		v.usable = by[soft]
	default:
		v.unchecked = by[checking]
	}
	p.date(v)
	return v
}

// date sets the state of a view, and since when it is so. Caller must hold p.mu.
func (p *Pool) date(v *view) {
	switch {
	case v.healthy == len(p.upstreams):
		v.state = Up
	case len(v.usable) > 0 || len(v.unchecked) > 0:
		v.state = Degraded
	default:
		v.state = Down
	}
	if old := p.view.Load(); old.state == v.state && !old.since.IsZero() {
		v.since, v.outage = old.since, old.outage
		return
	}
	v.since = p.lastChange(func(*health.State) bool { return true })
	v.outage = p.lastChange((*health.State).EverUp)
}

// lastChange is when one of the upstreams that count changed last; zero when
// none did. It survives a reload, as the upstreams do.
func (p *Pool) lastChange(counts func(*health.State) bool) (at time.Time) {
	for _, u := range p.upstreams {
		u.mu.Lock()
		if since := u.state.Since(); counts(&u.state) && since.After(at) {
			at = since
		}
		u.mu.Unlock()
	}
	return at
}

// choose returns the two best upstreams for a request that may be given now; nil
// stands for none. Those it tried come after those it did not, and a suspect is
// left out as long as a verdict on it may be waited for.
func (v *view) choose(r *Request) (best, second *Upstream) {
	best, second = v.pick(v.usable, func(u *Upstream) bool { return !u.suspect() && !r.tried(u) })
	if best == nil && r.attempts > 0 {
		best, second = v.pick(v.usable, func(u *Upstream) bool { return !u.suspect() })
	}
	return best, second
}

// chooseAny is choose for a request that cannot wait any longer.
func (v *view) chooseAny(r *Request) (best, second *Upstream) {
	from := v.usable
	if len(from) == 0 {
		from = v.unchecked
	}
	best, second = v.pick(from, func(u *Upstream) bool { return !r.tried(u) })
	if best == nil && r.attempts > 0 {
		best, second = v.pick(from, func(*Upstream) bool { return true })
	}
	return best, second
}

// pick returns the two best of those that may be picked.
func (v *view) pick(from []*Upstream, may func(*Upstream) bool) (best, second *Upstream) {
	i, k := balance.Pick(len(from), balance.Now(), func(i int) *balance.Load {
		if !may(from[i]) {
			return nil
		}
		return &from[i].load
	})
	if i >= 0 {
		best = from[i]
	}
	if k >= 0 {
		second = from[k]
	}
	return best, second
}

// ready reports whether there is an upstream that is under no suspicion.
func (v *view) ready() bool {
	return slices.ContainsFunc(v.usable, func(u *Upstream) bool { return !u.suspect() })
}

// candidates are all upstreams to give another policy, the best sort there is:
// under no suspicion and not tried, under no suspicion, or any.
func (v *view) candidates(r *Request) []*Upstream {
	from := v.usable
	if len(from) == 0 {
		from = v.unchecked
	}
	for _, may := range []func(*Upstream) bool{
		func(u *Upstream) bool { return !u.suspect() && !r.tried(u) },
		func(u *Upstream) bool { return !u.suspect() },
		func(u *Upstream) bool { return !r.tried(u) },
	} {
		var out []*Upstream
		for _, u := range from {
			if may(u) {
				out = append(out, u)
			}
		}
		if len(out) > 0 {
			return out
		}
	}
	return from
}
