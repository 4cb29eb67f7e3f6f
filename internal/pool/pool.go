// Package pool runs pools of upstreams: it has their checks made, keeps what
// became known of them across reloads, and gives requests the best upstreams
// there are, or lets them wait for one.
package pool

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/health"
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
	// Policy has the thresholds and intervals of its checks.
	Policy health.Policy
	// FailOpen applies when nothing is healthy.
	FailOpen FailOpen
	// Hold is how long a request waits for an upstream to come back, at most,
	// counted from the beginning of the outage; HoldMax is how many may wait.
	Hold    time.Duration
	HoldMax int
	// OnTransition is told of each change of an upstream, OnState of each
	// change of the pool. Both may be nil.
	OnTransition func(Transition)
	OnState      func(State)
}

// Member is one upstream of a pool, as the config has it.
type Member struct {
	Key
	// HostPort is the address as the proxy's placeholder tells it.
	HostPort string
	// Check checks it.
	Check Check
}

// Transition is a change of what is believed of an upstream.
type Transition struct {
	Upstream      string
	To            health.Status
	Check         health.Result
	Passes, Fails int
	// After is how long it was otherwise; zero at the first check ever.
	After time.Duration
}

// Pool is a number of upstreams that serve the same thing.
type Pool struct {
	Options
	members   []Member
	upstreams []*Upstream
	byAddress map[string]*Upstream

	view atomic.Pointer[view]
	held atomic.Int64
	// running is whether a running config reports what changes here.
	running atomic.Bool

	// mu guards the making of views and what follows.
	mu       sync.Mutex
	bindings []*binding
}

// New returns a pool whose upstreams are not checked yet: see Start. What was
// known of them already is taken over. Release must be called in the end.
func New(o Options, members []Member) *Pool {
	p := &Pool{Options: o, members: members, byAddress: make(map[string]*Upstream, len(members))}
	p.view.Store(&view{changed: make(chan struct{})})
	for _, m := range members {
		u := acquire(m.Key)
		p.upstreams = append(p.upstreams, u)
		p.byAddress[m.HostPort] = u
		u.mu.Lock()
		u.pools = append(u.pools, p)
		u.mu.Unlock()
	}
	p.refresh()
	return p
}

// Release lets go of the upstreams. The pool can still be read, but no longer
// learns anything. A second call does nothing.
func (p *Pool) Release() {
	p.mu.Lock()
	members := p.members
	p.members = nil
	p.mu.Unlock()
	for i, m := range members {
		u := p.upstreams[i]
		u.mu.Lock()
		u.pools = slices.DeleteFunc(u.pools, func(o *Pool) bool { return o == p })
		u.mu.Unlock()
		_, _ = upstreams.Delete(m.Key) // there is nothing to destruct
	}
}

// Start has the upstreams checked by b from now on.
func (p *Pool) Start(b *Prober) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running.Store(true)
	for i, m := range p.members {
		bound := &binding{prober: b, check: m.Check, policy: p.Policy}
		p.bindings = append(p.bindings, bound)
		p.upstreams[i].bind(bound)
	}
}

// Stop takes Start back. A second call does nothing.
func (p *Pool) Stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running.Store(false)
	for i, b := range p.bindings {
		p.upstreams[i].unbind(b)
	}
	p.bindings = nil
}

// refresh makes a new view after an upstream changed, and wakes who waits. It
// returns the state of the pool if that has changed, too.
func (p *Pool) refresh() (changed State) {
	p.mu.Lock()
	old := p.view.Load()
	v := p.look()
	p.view.Store(v)
	close(old.changed)
	p.mu.Unlock()
	if old.down() && !v.down() {
		p.askOthers()
	}
	if v.state == old.state {
		return ""
	}
	return v.state
}

// wake lets those who wait look again although no upstream changed.
func (p *Pool) wake() {
	p.mu.Lock()
	defer p.mu.Unlock()
	old := p.view.Load()
	v := *old
	v.changed = make(chan struct{})
	p.view.Store(&v)
	close(old.changed)
}

// askOthers has every upstream that is still out checked at once: what brought
// the first one back has likely brought the others back, too.
func (p *Pool) askOthers() {
	for _, u := range p.upstreams {
		if standing(u.standing.Load()) != healthy {
			u.ask()
		}
	}
}

// report tells the owner about a change of one upstream, and of the pool if that
// has a new state.
func (p *Pool) report(t *Transition, state State) {
	if !p.running.Load() {
		return
	}
	if t != nil && p.OnTransition != nil {
		p.OnTransition(*t)
	}
	if state != "" && p.OnState != nil {
		p.OnState(state)
	}
}

// hold tells the upstreams that requests are waiting for them, or no more.
func (p *Pool) hold(n int) {
	for _, u := range p.upstreams {
		u.hold(n)
	}
}
