package pool

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/healthpool/caddy-healthpool/internal/balance"
	"github.com/healthpool/caddy-healthpool/internal/health"
)

const (
	// jitter keeps the checks of many upstreams from falling into step.
	jitter = 0.1

	// urgentInterval is how soon an unhealthy upstream is asked again while
	// requests are held for it.
	urgentInterval = 50 * time.Millisecond

	// askGap bounds how often failing requests can ask for a check.
	minCheckGap = 10 * time.Millisecond
)

// upstreams holds the state of every upstream in use, across reloads: a new
// config takes it over before the old one lets go of it.
var upstreams = caddy.NewUsagePool()

// Key tells upstreams apart: the same address checked in another way is another
// one, because it may be healthy in one way and not in the other.
type Key struct {
	// Address is where requests go, as the owner wrote it.
	Address string
	// Check is a digest of what is checked, how, and with what thresholds.
	Check string
}

// Upstream is what is known of one upstream, however many pools use it. It has
// no goroutine of its own: its checks run in the Prober of a running config.
type Upstream struct {
	// Choosing among thousands reads these first, so they are side by side.
	load balance.Load
	// suspicion is set by a failed request and cleared by the next verdict; 0
	// is none. Its number tells an older suspicion from a newer one.
	suspicion atomic.Uint64
	// upSince is when it came back last (of balance.Now).
	upSince atomic.Int64
	// standing is what readers without the lock need of state.
	eligibility atomic.Uint32

	// Address is where requests go, as the owner wrote it.
	Address string
	// strikes are the requests in a row that failed, and doubts those of which the
	// next check tells (see decide); taken is how many places are.
	strikes, unconfirmed, reserved atomic.Int64
	// window is how many of the requests that waited it may have unanswered.
	releaseWindow atomic.Int64
	// dueAt is due for readers without the lock (of time.UnixNano); 0 is not yet.
	dueAt atomic.Int64

	// mu guards what follows. No call out is made under it.
	mu       sync.Mutex
	state    health.State
	pools    []*Pool
	bindings []*binding
	// due is when the next check is to begin, timer wakes for it; checking
	// and again tell that one is under way and another is wanted after it.
	due          time.Time
	timer        *time.Timer
	checkRunning bool
	checkAgain   bool
}

// binding is how one running config checks an upstream.
type binding struct {
	prober *Prober
	check  Check
	policy health.Policy
}

func acquire(k Key) *Upstream {
	fresh := &Upstream{Address: k.Address}
	fresh.releaseWindow.Store(noReleaseWindow)
	u, _ := upstreams.LoadOrStore(k, fresh)
	return u.(*Upstream)
}

// bind lets a running config check u, from now on in place of the older ones,
// whose schedule goes on.
func (u *Upstream) bind(b *binding) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.bindings = append(u.bindings, b)
	if len(u.bindings) == 1 {
		u.schedule(max(0, time.Until(u.due)))
	}
}

// unbind takes back bind. The check under way, if any, goes on. Whoever is left
// goes on with the schedule, even if b was stopped when its turn came.
func (u *Upstream) unbind(b *binding) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.bindings = slices.DeleteFunc(u.bindings, func(o *binding) bool { return o == b })
	switch {
	case u.timer == nil:
	case len(u.bindings) == 0:
		u.timer.Stop()
	case !u.checkRunning:
		u.schedule(max(0, time.Until(u.due)))
	}
}

// bound reports whether any running config checks u.
func (u *Upstream) bound() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.bindings) > 0
}

// schedule sets the next check to begin after d. Caller must hold u.mu.
func (u *Upstream) schedule(d time.Duration) {
	u.due = time.Now().Add(d)
	u.dueAt.Store(u.due.UnixNano())
	switch {
	case len(u.bindings) == 0:
	case u.timer == nil:
		u.timer = time.AfterFunc(d, u.probe)
	default:
		u.timer.Reset(d)
	}
}

// ask wants a check soon, one that begins after this call.
func (u *Upstream) checkSoon() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.checkSoonLocked()
}

func (u *Upstream) checkSoonLocked() {
	if u.checkRunning {
		u.checkAgain = true
	} else if wait := u.minDelay(); time.Until(u.due) > wait {
		u.schedule(wait)
	}
}

// soonest is how long to wait with a check that is wanted at once. Caller must hold u.mu.
func (u *Upstream) minDelay() time.Duration {
	return max(0, minCheckGap-time.Since(u.state.Last().At))
}

// suspected notes that a request failed here: until a check has had its say, u
// is picked only where nothing else is left. Without anybody to check it, it
// would be suspected for ever.
func (u *Upstream) markSuspect() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.bindings) > 0 {
		u.suspicion.Add(1)
		u.checkSoonLocked()
	}
}

// suspect reports whether a request failed here that no check has answered.
func (u *Upstream) suspect() bool { return u.suspicion.Load() != 0 }

