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
	// jitter keeps the checks of many upstreams from running in lockstep.
	jitter = 0.1

	// urgentInterval is how often an unhealthy upstream is checked while requests are held
	// for it.
	urgentInterval = 50 * time.Millisecond

	// minCheckGap limits how often failing requests can trigger a check.
	minCheckGap = 10 * time.Millisecond
)

// upstreams has the state of every upstream in use, across reloads: a new config acquires
// it before the old one releases it.
var upstreams = caddy.NewUsagePool()

// Key identifies an upstream. The same address with a different check is a different
// upstream, because it may pass one check and fail the other.
type Key struct {
	// Address is where requests go, as configured.
	Address string
	// Check is a digest of the check and its thresholds.
	Check string
}

// Upstream is the state of one upstream, shared by all pools that use it. It has no
// goroutine of its own: its checks run in the Prober of a running config.
type Upstream struct {
	// A pick reads these of many upstreams, so they are next to each other.
	load balance.Load
	// suspicion is set by a failed request and cleared by the next check that began after
	// it; 0 means none. The number distinguishes an older suspicion from a newer one.
	suspicion atomic.Uint64
	// upSince is when it last recovered, in balance.Now time.
	upSince atomic.Int64
	// eligibility is the part of state that is read without the lock.
	eligibility atomic.Uint32

	// Address is where requests go, as configured.
	Address string
	// strikes counts consecutive failed requests; unconfirmed counts failures that become
	// strikes if the next check passes; reserved counts requests held against max_requests.
	strikes, unconfirmed, reserved atomic.Int64
	// releaseWindow is how many unanswered requests it may have when it gets one that was
	// held.
	releaseWindow atomic.Int64
	// dueAt is due in Unix nanoseconds, for readers without the lock; 0 means not scheduled
	// yet.
	dueAt atomic.Int64

	// mu guards the fields below. Nothing that blocks or calls out runs under it.
	mu       sync.Mutex
	state    health.State
	pools    []*Pool
	bindings []*binding
	// due is when the next check begins, and timer fires then. checkRunning is whether a
	// check is in progress, checkAgain whether another must follow it at once.
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

// bind makes b check u, instead of older bindings. The schedule continues.
func (u *Upstream) bind(b *binding) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.bindings = append(u.bindings, b)
	if len(u.bindings) == 1 {
		u.schedule(max(0, time.Until(u.due)))
	}
}

// unbind undoes bind. A check in progress continues, and so do the other bindings with the
// schedule, even if b stopped just when a check was due.
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

// schedule schedules the next check after d. Caller must hold u.mu.
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

// checkSoon triggers a check that begins after this call.
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

// minDelay returns how long even an immediate check must wait. Caller must hold u.mu.
func (u *Upstream) minDelay() time.Duration {
	return max(0, minCheckGap-time.Since(u.state.Last().At))
}

// markSuspect records that a request failed here: until a later check has ended, u is
// picked only if nothing else is left. If nobody checks u, it would stay suspect forever,
// so it is not marked.
func (u *Upstream) markSuspect() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.bindings) > 0 {
		u.suspicion.Add(1)
		u.checkSoonLocked()
	}
}

// suspect reports whether a request failed here and no check has ended since.
func (u *Upstream) suspect() bool { return u.suspicion.Load() != 0 }

// probe runs one check for the newest binding, unless one is in progress.
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
	result, ok := b.prober.do(b.check)
	u.finishCheck(b.policy, result, ok)
}

// finishCheck records the result of a check, if there is one, and schedules the next.
func (u *Upstream) finishCheck(p health.Policy, r health.Result, ok bool) {
	u.mu.Lock()
	u.checkRunning = false
	var t *Transition
	var changed bool
	var cleared uint64 // the suspicion that r settles
	if ok {
		t, changed = u.observe(p, r)
		if !u.checkAgain { // otherwise the check began before the request failed
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

// notifyPools tells the pools what changed: they refresh their views if the eligibility
// changed, the queues advance if the suspicion was cleared, and the transition is reported.
func (u *Upstream) notifyPools(pools []*Pool, t *Transition, changed bool, cleared uint64) {
	states := make([]State, len(pools))
	for i, p := range pools {
		if changed {
			states[i] = p.refresh()
		}
	}
	// Only after the refresh: a dead upstream must have left the views before it stops
	// being suspect.
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

// observe passes r to the state. It returns the transition, if any, and whether the
// eligibility changed. Caller must hold u.mu.
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

// updateEligibility follows a change of the state, and reports whether the eligibility
// changed. Caller must hold u.mu.
func (u *Upstream) updateEligibility() (changed bool) {
	next := uint32(eligibilityOf(&u.state))
	return u.eligibility.Swap(next) != next
}

// transition describes the change of status that was just made; the previous status began
// at since. Caller must hold u.mu.
func (u *Upstream) transition(since, now time.Time) *Transition {
	t := &Transition{Upstream: u.Address, To: u.state.Status(), CheckDuration: u.state.Last().Duration}
	t.Cause, t.Detail = u.state.Failure()
	t.Passes, t.Fails = u.state.Streaks()
	if !since.IsZero() {
		t.After = now.Sub(since)
	}
	return t
}

// onePassIsEnough reports whether one passed check makes u healthy: while a pool has
// nothing else left, nothing is lost by trying. Caller must hold u.mu.
func (u *Upstream) onePassIsEnough() bool {
	return slices.ContainsFunc(u.pools, func(p *Pool) bool { return p.view.Load().down() })
}

// held reports whether requests wait in a pool of u. Caller must hold u.mu.
func (u *Upstream) held() bool {
	return slices.ContainsFunc(u.pools, func(p *Pool) bool { return p.queue.size.Load() > 0 })
}

// delay returns the time until the next check, jittered. Caller must hold u.mu.
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

// heldInterval returns the interval of checks while requests are held for u. Caller must
// hold u.mu.
func (u *Upstream) heldInterval() time.Duration {
	d := time.Duration(math.MaxInt64)
	for _, p := range u.pools {
		if p.queue.size.Load() > 0 {
			d = min(d, p.view.Load().interval(urgentInterval))
		}
	}
	return d
}

// eligibility is the part of a health.State that decides who gets requests.
type eligibility uint32

const (
	checking eligibility = iota
	healthy
	// soft: unhealthy, but still answering, if late or with errors.
	soft
	// hard: accepts no connection, or fails its own check.
	hard
)

func eligibilityOf(s *health.State) eligibility {
	cause, _ := s.Failure()
	switch {
	case s.Status() == health.Checking:
		return checking
	case s.Status() == health.Healthy:
		return healthy
	case s.Status() == health.Ejected: // whatever the cause, its checks pass
		return soft
	case cause.Hard():
		return hard
	}
	return soft
}
