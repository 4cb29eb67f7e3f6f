package pool

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/cause"
	"github.com/healthpool/caddy-healthpool/internal/health"
)

// Passive says which requests count against an upstream.
type Passive struct {
	// MaxFails is how many consecutive failed requests eject an upstream.
	MaxFails int
	// Statuses count as failed: codes, or classes as their first digit.
	Statuses []int
	// Latency is the response time that counts as failed; 0 turns this off.
	Latency time.Duration
	// MaxEjected is the fraction of the usable upstreams that may be ejected at the same
	// time.
	MaxEjected float64
}

// isFailure reports whether a status counts as failed.
func (p *Passive) isFailure(status int) bool {
	return slices.Contains(p.Statuses, status) || slices.Contains(p.Statuses, status/100)
}

// recordOutcome counts a response for or against m.
func (p *Pool) recordOutcome(m *Member, status int, latency time.Duration) {
	switch {
	case p.isFailure(status):
		p.strike(m, cause.UnexpectedStatus, func() string { return fmt.Sprintf(", the last with status %d", status) })
	case p.Latency > 0 && latency >= p.Latency:
		p.strike(m, cause.UnexpectedStatus, func() string { return fmt.Sprintf(", the last took %v", latency.Round(time.Millisecond)) })
	case m.strikes.Load() != 0 || m.unconfirmed.Load() != 0:
		m.strikes.Store(0)
		m.unconfirmed.Store(0)
	}
}

// strike counts a failed request against m. last describes it for the ejection's detail.
func (p *Pool) strike(m *Member, c cause.Cause, last func() string) {
	if m.strikes.Add(1) >= int64(p.MaxFails) {
		p.eject(m, c, p.failedInARow()+last())
	}
}

func (p *Passive) failedInARow() string {
	return fmt.Sprintf("%d requests in a row failed", p.MaxFails)
}

func noDetail() string { return "" }

// failUnconfirmed counts a failed request at m that may never have been sent, in which case
// it must not count. The next check decides (see confirmFailures).
func (p *Pool) failUnconfirmed(m *Member) {
	m.unconfirmed.Add(1)
	if m.strikes.Load() >= int64(p.MaxFails) {
		p.eject(m, cause.ConnectionTerminated, p.failedInARow())
	}
}

// confirmFailures turns the unconfirmed failures into strikes if the check passed: then
// connections work, and the requests failed for another reason.
func (u *Upstream) confirmFailures(passed bool) {
	if n := u.unconfirmed.Swap(0); n > 0 && passed {
		u.strikes.Add(n)
	}
}

// ejectMu allows one ejection at a time, process-wide: they are rare, and two at once could
// take the last two upstreams of a pool.
var ejectMu sync.Mutex

// eject ejects m, in all pools, if each of them can spare it.
func (p *Pool) eject(m *Member, c cause.Cause, detail string) {
	if eligibility(m.eligibility.Load()) != healthy {
		return
	}
	if t, pools, changed := p.tryEject(m, c, detail); t != nil {
		m.notifyPools(pools, t, changed, 0)
	}
}

// tryEject ejects m if it may, and returns what notifyPools needs.
func (p *Pool) tryEject(m *Member, c cause.Cause, detail string) (*Transition, []*Pool, bool) {
	ejectMu.Lock()
	defer ejectMu.Unlock()
	m.mu.Lock()
	pools := slices.Clone(m.pools)
	m.mu.Unlock()
	for _, q := range pools {
		if !q.canSpareOne() {
			m.strikes.Store(0) // try again after as many further failures
			return nil, nil, false
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now, since := time.Now(), m.state.Since()
	if !m.state.Eject(p.Policy, now, c, detail, rand.Float64()) {
		return nil, nil, false
	}
	changed := m.updateEligibility()
	m.schedule(jittered(m.state.Delay(p.Policy, now)))
	return m.transition(since, now), pools, changed
}

// canSpareOne reports whether one more upstream may be ejected from p.
func (p *Pool) canSpareOne() bool {
	usable, ejected := 0, 0
	for _, m := range p.view.Load().serving {
		switch eligibility(m.eligibility.Load()) { // without locking each of many
		case healthy:
			usable++
		case soft:
			if m.status() == health.Ejected {
				usable++
				ejected++
			}
		case checking, hard:
		}
	}
	return health.MayEject(usable, ejected, p.MaxEjected)
}

func (u *Upstream) status() health.Status {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.state.Status()
}
