// Package pool runs pools of upstreams: it has their checks made, keeps what
// became known of them across reloads, and gives requests the best upstreams
// there are, or lets them wait for one.
package pool

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/cause"
	"github.com/healthpool/caddy-healthpool/internal/health"
	"github.com/healthpool/caddy-healthpool/internal/intent"
)

// FailOpen is what a pool does with upstreams that answer, only late or badly,
// when no healthy one is left.
type FailOpen string

const (
	// FailOpenSlow uses the slow ones, but none that cannot be connected to.
	FailOpenSlow FailOpen = "slow"
	// FailOpenNever uses healthy upstreams only.
	FailOpenNever FailOpen = "never"
	// FailOpenAlways uses all.
	FailOpenAlways FailOpen = "always"
)

// Options are what one pool does differently from another.
type Options struct {
	// Name is the pool's, in status, metrics and logs.
	Name string
	// Token is what a visitor's page calls it.
	Token string
	// Policy has the thresholds and intervals of its checks.
	Policy health.Policy
	// FailOpen applies when nothing is healthy.
	FailOpen FailOpen
	// Hold is how long a request waits for an upstream to come back, at most,
	// counted from the beginning of the outage; HoldMax is how many may wait.
	Hold    time.Duration
	HoldMax int
	// Passive says which requests speak against an upstream.
	Passive
	// SlowStart is how long an upstream that came back takes to get its full
	// share again; 0 is off.
	SlowStart time.Duration
	// Sources are read for more upstreams every Refresh. An upstream that they
	// no longer list stays for Grace while it is healthy.
	Sources []Source
	Refresh time.Duration
	Grace   time.Duration
	// OnTransition is told of each change of an upstream, OnState of each
	// change of the pool, OnSource of each source that turns good or bad, OnRefused
	// of what sources list that cannot be used, and
	// OnIntent of each upstream that is drained, or no more, and of the pool,
	// without an upstream, that is closed or opened. OnProbe is told how long each
	// check took, OnHold how the waiting of each request that was held ended. All
	// may be nil, and are called only while the pool runs, but for OnHold.
	OnTransition func(Transition)
	OnState      func(State)
	OnSource     func(source string, err error)
	OnRefused    func(source string, err error)
	OnIntent     func(upstream string, on bool)
	OnProbe      func(time.Duration)
	OnHold       func(Outcome)
}

// Outcome is how the waiting of a request that was held ended.
type Outcome string

// The outcomes there are.
const (
	// Served: an upstream came back in time.
	Served Outcome = "served"
	// TimedOut: none did.
	TimedOut Outcome = "timeout"
	// ClientLeft: the client did not wait for it.
	ClientLeft Outcome = "canceled"
	// Crowded: too many requests waited already, so this one did not.
	Overflow Outcome = "overflow"
)

// Transition is a change of what is believed of an upstream.
type Transition struct {
	Upstream string
	To       health.Status
	// Cause and Detail say why it is not healthy.
	Cause         cause.Cause
	Detail        string
	CheckDuration time.Duration
	Passes, Fails int
	// After is how long it was otherwise; zero at the first check ever.
	After time.Duration
}

// Pool is a number of upstreams that serve the same thing.
type Pool struct {
	Options

	view     atomic.Pointer[view]
	queue    queue
	visitors *visitors
	// stale is whether a new view is about to be made.
	refreshPending atomic.Bool
	// began is when the pool was made.
	createdAt time.Time
	// attendant makes checks for those who wait through a reload.
	handoverProber atomic.Pointer[Prober]
	// running is whether a running config reports what changes here; started whether
	// any ever did.
	running, started atomic.Bool
	// closed is set while the pool is in maintenance; opened is when it last ended
	// (of time.UnixNano).
	maintenance atomic.Pointer[intent.Intent]
	reopened    atomic.Int64
	// asked is when requests that wait had all checked last (of balance.Now).
	heldCheckAt atomic.Int64

	// mu guards the making of views and what follows. It is taken before the
	// mutex of an upstream, never after.
	mu sync.Mutex
	// fixed are the members that the config names; members are all, and
	// listed is what each source listed last, nil while it has not been read.
	fixed   []Member
	members []*Member
	listed  [][]Member
	// drained has the addresses of those that are to get nothing new.
	drained map[string]bool
	// prober is set while the pool is checked.
	prober   *Prober
	released bool
}

// New returns a pool whose upstreams are not checked yet: see Start. What was
// known of them already is taken over. Release must be called in the end.
func New(o Options, fixed []Member) *Pool {
	o.Sources = slices.Clone(o.Sources) // each pool keeps its own
	p := &Pool{Options: o, fixed: fixed, listed: make([][]Member, len(o.Sources)), createdAt: time.Now(), visitors: visitorsOf(o.Token)}
	p.view.Store(new(view))
	for i := range p.Sources {
		p.listed[i] = p.Sources[i].restore()
	}
	p.syncMembers(time.Now())
	p.refreshNow()
	return p
}

