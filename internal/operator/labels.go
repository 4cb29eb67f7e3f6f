package operator

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/healthpool/caddy-healthpool/internal/pool"
)

// labels are the pools, and their upstreams, that there may be series of.
var labels = struct {
	// The mutex guards the map, and is held while series are added or removed, so that
	// no series is left that the map does not know of.
	sync.Mutex
	pools map[string]*poolLabels
}{pools: make(map[string]*poolLabels)}

// poolLabels are the upstreams of a pool that there may be series of.
type poolLabels struct {
	upstreams map[string]bool
	// limit is how many there may be before those that are gone are looked for.
	limit int
}

// minLimit is the least limit: so few series are not worth a look.
const minLimit = 100

// withSeries calls count, which counts in series of a pool and, unless it is "", an
// upstream, and notes that there are such series. Count must look them up each time: they
// may have been removed since the last time.
func withSeries(poolName, upstream string, count func()) {
	labels.Lock()
	defer labels.Unlock()
	l := labels.pools[poolName]
	if l == nil {
		l = &poolLabels{upstreams: make(map[string]bool), limit: minLimit}
		labels.pools[poolName] = l
	}
	if upstream != "" {
		l.upstreams[upstream] = true
	}
	count()
}

// limitSeries removes the series of upstreams that have left a pool once there are too
// many: a source may change addresses for ever, with nobody scraping.
func limitSeries(poolName string, status func() pool.Status) {
	labels.Lock()
	l := labels.pools[poolName]
	within := l == nil || len(l.upstreams) < l.limit
	labels.Unlock()
	if within {
		return
	}
	current := status() // which takes other locks
	labels.Lock()
	defer labels.Unlock()
	if l := labels.pools[poolName]; l != nil {
		l.pruneLocked(&current)
	}
}

// prune removes the series of pools and upstreams that are gone.
func prune(pools []pool.Status) {
	labels.Lock()
	defer labels.Unlock()
	there := make(map[string]*pool.Status, len(pools))
	for i := range pools {
		there[pools[i].Name] = &pools[i]
	}
	for name, l := range labels.pools {
		if p := there[name]; p != nil {
			l.pruneLocked(p)
			continue
		}
		gone := prometheus.Labels{"pool": name}
		transitions.DeletePartialMatch(gone)
		probes.DeletePartialMatch(gone)
		holds.DeletePartialMatch(gone)
		delete(labels.pools, name)
	}
}

// pruneLocked removes the series of upstreams that are not in the pool. Caller must hold
// labels.
func (l *poolLabels) pruneLocked(p *pool.Status) {
	there := make(map[string]bool, len(p.Upstreams))
	for _, u := range p.Upstreams {
		there[u.Address] = true
	}
	for upstream := range l.upstreams {
		if !there[upstream] {
			transitions.DeletePartialMatch(prometheus.Labels{"pool": p.Name, "upstream": upstream})
			delete(l.upstreams, upstream)
		}
	}
	l.limit = max(2*len(there), minLimit)
}
