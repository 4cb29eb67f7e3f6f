package pool

import (
	"time"

	"github.com/healthpool/caddy-healthpool/internal/balance"
)

// Member is one upstream as a pool uses it: its configuration and, once it is a member, its
// shared state.
type Member struct {
	// A pick reads these of many members, so they are next to each other.
	*Upstream
	// Weight is relative to the other upstreams; MaxRequests bounds the requests in flight,
	// 0 means unlimited.
	Weight, MaxRequests int

	Key
	// HostPort is the address as reverse_proxy's placeholder shows it.
	HostPort string
	// Check runs one check.
	Check Check
	// Backup upstreams are used only while no primary one can be.
	Backup bool

	binding *binding
	// gone is when sources stopped listing it; zero while it is listed.
	gone time.Time
}

// Dial returns the address that requests go to.
func (m *Member) Dial() string { return m.Key.Address }

// full reports whether m is at MaxRequests.
func (m *Member) full() bool {
	return m.MaxRequests > 0 && m.reserved.Load() >= int64(m.MaxRequests)
}

// reserve reserves room for one request, if there is any.
func (m *Member) reserve() bool {
	if m.MaxRequests > 0 && m.reserved.Add(1) > int64(m.MaxRequests) {
		m.reserved.Add(-1)
		return false
	}
	return true
}

func (m *Member) unreserve() {
	if m.MaxRequests > 0 {
		m.reserved.Add(-1)
	}
}

// ready reports whether m can take a request now. One that was held also needs room in the
// release window.
func (m *Member) ready(wasHeld bool) bool {
	return !m.suspect() && !m.full() && (!wasHeld || m.inReleaseWindow())
}

// dead reports whether m accepts no requests, even if that is newer than the view.
func (m *Member) dead() bool { return eligibility(m.eligibility.Load()) == hard }

// choice returns m as the balancer sees it.
func (m *Member) choice(now int64, v *view) balance.Choice {
	return balance.Choice{Load: &m.load, Weight: float64(m.Weight) / v.heaviest, Warm: m.warm(now, v.slowStart)}
}

// warm returns the progress of the slow start, up to 1.
func (u *Upstream) warm(now int64, slowStart time.Duration) float64 {
	since := u.upSince.Load()
	if since == 0 {
		return 1
	}
	return balance.Warm(time.Duration(now-since), slowStart)
}

// inReleaseWindow reports whether u may get one more of the requests that were held.
func (u *Upstream) inReleaseWindow() bool { return u.load.Waiting() < u.releaseWindow.Load() }

// growReleaseWindow makes room for more held requests after one was answered. When no
// request is queued, it removes the limit.
func (u *Upstream) growReleaseWindow(queued bool) {
	switch {
	case !queued:
		if u.releaseWindow.Load() != noReleaseWindow {
			u.releaseWindow.Store(noReleaseWindow)
		}
	case u.releaseWindow.Load() != noReleaseWindow:
		u.releaseWindow.Add(1)
	}
}

// resetAfterRecovery forgets how u answered before it failed, and starts its slow start
// and, if requests were held for it, its release window. Caller must hold u.mu.
func (u *Upstream) resetAfterRecovery() {
	u.load.Reset()
	u.strikes.Store(0)
	u.unconfirmed.Store(0)
	if u.onePassIsEnough() || u.held() { // requests were held for it
		u.releaseWindow.Store(firstReleaseWindow)
	}
	u.upSince.Store(balance.Now() | 1) // 0 means never
}
