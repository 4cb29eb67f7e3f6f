package operator

import (
	"fmt"

	"github.com/healthpool/caddy-healthpool/internal/plain"
	"github.com/healthpool/caddy-healthpool/internal/pool"
)

// mostListed is how many names an error lists at most.
const mostListed = 10

// NoPool is the error about an unknown pool. It lists those that exist.
func NoPool(name string, all []pool.Status) error {
	if len(all) == 0 {
		return fmt.Errorf("no pool is named %q: the running config has no healthpool", name)
	}
	names := make([]string, len(all))
	for i := range all {
		names[i] = all[i].Name
	}
	return fmt.Errorf("no pool is named %q: there is %s", name, plain.ListFirst(names, mostListed))
}

// NoUpstream is the error about an unknown upstream. It lists those of the pool.
func NoUpstream(address string, p *pool.Status) error {
	if len(p.Upstreams) == 0 {
		return fmt.Errorf("pool %s has no upstream %q: it has none now", p.Name, address)
	}
	addresses := make([]string, len(p.Upstreams))
	for i := range p.Upstreams {
		addresses[i] = p.Upstreams[i].Address
	}
	return fmt.Errorf("pool %s has no upstream %q: it has %s", p.Name, address, plain.ListFirst(addresses, mostListed))
}
