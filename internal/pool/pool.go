// Package pool runs pools of upstreams: it schedules their checks, keeps their state across
// reloads, and gives each request the best upstreams or lets it wait for one.
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

// FailOpen is what a pool does when no upstream is healthy.
type FailOpen string

const (
	// FailOpenSlow uses upstreams that still answer, if late or with errors.
	FailOpenSlow FailOpen = "slow"
	// FailOpenNever uses healthy upstreams only.
	FailOpenNever FailOpen = "never"
	// FailOpenAlways uses all.
	FailOpenAlways FailOpen = "always"
)

// Options configures a pool.
type Options struct {
	// Name is the pool's name in status, metrics and logs.
	Name string
	// Token is the name by which pages poll the pool.
	Token string
	// Policy has the thresholds and intervals of the checks.
	Policy health.Policy
	// FailOpen applies when nothing is healthy.
	FailOpen FailOpen
	// Hold is how long a request may wait for an upstream to come back, counted from the
	// beginning of the outage; HoldMax is how many may wait.
	Hold    time.Duration
	HoldMax int
	// Passive says which requests count against an upstream.
	Passive
	// SlowStart is how long a recovered upstream takes to reach its full share; 0 turns it
	// off.
	SlowStart time.Duration
	// Sources are read for further upstreams every Refresh. An upstream that is no longer
	// listed stays for Grace while it is healthy.
	Sources []Source
	Refresh time.Duration
	Grace   time.Duration
	// The hooks may be nil, and are called only while the pool runs, except OnHold.
	// OnTransition gets each change of an upstream, OnState each change of the pool.
	// OnSource gets each source that starts to fail, or works again (nil), and
	// OnRefused the listed upstreams that are invalid. OnIntent gets each upstream
	// that is drained or no longer so and, without an upstream, the beginning and the
	// end of maintenance. OnProbe gets the duration of each check, OnHold the outcome
	// of each held request.
	OnTransition func(Transition)
	OnState      func(State)
	OnSource     func(source string, err error)
	OnRefused    func(source string, err error)
	OnIntent     func(upstream string, on bool)
	OnProbe      func(time.Duration)
	OnHold       func(Outcome)
}

// Outcome is how the wait of a held request ended.
type Outcome string

// The outcomes of a held request.
const (
	// Served: it got an upstream in time.
	Served Outcome = "served"
	// TimedOut: it did not.
	TimedOut Outcome = "timeout"
	// ClientLeft: the client left first.
	ClientLeft Outcome = "canceled"
	// Overflow: HoldMax requests were waiting, so it did not wait.
	Overflow Outcome = "overflow"
)

// Transition is a change of an upstream's status.
type Transition struct {
	Upstream string
	To       health.Status
	// Cause and Detail say why it is not healthy.
	Cause         cause.Cause
	Detail        string
	CheckDuration time.Duration
	Passes, Fails int
	// After is how long the previous status lasted; 0 for the first check ever.
	After time.Duration
}

// Pool is a set of upstreams that serve the same content.
type Pool struct {
	Options

	view     atomic.Pointer[view]
	queue    queue
	visitors *visitors
	// refreshPending is whether a new view is about to be built.
	refreshPending atomic.Bool
	// createdAt is when the pool was created.
	createdAt time.Time
	// handoverProber runs the checks for requests that wait through a reload.
	handoverProber atomic.Pointer[Prober]
	// running is whether a running config uses the pool; started, whether one ever did.
	running, started atomic.Bool
	// maintenance is set while the pool is in maintenance; reopened is when it last ended,
	// in Unix nanoseconds.
	maintenance atomic.Pointer[intent.Intent]
	reopened    atomic.Int64
	// heldCheckAt is when held requests last triggered checks of all upstreams, in
	// balance.Now time.
	heldCheckAt atomic.Int64

	// mu guards building views and the fields below. It is locked before the mutex of an
	// upstream, never after.
	mu sync.Mutex
	// fixed are the members from the config; members are all, and listed is what each
	// source listed last, nil before the first read.
	fixed   []Member
	members []*Member
	listed  [][]Member
	// drained has the addresses that get no new requests.
	drained map[string]bool
	// prober is set while the pool runs.
	prober   *Prober
	released bool
}

// New returns a pool whose checks have not started: see Start. It takes over the known
// state of its upstreams. The caller must call Release in the end.
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

// Release releases the upstreams after Hold, when no request can be waiting for them:
// requests of the old config wait through a reload. The pool can still be read then, but is
// no longer updated. Further calls do nothing.
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

// Start starts checking the upstreams and reading the sources, in b.
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

// Stop unbinds the upstreams; stopping the Prober ends the rest. Further calls do nothing.
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

// stopChecks ends the checks for p. Caller must hold p.mu.
func (p *Pool) stopChecks() {
	for _, m := range p.members {
		m.stopChecks()
	}
}

// startHandover continues the checks that no running config makes any more, for requests
// that still wait. Caller must hold p.mu.
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

// stopHandover undoes startHandover, once no request waits.
func (p *Pool) stopHandover() {
	if handover := p.handoverProber.Swap(nil); handover != nil {
		p.mu.Lock()
		p.stopChecks()
		p.mu.Unlock()
		handover.Stop()
	}
}

// refresh rebuilds the view after a change and wakes the queue. It returns the new state if
// that changed. Building a large view is expensive, so changes are batched for a moment;
// meanwhile Member.dead keeps dead upstreams from being picked.
func (p *Pool) refresh() (changed State) {
	if p.refreshPending.Swap(true) {
		return "" // will be done soon
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
	p.refreshPending.Store(false) // before reading: later changes need another refresh
	before, now := p.view.Load(), time.Now()
	changed = p.updateView(now)
	v := p.view.Load()
	p.mu.Unlock()
	if before.down() && !v.down() {
		if !before.outage.IsZero() && len(before.serving) > 0 { // not for lack of upstreams
			p.visitors.outageEnded(now.Sub(before.outage))
		}
		v.checkUnhealthy()
		time.AfterFunc(releaseDelay, p.queue.advance)
	} else {
		p.queue.advance()
	}
	return changed
}

// report reports a transition of an upstream.
func (p *Pool) report(t *Transition) {
	if t != nil && p.running.Load() && p.OnTransition != nil {
		p.OnTransition(*t)
	}
}

// reportHold reports how the wait of a request ended, even if it waited through a reload.
// Requests may come before Start, while OnHold is still being set.
func (p *Pool) reportHold(o Outcome) {
	if p.started.Load() && p.OnHold != nil {
		p.OnHold(o)
	}
}

// reportSource reports that a source fails or works again.
func (p *Pool) reportSource(name string, err error) {
	if p.running.Load() && p.OnSource != nil {
		p.OnSource(name, err)
	}
}

// reportRefused reports the invalid upstreams that a source lists, unless they were
// reported before.
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

// reportState reports a new state of the pool; empty means unchanged.
func (p *Pool) reportState(s State) {
	if s != "" && p.running.Load() && p.OnState != nil {
		p.OnState(s)
	}
}
