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
	// Down: no upstream can take a request.
	Down State = "down"
	// InMaintenance: an operator closed the pool, whatever its upstreams do.
	InMaintenance State = "maintenance"
)

// view is a snapshot of a pool. It is replaced, never changed, so that requests can read it
// without a lock.
type view struct {
	state   State
	members []*Member
	// usable are the upstreams to pick from, in config order.
	usable []*Member
	// unchecked are the upstreams without any result yet, if none is usable.
	unchecked []*Member
	healthy   int
	// serving are the members that are not drained; healthy counts those that are healthy.
	serving []*Member
	// drained has the addresses of the others.
	drained map[string]bool
	// since is when this state began.
	since time.Time
	// upSince is when it last recovered from being down, or was first seen.
	upSince time.Time
	// outage is when a pool that is down went down; zero if that was not observed.
	outage time.Time

	slowStart time.Duration
	// heaviest is the largest weight.
	heaviest float64
	// failOpen is whether even dead upstreams are used.
	failOpen bool
}

func (v *view) down() bool { return v.state == Down }

// interval returns least, or longer for a big pool, so that all its upstreams together get
// at most a thousand checks a second.
func (v *view) interval(least time.Duration) time.Duration {
	return max(least, time.Duration(len(v.members))*time.Millisecond)
}

// buildView returns a view of the current state of the upstreams. Caller must hold p.mu.
func (p *Pool) buildView(now time.Time) *view {
	v := &view{members: slices.Clone(p.members), drained: p.drained, slowStart: p.SlowStart, failOpen: p.FailOpen == FailOpenAlways}
	v.serving = v.members
	if len(v.drained) > 0 {
		v.serving = slices.DeleteFunc(slices.Clone(v.members), func(m *Member) bool { return v.drained[m.Dial()] })
	}
	var primary, backup [hard + 1][]*Member
	for _, m := range v.serving {
		v.heaviest = max(v.heaviest, float64(m.Weight))
		tier := &primary
		if m.Backup {
			tier = &backup
		}
		s := eligibility(m.eligibility.Load())
		tier[s] = append(tier[s], m)
	}
	v.healthy = len(primary[healthy]) + len(backup[healthy])
	v.usable = firstOf(primary[healthy], backup[healthy])
	if len(v.usable) == 0 {
		switch p.FailOpen {
		case FailOpenSlow:
			v.usable = firstOf(primary[soft], backup[soft])
		case FailOpenAlways:
			v.usable = v.serving
		case FailOpenNever:
		}
	}
	if len(v.usable) == 0 {
		v.unchecked = firstOf(primary[checking], backup[checking])
	}
	p.setState(v, now)
	return v
}

func firstOf(a, b []*Member) []*Member {
	if len(a) > 0 {
		return a
	}
	return b
}

// setState sets the state of v and when it began. Caller must hold p.mu.
func (p *Pool) setState(v *view, now time.Time) {
	switch {
	case len(v.serving) > 0 && v.healthy == len(v.serving):
		v.state = Up
	case len(v.usable) > 0, len(v.unchecked) > 0, len(v.members) == 0 && p.hasUnreadSource():
		v.state = Degraded
	default:
		v.state = Down
	}
	old := p.view.Load()
	v.upSince = old.nextUpSince(now)
	if old.state == v.state && !old.since.IsZero() {
		v.since, v.outage = old.since, old.outage
		return
	}
	v.since = lastChange(v.members, func(*health.State) bool { return true })
	v.outage = lastChange(v.members, (*health.State).EverUp)
	switch {
	case len(v.members) == 0: // its sources may start to work
		v.since, v.outage = p.createdAt, p.createdAt
	case old.state != "" && !v.outage.IsZero(): // observed from the beginning
		v.since, v.outage = now, now
	}
}

// nextUpSince returns the upSince of the view that follows v, if that is up.
func (v *view) nextUpSince(now time.Time) time.Time {
	if v.down() || v.upSince.IsZero() {
		return now
	}
	return v.upSince
}

