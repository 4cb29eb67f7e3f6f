package operator

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/healthpool/caddy-healthpool/internal/pool"
)

// labels are the pools, and their upstreams, that there may be series of.
var labels = struct {
	sync.Mutex
	pools map[string]map[string]bool
}{pools: make(map[string]map[string]bool)}

// feed calls count, which counts in series of a pool and, if one is named, an upstream,
// and notes that there are such. Count must look the series up: those of before may have
// been removed. None is removed meanwhile, so that none is left that nobody knows of.
func feed(poolName, upstream string, count func()) {
	labels.Lock()
	defer labels.Unlock()
	if labels.pools[poolName] == nil {
		labels.pools[poolName] = make(map[string]bool)
	}
	if upstream != "" {
		labels.pools[poolName][upstream] = true
	}
	count()
}

// prune removes the series of pools and upstreams that are gone.
func prune(pools []pool.Status) {
	labels.Lock()
	defer labels.Unlock()
	there := make(map[string]map[string]bool, len(pools))
	for _, p := range pools {
		there[p.Name] = make(map[string]bool, len(p.Upstreams))
		for _, u := range p.Upstreams {
			there[p.Name][u.Address] = true
		}
	}
	for name, upstreams := range labels.pools {
		if there[name] == nil {
			gone := prometheus.Labels{"pool": name}
			transitions.DeletePartialMatch(gone)
			probes.DeletePartialMatch(gone)
			holds.DeletePartialMatch(gone)
			delete(labels.pools, name)
			continue
		}
		for upstream := range upstreams {
			if !there[name][upstream] {
				transitions.DeletePartialMatch(prometheus.Labels{"pool": name, "upstream": upstream})
				delete(upstreams, upstream)
			}
		}
	}
}