// probe runs one check in the newest config, unless one is under way.
func (u *Upstream) probe() {
	u.mu.Lock()
	if u.checkRunning || len(u.bindings) == 0 {
		u.mu.Unlock()
		return
	}
	b := u.bindings[len(u.bindings)-1]
	if !b.prober.register() {
		u.mu.Unlock()
		return
	}
	u.checkRunning, u.checkAgain = true, false
	u.mu.Unlock()
	r, ok := b.prober.do(b.check)
	u.finishCheck(b.policy, r, ok)
}

// settle takes in the result of a check, if there is one, and plans the next.
func (u *Upstream) finishCheck(p health.Policy, r health.Result, ok bool) {
	u.mu.Lock()
	u.checkRunning = false
	var t *Transition
	var changed bool
	var cleared uint64 // the suspicion that r is about
	if ok {
		t, changed = u.observe(p, r)
		if !u.checkAgain { // a check that began before the request failed proves nothing
			cleared = u.suspicion.Load()
			u.confirmFailures(r.Passed())
		}
	}
	switch {
	case !ok:
		u.schedule(0)
	case u.checkAgain:
		u.schedule(u.minDelay())
	default:
		u.schedule(u.delay(p))
	}
	pools := slices.Clone(u.pools)
	u.mu.Unlock()
	u.notifyPools(pools, t, changed, cleared)
	for _, p := range pools {
		if ok && p.running.Load() && p.OnProbe != nil {
			p.OnProbe(r.Duration)
		}
	}
}

// tell makes known to the pools what became of u: they look at it anew if it
// moved, who waits looks again if the suspicion that was answered is over, and
// the owner hears of the transition.
func (u *Upstream) notifyPools(pools []*Pool, t *Transition, changed bool, cleared uint64) {
	states := make([]State, len(pools))
	for i, p := range pools {
		if changed {
			states[i] = p.refresh()
		}
	}
	// Only now: what is dead must be out of the views before it looks innocent.
	if cleared != 0 && u.suspicion.CompareAndSwap(cleared, 0) {
		for _, p := range pools {
			p.queue.advance()
		}
	}
	for i, p := range pools {
		p.report(t)
		p.reportState(states[i])
	}
}

// observe passes r on to the state. It returns the transition, if there is one,
// and whether pools have to look at u anew. Caller must hold u.mu.
func (u *Upstream) observe(p health.Policy, r health.Result) (*Transition, bool) {
	now, since := time.Now(), u.state.Since()
	changed := u.state.Observe(p, now, r, u.onePassIsEnough())
	if changed && u.state.Status() == health.Healthy {
		u.resetAfterRecovery()
	}
	moved := u.updateEligibility()
	if !changed {
		return nil, moved
	}
	return u.transition(since, now), moved
}

// stand updates the standing after the state may have changed, and reports
// whether it did. Caller must hold u.mu.
func (u *Upstream) updateEligibility() (changed bool) {
	next := uint32(eligibilityOf(&u.state))
	return u.eligibility.Swap(next) != next
}

// transition describes the change that has just been made to the state, which was
// another since then. Caller must hold u.mu.
func (u *Upstream) transition(since, now time.Time) *Transition {
	t := &Transition{Upstream: u.Address, To: u.state.Status(), CheckDuration: u.state.Last().Duration}
	t.Cause, t.Detail = u.state.Failure()
	t.Passes, t.Fails = u.state.Streaks()
	if !since.IsZero() {
		t.After = now.Sub(since)
	}
	return t
}

// lenient reports whether one passed check is enough: while a pool has nothing
// else left, nothing is lost by trying. Caller must hold u.mu.
func (u *Upstream) onePassIsEnough() bool {
	return slices.ContainsFunc(u.pools, func(p *Pool) bool { return p.view.Load().down() })
}

// held reports whether requests wait in a pool that u is in. Caller must hold u.mu.
func (u *Upstream) held() bool {
	return slices.ContainsFunc(u.pools, func(p *Pool) bool { return p.queue.size.Load() > 0 })
}

// delay is the time until the next check, jittered. Caller must hold u.mu.
func (u *Upstream) delay(p health.Policy) time.Duration {
	d := u.state.Delay(p, time.Now())
	if s := u.state.Status(); s == health.Checking || s == health.Unhealthy {
		d = min(d, u.heldInterval())
	}
	return jittered(d)
}

func jittered(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (1 - jitter + 2*jitter*rand.Float64()))
}

// urgent is the interval while requests are held for u. Caller must hold u.mu.
func (u *Upstream) heldInterval() time.Duration {
	d := time.Duration(math.MaxInt64)
	for _, p := range u.pools {
		if p.queue.size.Load() > 0 {
			d = min(d, p.view.Load().interval(urgentInterval))
		}
	}
	return d
}

// standing is the part of a health.State that decides who is given requests.
type eligibility uint32

const (
	checking eligibility = iota
	healthy
	// soft: unhealthy, but it does answer, only late or badly.
	soft
	// hard: no connection to be had, or its own check said no.
	hard
)

func eligibilityOf(s *health.State) eligibility {
	cause, _ := s.Failure()
	switch {
	case s.Status() == health.Checking:
		return checking
	case s.Status() == health.Healthy:
		return healthy
	case s.Status() == health.Ejected: // whatever for, its checks pass
		return soft
	case cause.Hard():
		return hard
	}
	return soft
}