// lastChange returns when one of the upstreams that count last changed its status; zero if
// none did. It survives a reload, as the upstreams do.
func lastChange(members []*Member, counts func(*health.State) bool) (at time.Time) {
	for _, u := range members {
		u.mu.Lock()
		if since := u.state.Since(); counts(&u.state) && since.After(at) {
			at = since
		}
		u.mu.Unlock()
	}
	return at
}

// checkUnhealthy checks every upstream that is not healthy at once: what brought one back
// has probably brought back the others.
func (v *view) checkUnhealthy() {
	for _, m := range v.members {
		if eligibility(m.eligibility.Load()) != healthy {
			m.checkSoon()
		}
	}
}

// choose returns the two best upstreams for a request; nil means none. Untried ones come
// before tried ones, and suspects are left out while a check may still clear them. A held
// request respects the release window, so that a recovered upstream gets no more than it
// answers.
func (v *view) choose(r *Request, wasHeld bool) (best, second *Member) {
	may := func(m *Member) bool { return v.mayUse(m, wasHeld) }
	best, second = v.pick(v.usable, func(m *Member) bool { return may(m) && !r.tried(m) })
	if best == nil && r.attempts > 0 {
		best, second = v.pick(v.usable, may)
	}
	return best, second
}

// chooseAny is choose for a request that cannot wait any longer.
func (v *view) chooseAny(r *Request) (best, second *Member) {
	from := firstOf(v.usable, v.unchecked)
	best, second = v.pick(from, func(m *Member) bool { return !m.full() && !r.tried(m) })
	if best == nil && r.attempts > 0 {
		best, second = v.pick(from, func(m *Member) bool { return !m.full() })
	}
	return best, second
}

// reserveBest is choose with a reservation at the best.
func (v *view) reserveBest(r *Request, wasHeld bool) (best, second *Member) {
	return r.reserve(func() (best, second *Member) { return v.choose(r, wasHeld) })
}

// reserveAny is chooseAny with a reservation at the best.
func (v *view) reserveAny(r *Request) (best, second *Member) {
	return r.reserve(func() (best, second *Member) { return v.chooseAny(r) })
}

// pick returns the two best of the members that may accepts.
func (v *view) pick(from []*Member, may func(*Member) bool) (best, second *Member) {
	now := balance.Now()
	i, k := balance.Pick(len(from), now, func(i int) balance.Choice {
		if m := from[i]; may(m) {
			return m.choice(now, v)
		}
		return balance.Choice{}
	})
	if i >= 0 {
		best = from[i]
	}
	if k >= 0 {
		second = from[k]
	}
	return best, second
}

// mayUse reports whether m can take a request now.
func (v *view) mayUse(m *Member, wasHeld bool) bool {
	return m.ready(wasHeld) && (v.failOpen || !m.dead())
}

// ready reports whether any upstream can take a request now.
func (v *view) ready(wasHeld bool) bool {
	return slices.ContainsFunc(v.usable, func(m *Member) bool { return v.mayUse(m, wasHeld) })
}

// allFull reports whether there are usable upstreams, but all are full.
func (v *view) allFull() bool {
	return len(v.usable) > 0 && !slices.ContainsFunc(v.usable, func(m *Member) bool { return !m.full() })
}

// candidates returns the upstreams to offer to another policy. It returns the first of
// these groups that is not empty: not suspect and untried, not suspect, untried, any.
func (v *view) candidates(r *Request) []*Member {
	from := firstOf(v.usable, v.unchecked)
	for _, may := range []func(*Member) bool{
		func(m *Member) bool { return v.mayUse(m, false) && !r.tried(m) },
		func(m *Member) bool { return v.mayUse(m, false) },
		func(m *Member) bool { return !r.tried(m) },
	} {
		var out []*Member
		for _, m := range from {
			if !m.full() && may(m) {
				out = append(out, m)
			}
		}
		if len(out) > 0 {
			return out
		}
	}
	return slices.DeleteFunc(slices.Clone(from), (*Member).full)
}
