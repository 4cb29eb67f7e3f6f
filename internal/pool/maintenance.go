package pool

import (
	"maps"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/intent"
)

// Apply applies what operators want of the pool. Drained upstreams finish their requests
// and get no new ones; a pool in maintenance gets only the requests of clients that are let
// through.
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
	p.queue.advance() // wake waiting requests so that they get the maintenance page
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

// Maintenance returns why the pool is in maintenance; nil if it is not.
func (p *Pool) Maintenance() *intent.Intent { return p.maintenance.Load() }

// closedTo reports whether maintenance keeps r from the pool.
func (p *Pool) closedTo(r *Request) bool { return p.maintenance.Load() != nil && !r.Admitted }

// untilOpen returns the time until the planned end of the maintenance; 0 if there is none.
func untilOpen(maintenance *intent.Intent, now time.Time) time.Duration {
	if maintenance == nil || maintenance.Until.IsZero() {
		return 0
	}
	return max(0, maintenance.Until.Sub(now))
}
