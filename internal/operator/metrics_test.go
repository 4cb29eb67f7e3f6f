package operator

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/healthpool/caddy-healthpool/internal/health"
	"github.com/healthpool/caddy-healthpool/internal/pool"
)

// scrape collects the metrics of a config with these pools and returns how many
// observations each family has of the pool.
func scrape(t *testing.T, poolName string, pools ...string) map[string]float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(Metrics{Pools: func() (out []pool.Status) {
		for _, name := range pools {
			out = append(out, pool.Status{Name: name})
		}
		return out
	}})
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if ofPool(m, poolName) {
				out[f.GetName()] += m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return out
}

func ofPool(m *dto.Metric, name string) bool {
	for _, l := range m.GetLabel() {
		if l.GetName() == "pool" {
			return l.GetValue() == name
		}
	}
	return false
}

const (
	probesName = "caddy_healthpool_probe_duration_seconds"
	holdsName  = "caddy_healthpool_holds_total"
)

// TestMetricsOutliveAPrune: during a reload, the old config may be scraped after a pool of
// the new one has started. Its series are removed then, but must come back.
func TestMetricsOutliveAPrune(t *testing.T) {
	const name = "outlives"
	o := pool.Options{Name: name}
	addMetricHooks(&o)
	if _, ok := scrape(t, name, name)[probesName]; !ok {
		t.Error("no checks are counted from the start")
	}
	scrape(t, name)
	o.OnProbe(time.Second)
	o.OnHold(pool.Served)
	if got := scrape(t, name, name); got[probesName] != 1 || got[holdsName] != 1 {
		t.Errorf("got %v, want one check and one hold", got)
	}
	scrape(t, name)
}

// TestMetricsOfAPoolThatIsGone: what is still counted for a pool that is gone is removed at
// the next scrape.
func TestMetricsOfAPoolThatIsGone(t *testing.T) {
	const name = "gone"
	o := pool.Options{Name: name}
	addMetricHooks(&o)
	for what, late := range map[string]func(){
		"hold":  func() { o.OnHold(pool.TimedOut) },
		"check": func() { o.OnProbe(time.Second) },
		"transition": func() {
			countTransition(name, pool.Transition{Upstream: "10.0.0.1:80", To: health.Healthy}, func() pool.Status { return pool.Status{} })
		},
	} {
		scrape(t, name)
		late()
		if got := scrape(t, name); len(got) != 0 {
			t.Errorf("%s: left over: %v", what, got)
		}
	}
}

// TestPruneWhileCounting: nothing can be removed between the note that there are series
// and the counting, or they would stay for ever.
func TestPruneWhileCounting(t *testing.T) {
	const name = "raced"
	withSeries(name, "", func() {
		if labels.TryLock() {
			labels.Unlock()
			t.Error("series can be removed meanwhile")
		}
		holds.WithLabelValues(name, string(pool.Served)).Inc()
	})
	if got := scrape(t, name); len(got) != 0 {
		t.Errorf("left over: %v", got)
	}
}

// TestSeriesWithoutScrapes: upstreams that come and go leave no series behind, even if
// nobody ever scrapes.
func TestSeriesWithoutScrapes(t *testing.T) {
	const name = "unscraped"
	defer prune(nil)
	var current pool.Status
	for i := range 10 * minLimit {
		address := fmt.Sprintf("10.0.%d.%d:80", i/250, i%250)
		current = pool.Status{Name: name, Upstreams: []pool.UpstreamStatus{{Address: address}}}
		countTransition(name, pool.Transition{Upstream: address, To: health.Healthy}, func() pool.Status { return current })
	}
	series := make(chan prometheus.Metric, 10*minLimit)
	transitions.Collect(series)
	if n := len(series); n > minLimit || n != len(labels.pools[name].upstreams) {
		t.Errorf("%d series of %d upstreams", n, len(labels.pools[name].upstreams))
	}
	if got := scrape(t, name, name)["caddy_healthpool_transitions_total"]; got != 0 {
		t.Errorf("scraped %v of a pool without upstreams", got)
	}
}

// TestSeriesOfBigPools: a pool with many upstreams keeps them all, and is not searched at
// each transition.
func TestSeriesOfBigPools(t *testing.T) {
	const name, size = "big", 10 * minLimit
	defer prune(nil)
	p := pool.Status{Name: name, Upstreams: make([]pool.UpstreamStatus, size)}
	searched := 0
	for i := range size {
		p.Upstreams[i].Address = fmt.Sprint("app", i)
	}
	for range 2 {
		for _, u := range p.Upstreams {
			countTransition(name, pool.Transition{Upstream: u.Address, To: health.Healthy}, func() pool.Status { searched++; return p })
		}
	}
	if n := len(labels.pools[name].upstreams); n != size || searched > 1 {
		t.Errorf("%d upstreams, searched %d times", n, searched)
	}
}

// TestStatusOfResponses: the help says which status is counted.
func TestStatusOfResponses(t *testing.T) {
	descs := make(chan *prometheus.Desc, 1)
	responses.Describe(descs)
	if help := (<-descs).String(); !strings.Contains(help, "status is that of the outage") {
		t.Error(help)
	}
}