// Release lets go of the upstreams, once no request can be waiting for them any
// more: those of the config before wait on through a reload. The pool can still be
// read then, but no longer learns anything. A second call does nothing.
func (p *Pool) Release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.released {
		return
	}
	p.released = true
	time.AfterFunc(p.Hold, p.releaseUpstreams)
}

func (p *Pool) releaseUpstreams() {
	p.stopHandover()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.members {
		p.drop(m)
	}
	p.members = nil
	for _, s := range p.Sources {
		s.release()
	}
	_, _ = visitorsByToken.Delete(p.Token)
}

// Start has the upstreams checked, and the sources read, by b from now on.
func (p *Pool) Start(b *Prober) {
	p.mu.Lock()
	p.prober = b
	p.running.Store(true)
	p.started.Store(true)
	for _, m := range p.members {
		p.startChecks(m, b)
	}
	p.mu.Unlock()
	for i := range p.Sources {
		b.run(func(ctx context.Context) { p.watchSource(ctx, i) })
	}
}

// Stop takes Start back, as far as upstreams go; stopping the Prober ends the
// rest. A second call does nothing.
func (p *Pool) Stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.prober == nil {
		return
	}
	p.running.Store(false)
	p.prober = nil
	p.stopChecks()
	if p.queue.size.Load() > 0 {
		p.startHandover()
	}
}

// unbind ends the checks for p. Caller must hold p.mu.
func (p *Pool) stopChecks() {
	for _, m := range p.members {
		m.stopChecks()
	}
}

// attend goes on with the checks that no running config makes any more, for those
// who still wait for their outcome. Caller must hold p.mu.
func (p *Pool) startHandover() {
	const probes = 8 // at once
	handover := NewProber(probes)
	for _, m := range p.members {
		if !m.bound() {
			p.startChecks(m, handover)
		}
	}
	p.handoverProber.Store(handover)
}

// dismissAttendant takes attend back, once nobody waits any more.
func (p *Pool) stopHandover() {
	if handover := p.handoverProber.Swap(nil); handover != nil {
		p.mu.Lock()
		p.stopChecks()
		p.mu.Unlock()
		handover.Stop()
	}
}

// refresh makes a new view after an upstream changed, and lets who waits look
// again. It returns the state of the pool if that has changed. The views of a big
// pool cost something, and nobody is given a dead upstream for want of one (see
// Member.dead): they are made after a moment, for all changes until then.
func (p *Pool) refresh() (changed State) {
	if p.refreshPending.Swap(true) {
		return "" // somebody is about to
	}
	const perMember, maxWait = time.Microsecond, time.Millisecond
	if wait := time.Duration(len(p.view.Load().members)) * perMember; wait > maxWait {
		time.AfterFunc(wait, func() { p.reportState(p.refreshNow()) })
		return ""
	}
	return p.refreshNow()
}

func (p *Pool) refreshNow() (changed State) {
	p.mu.Lock()
	p.refreshPending.Store(false) // before looking: what changes from now on is not seen
	before, now := p.view.Load(), time.Now()
	changed = p.updateView(now)
	v := p.view.Load()
	p.mu.Unlock()
	if before.down() && !v.down() {
		if !before.outage.IsZero() && len(before.serving) > 0 { // and not for want of any
			p.visitors.outageEnded(now.Sub(before.outage))
		}
		v.checkUnhealthy()
		time.AfterFunc(releaseDelay, p.queue.advance)
	} else {
		p.queue.advance()
	}
	return changed
}

// report tells the owner about a change of one upstream.
func (p *Pool) report(t *Transition) {
	if t != nil && p.running.Load() && p.OnTransition != nil {
		p.OnTransition(*t)
	}
}

// reportHold tells the owner how the waiting of a request ended, even one that waited
// through a reload. Requests may come before Start, while OnHold is still being set.
func (p *Pool) reportHold(o Outcome) {
	if p.started.Load() && p.OnHold != nil {
		p.OnHold(o)
	}
}

// reportSource tells the owner that a source failed, or is good again.
func (p *Pool) reportSource(name string, err error) {
	if p.running.Load() && p.OnSource != nil {
		p.OnSource(name, err)
	}
}

// reportRefused tells the owner what a source lists that cannot be used, if that is
// news.
func (p *Pool) reportRefused(s *Source, refused error) {
	text := ""
	if refused != nil {
		text = refused.Error()
	}
	news := text != "" && text != s.refused
	s.refused = text
	if news && p.running.Load() && p.OnRefused != nil {
		p.OnRefused(s.Name, refused)
	}
}

// reportState tells the owner about a new state of the pool, if there is one.
func (p *Pool) reportState(s State) {
	if s != "" && p.running.Load() && p.OnState != nil {
		p.OnState(s)
	}
}
