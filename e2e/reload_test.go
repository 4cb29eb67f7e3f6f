package e2e

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"
)

// reloads is how often a config is taken over while requests arrive.
const reloads = 500

// TestReloads: hundreds of reloads under load, with an upstream that comes and goes, cost no client anything; nothing that
// is known is lost, and nothing is left behind.
func TestReloads(t *testing.T) {
	r := newReloaded(t)
	steady, flapping, drained, broken := r.apps[0], r.apps[1], r.apps[2], r.apps[3]
	r.drain(drained.address)
	await(t, "the broken one is ejected", func() bool {
		_, _ = r.ask(http.MethodGet, "http://"+r.site)
		return r.upstream(broken.address).State == "ejected"
	})
	load := newTraffic(t, 100, withNewConnection(getting("http://"+r.site)))
	load.goesOn(200)
	for i := range 20 { // the first reloads have Caddy itself grow
		r.again(i)
	}
	before, changes := r.footprint(), r.metric("caddy_healthpool_transitions_total")
	history := r.upstream(steady.address).History

	over := make(chan struct{})
	var flaps sync.WaitGroup
	flaps.Go(func() { flap(t, flapping, over) })
	began := time.Now()
	for i := range reloads {
		r.again(i)
		load.goesOn(2)
		if i%50 != 0 {
			continue
		}
		now := r.pool()
		if got := r.upstream(steady.address); got.State != "healthy" || len(got.History) < len(history) {
			t.Errorf("after %d reloads, the steady one is %+v, and was %q", i, got, history)
		}
		for address, state := range map[string]string{drained.address: "draining", broken.address: "ejected"} {
			if got := r.upstream(address).State; got != state {
				t.Errorf("after %d reloads, %s is %s, not %s: %+v", i, address, got, state, now)
			}
		}
		if got := r.metric("caddy_healthpool_transitions_total"); got < changes {
			t.Errorf("a counter went from %d to %d", changes, got)
		} else {
			changes = got
		}
	}
	t.Logf("%d reloads took %v", reloads, time.Since(began))
	close(over)
	flaps.Wait()
	load.stop()
	var after footprint
	defer func() { t.Logf("before: %+v, after: %+v", before, after) }()
	await(t, "all is given back", func() bool { after = r.footprint(); return after.within(before) })
	r.wantForgotten(t, steady.address)
}

// reloaded is a Caddy with four apps: one that is steady, one that flaps, one to be drained, and one whose requests fail.
type reloaded struct {
	*peer
	apps []*app
	shop string
}

// releasedAfter is how long what a config used is kept after its end: as long as its requests may be held.
const releasedAfter = 500 * time.Millisecond

func newReloaded(t *testing.T) *reloaded {
	t.Helper()
	r := new(reloaded)
	addresses := make([]string, 4)
	for i := range addresses {
		a := newApp(t, func(w http.ResponseWriter, r *http.Request) {
			if i == len(addresses)-1 && r.URL.Path != "/healthz" {
				w.WriteHeader(http.StatusInternalServerError)
			}
			_, _ = io.Copy(w, r.Body)
		})
		a.start(t)
		r.apps, addresses[i] = append(r.apps, a), a.address
	}
	r.shop = toPool(addresses, fmt.Sprintf(`
		health_uri /healthz
		health_interval 50ms
		health_down_interval 50ms
		fail_duration 10m
		lb_policy round_robin
		hold %v
		transport http {
			keepalive 1s
		}`, releasedAfter)) // core leaves a connection to idle for that long at each reload
	r.peer = newCaddy(t, "grace_period 1s", r.shop)
	r.start()
	return r
}

// again reloads a config that differs in nothing that matters.
func (r *reloaded) again(i int) {
	r.t.Helper()
	r.reload("grace_period 1s", fmt.Sprintf("%s\n\theader X-Config %d", r.shop, i))
}

// metric is the sum of a metric, over all labels.
func (p *peer) metric(name string) (sum int) {
	p.t.Helper()
	_, text := p.ask(http.MethodGet, "http://"+p.admin+"/metrics")
	for _, found := range regexp.MustCompile(`(?m)^`+name+`\{.*\} (\d+)$`).FindAllStringSubmatch(text, -1) {
		n, err := strconv.Atoi(found[1])
		if err != nil {
			p.t.Fatal(err)
		}
		sum += n
	}
	return sum
}

// flap stops and starts an app until it is over.
func flap(t *testing.T, a *app, over <-chan struct{}) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-over:
			if a.server == nil {
				a.start(t)
			}
			return
		}
		if a.server == nil {
			a.start(t)
		} else {
			a.stop()
		}
	}
}

// wantForgotten checks that nobody holds on to upstreams that no config has any more: what was known of one is gone.
func (r *reloaded) wantForgotten(t *testing.T, address string) {
	t.Helper()
	const much = 40
	if got := r.upstream(address).History; len(got) < much {
		t.Errorf("there is little to forget: %q", got)
	}
	r.reload("grace_period 1s", "respond nothing")
	time.Sleep(2 * releasedAfter)
	r.reload("grace_period 1s", r.shop)
	r.awaitUpstream(address, "healthy")
	if got := r.upstream(address).History; len(got) >= much {
		t.Errorf("what is known of an upstream outlives its configs: %q", got)
	}
}
