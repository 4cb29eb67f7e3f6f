package pool

import (
	"time"

	"github.com/healthpool/caddy-healthpool/internal/balance"
)

// Member is one upstream of a pool: what the config says of it, and from when it
// is enrolled, the upstream itself.
type Member struct {
	// Choosing among thousands reads these, so they are side by side.
	*Upstream
	// Weight is its share among equals; MaxRequests how many requests it may
	// have in flight, 0 for any number.
	Weight, MaxRequests int

	Key
	// HostPort is the address as the proxy's placeholder tells it.
	HostPort string
	// Check checks it.
	Check Check
	// Backup upstreams are used only while no primary one is.
	Backup bool

	binding *binding
	// gone is since when no source lists it any more.
	gone time.Time
}

// Dial is the address that requests go to.
func (m *Member) Dial() string { return m.Key.Address }

// full reports whether m has as many requests as it may.
func (m *Member) full() bool {
	return m.MaxRequests > 0 && m.reserved.Load() >= int64(m.MaxRequests)
}

// take takes one of the places that m has, if there is one left.
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

// ready reports whether m may be given a request now, or one that waited.
func (m *Member) ready(wasHeld bool) bool {
	return !m.suspect() && !m.full() && (!wasHeld || m.inReleaseWindow())
}

// dead reports whether m has turned out to take no requests, perhaps since the
// view was made.
func (m *Member) dead() bool { return eligibility(m.eligibility.Load()) == hard }

// choice is m as the balancer sees it.
func (m *Member) choice(now int64, v *view) balance.Choice {
	return balance.Choice{Load: &m.load, Weight: float64(m.Weight) / v.heaviest, Warm: m.warm(now, v.slowStart)}
}

// warm is how far m is in its slow start, up to 1.
func (u *Upstream) warm(now int64, slowStart time.Duration) float64 {
	since := u.upSince.Load()
	if since == 0 {
		return 1
	}
	return balance.Warm(time.Duration(now-since), slowStart)
}

// paced reports whether m may be given one more of the requests that waited.
func (u *Upstream) inReleaseWindow() bool { return u.load.Waiting() < u.releaseWindow.Load() }

// widen makes room for more of the requests that wait after one was answered; when
// none do, there is nothing to pace any more.
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

// comeBack makes u a newcomer: nothing is known of how it answers now, and it
// gets its share and the waiting requests step by step. Caller must hold u.mu.
func (u *Upstream) resetAfterRecovery() {
	u.load.Reset()
	u.strikes.Store(0)
	u.unconfirmed.Store(0)
	if u.onePassIsEnough() || u.held() { // requests have waited for it
		u.releaseWindow.Store(firstReleaseWindow)
	}
	u.upSince.Store(balance.Now() | 1) // 0 stands for never
}
