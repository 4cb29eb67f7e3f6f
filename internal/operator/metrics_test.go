package operator

import (
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

// TestMetricsOutliveAPrune: the config before, which does not know a pool, is asked for
// its metrics after the pool has begun. What is counted later must show.
func TestMetricsOutliveAPrune(t *testing.T) {
	const name = "outlives"
	o := pool.Options{Name: name}
	measure(&o)
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

// TestMetricsOfAPoolThatIsGone: what is counted late, for a pool that is gone, goes at
// the next scrape, whatever it is.
func TestMetricsOfAPoolThatIsGone(t *testing.T) {
	const name = "gone"
	o := pool.Options{Name: name}
	measure(&o)
	for what, late := range map[string]func(){
		"hold":       func() { o.OnHold(pool.TimedOut) },
		"check":      func() { o.OnProbe(time.Second) },
		"transition": func() { countTransition(name, pool.Transition{Upstream: "10.0.0.1:80", To: health.Healthy}) },
	} {
		scrape(t, name)
		late()
		if got := scrape(t, name); len(got) != 0 {
			t.Errorf("%s: left over: %v", what, got)
		}
	}
}

// TestPruneWhileCounting: nothing is removed between the note that there are series and
// the counting, or they would stay for ever.
func TestPruneWhileCounting(t *testing.T) {
	const name = "raced"
	pruned := make(chan bool)
	feed(name, "", func() {
		go func() { prune(nil); close(pruned) }()
		select {
		case <-pruned:
			t.Error("pruned meanwhile")
		case <-time.After(50 * time.Millisecond):
		}
		holds.WithLabelValues(name, string(pool.Served)).Inc()
	})
	<-pruned
	if got := scrape(t, name); len(got) != 0 {
		t.Errorf("left over: %v", got)
	}
}

// TestStatusOfResponses: owners are told which status is counted.
func TestStatusOfResponses(t *testing.T) {
	descs := make(chan *prometheus.Desc, 1)
	responses.Describe(descs)
	if help := (<-descs).String(); !strings.Contains(help, "status is that of the outage") {
		t.Error(help)
	}
}
