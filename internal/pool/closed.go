package pool

import (
	"maps"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/intent"
)

// Intend heeds what operators want of the pool: upstreams that are drained finish
// what they have and get nothing new; a pool that is closed for maintenance gets no
// requests but those of the clients that are let through.
func (p *Pool) Intend(drained map[string]bool, closed *intent.Intent) {
	wasClosed := p.closed.Swap(closed) != nil
	if wasClosed && closed == nil {
		p.opened.Store(time.Now().UnixNano())
	}
	p.mu.Lock()
	before := p.drained
	p.drained = drained
	p.mu.Unlock()
	if !maps.Equal(before, drained) {
		p.reportState(p.refreshNow())
	}
	p.queue.advance() // who waits for a pool that was closed is told so
	if !p.running.Load() || p.OnIntent == nil {
		return
	}
	if wasClosed != (closed != nil) {
		p.OnIntent("", closed != nil)
	}
	for address := range drained {
		if !before[address] {
			p.OnIntent(address, true)
		}
	}
	for address := range before {
		if !drained[address] {
			p.OnIntent(address, false)
		}
	}
}

// Maintenance is what the pool is closed for; nil while it is not.
func (p *Pool) Maintenance() *intent.Intent { return p.closed.Load() }

// closedTo reports whether the pool is closed to r.
func (p *Pool) closedTo(r *Request) bool { return p.closed.Load() != nil && !r.Admitted }

// untilOpen is how long it takes until the planned end of the maintenance; zero if
// there is none.
func untilOpen(closed *intent.Intent, now time.Time) time.Duration {
	if closed == nil || closed.Until.IsZero() {
		return 0
	}
	return max(0, closed.Until.Sub(now))
}
