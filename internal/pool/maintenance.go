package pool

import (
	"maps"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/intent"
)

// Intend heeds what operators want of the pool: upstreams that are drained finish
// what they have and get nothing new; a pool that is closed for maintenance gets no
// requests but those of the clients that are let through.
func (p *Pool) Apply(drained map[string]bool, maintenance *intent.Intent) {
	wasInMaintenance := p.maintenance.Swap(maintenance) != nil
	if wasInMaintenance && maintenance == nil {
		p.reopened.Store(time.Now().UnixNano())
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
	if wasInMaintenance != (maintenance != nil) {
		p.OnIntent("", maintenance != nil)
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
func (p *Pool) Maintenance() *intent.Intent { return p.maintenance.Load() }

// closedTo reports whether the pool is closed to r.
func (p *Pool) closedTo(r *Request) bool { return p.maintenance.Load() != nil && !r.Admitted }

// untilOpen is how long it takes until the planned end of the maintenance; zero if
// there is none.
func untilOpen(maintenance *intent.Intent, now time.Time) time.Duration {
	if maintenance == nil || maintenance.Until.IsZero() {
		return 0
	}
	return max(0, maintenance.Until.Sub(now))
}
