package pool

import (
	"slices"
	"time"
)

// syncMembers sets the members to what the config and the sources list: the fixed ones
// first, then those of each source, each address once. Members that stay keep their state;
// new ones are checked before their first request; those no longer listed stay for Grace
// while they are healthy, because a source may be wrong.
func (p *Pool) syncMembers(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.released {
		return
	}
	before := p.members
	known := make(map[string]*Member, len(before)) // by address
	for _, m := range before {
		known[m.Key.Address] = m
	}
	seen := make(map[string]bool, len(before))
	p.members = make([]*Member, 0, len(before))
	for _, list := range slices.Concat([][]Member{p.fixed}, p.listed) {
		for i := range list {
			address := list[i].Key.Address
			if !seen[address] {
				seen[address] = true
				p.members = append(p.members, p.keepOrAdd(known[address], &list[i]))
			}
		}
	}
	for _, m := range before {
		if seen[m.Key.Address] {
			continue
		}
		if m.gone.IsZero() {
			m.gone = now
		}
		p.members = append(p.members, m)
	}
}

// updateView replaces the view, and returns the new state if it changed. Caller must hold
// p.mu.
func (p *Pool) updateView(now time.Time) (changed State) {
	p.dropGone(now)
	old, v := p.view.Load(), p.buildView(now)
	p.view.Store(v)
	if v.state == old.state {
		return ""
	}
	return v.state
}

// keepOrAdd returns the existing member of that address if it is listed unchanged, or else
// a new one. Caller must hold p.mu.
func (p *Pool) keepOrAdd(old, listed *Member) *Member {
	if old != nil && old.Key == listed.Key && old.Weight == listed.Weight &&
		old.MaxRequests == listed.MaxRequests && old.Backup == listed.Backup {
		old.gone = time.Time{}
		return old
	}
	m := new(Member)
	*m = *listed
	m.Upstream = acquire(m.Key)
	m.mu.Lock()
	m.pools = append(m.pools, p)
	m.mu.Unlock()
	p.startChecks(m, p.prober)
	if old != nil { // after acquiring, so that shared state survives
		p.drop(old)
	}
	return m
}

// startChecks has b check m, unless m is being checked for p already; b may be nil. Caller
// must hold p.mu.
func (p *Pool) startChecks(m *Member, b *Prober) {
	if b != nil && m.binding == nil {
		m.binding = &binding{prober: b, check: m.Check, policy: p.Policy}
		m.bind(m.binding)
	}
}

// stopChecks undoes startChecks.
func (m *Member) stopChecks() {
	if m.binding != nil {
		m.unbind(m.binding)
		m.binding = nil
	}
}

// dropGone drops the members that are no longer listed and not healthy, or have been gone
// for longer than Grace. Caller must hold p.mu.
func (p *Pool) dropGone(now time.Time) {
	if p.released {
		return // releaseUpstreams drops them all
	}
	p.members = slices.DeleteFunc(p.members, func(m *Member) bool {
		if m.gone.IsZero() || eligibility(m.eligibility.Load()) == healthy && now.Sub(m.gone) < p.Grace {
			return false
		}
		p.drop(m)
		return true
	})
}

// drop releases the upstream of m. Caller must hold p.mu.
func (p *Pool) drop(m *Member) {
	m.mu.Lock()
	if i := slices.Index(m.pools, p); i >= 0 {
		m.pools = slices.Delete(slices.Clone(m.pools), i, i+1)
	}
	m.mu.Unlock()
	m.stopChecks()
	_, _ = upstreams.Delete(m.Key) // there is nothing to destruct
}
