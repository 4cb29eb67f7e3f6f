package healthpool_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// series returns our metrics as Caddy serves them, as "name{label=value,…}", with the
// parser of Prometheus itself.
func (s *site) series() map[string]float64 {
	s.t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(s.adminDo(http.MethodGet, "/metrics").body))
	if err != nil {
		s.t.Fatal(err)
	}
	out := make(map[string]float64)
	for name, f := range families {
		if !strings.HasPrefix(name, "caddy_healthpool_") && !strings.HasPrefix(name, "caddy_no_healthy_upstream_") {
			continue
		}
		for _, m := range f.GetMetric() {
			labels := make([]string, len(m.GetLabel()))
			for i, l := range m.GetLabel() {
				labels[i] = l.GetName() + "=" + l.GetValue()
			}
			out[name+"{"+strings.Join(labels, ",")+"}"] = value(m)
		}
	}
	return out
}

func value(m *dto.Metric) float64 {
	switch {
	case m.Gauge != nil:
		return m.Gauge.GetValue()
	case m.Counter != nil:
		return m.Counter.GetValue()
	}
	return float64(m.Histogram.GetSampleCount())
}

// TestMetrics checks that the metrics are those of the running config: after a reload,
// series of what is gone are gone, and the others count on.
func TestMetrics(t *testing.T) {
	b, dead := newBackend(t, "hello"), deadAddress(t)
	s := run(t, fmt.Sprintf("healthpool %s %s {\nname metered\nhold off\n}", b.addr, dead))
	up := "caddy_healthpool_upstream_healthy{pool=metered,upstream=" + b.addr + "}"
	gone := "caddy_healthpool_transitions_total{cause=connection_refused,pool=metered,to=unhealthy,upstream=" + dead + "}"
	var m map[string]float64
	await(t, "both are known", func() bool {
		m = s.series()
		return m[up] == 1 && m[gone] == 1 && m["caddy_healthpool_probe_duration_seconds{pool=metered}"] >= 2
	})
	expect(t, m, map[string]bool{
		"pool": m["caddy_healthpool_pool_up{pool=metered}"] == 1,
		"held": m["caddy_healthpool_held_requests{pool=metered}"] == 0,
		"dead": m["caddy_healthpool_upstream_healthy{pool=metered,upstream="+dead+"}"] == 0,
	})
	s.order(http.MethodPost, "metered/maintenance", "")
	s.get("/", acceptProblem...)
	counted := "caddy_no_healthy_upstream_responses_total{cause=destination_unavailable,format=problem+json,status=503}"
	before := s.series()
	if before[counted] < 1 || before["caddy_healthpool_pool_up{pool=metered}"] != 0 {
		t.Errorf("closed: %v", before)
	}
	if err := s.load("", fmt.Sprintf("healthpool %s {\nname metered\n}", b.addr)); err != nil {
		t.Fatal(err)
	}
	after := s.series()
	probes := "caddy_healthpool_probe_duration_seconds{pool=metered}"
	expect(t, after, map[string]bool{
		"upstream": after[up] == 1, "responses": after[counted] == before[counted], "probes": after[probes] >= before[probes],
	})
	for name := range after {
		if strings.Contains(name, dead) {
			t.Errorf("%s is of an upstream that is gone", name)
		}
	}
	if err := s.load("", "respond hello"); err != nil {
		t.Fatal(err)
	}
	for name := range s.series() {
		if strings.HasPrefix(name, "caddy_healthpool_") {
			t.Errorf("%s is of a pool that is gone", name)
		}
	}
}

// TestMetricsOfHolds checks that each held request counts once, with its outcome.
func TestMetricsOfHolds(t *testing.T) {
	b := newBackend(t, "hello")
	s := run(t, "healthpool "+b.addr+" {\nname held\nhold 300ms\n}")
	await(t, "the pool is up", func() bool { return s.get("/").status == http.StatusOK })
	b.stop()
	s.get("/")
	b.start()
	await(t, "the pool is up", func() bool { return s.get("/").status == http.StatusOK })
	if n := s.series()["caddy_healthpool_holds_total{outcome=timeout,pool=held}"]; n != 1 {
		t.Errorf("%v timed out: %v", n, s.series())
	}
}

// listener is a handler of events.
type listener struct {
	mu   sync.Mutex
	seen []string
}

func (*listener) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "events.handlers.test_listener", New: func() caddy.Module { return heard }}
}

func (*listener) UnmarshalCaddyfile(*caddyfile.Dispenser) error { return nil }

func (l *listener) Handle(_ context.Context, e caddy.Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	data, _ := json.Marshal(e.Data)
	l.seen = append(l.seen, e.Name()+" "+string(data))
	return nil
}

func (l *listener) has(want string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Contains(l.seen, want)
}

// TestEvents checks that there are the same events as from core's checks, and those of a
// pool that goes down and comes back.
func TestEvents(t *testing.T) {
	b := newBackend(t, "hello")
	const global = "events {\non healthy test_listener\non unhealthy test_listener\non pool_up test_listener\non pool_down test_listener\n}"
	s := runWith(t, global, "healthpool "+b.addr+" {\nname evented\nhold off\nhealth_interval 50ms\n}")
	expectEvent := func(name, rest string) {
		t.Helper()
		want := name + " {" + rest + "}"
		await(t, want, func() bool { return heard.has(want) })
	}
	upstream := func(cause string) string {
		return fmt.Sprintf(`"cause":%q,"host":%q,"pool":"evented"`, cause, b.addr)
	}
	expectEvent("healthy", upstream(""))
	b.stop()
	expectEvent("unhealthy", upstream("connection_refused"))
	expectEvent("pool_down", `"pool":"evented","state":"down"`)
	b.start()
	expectEvent("pool_up", `"pool":"evented","state":"up"`)
	s.stop()
}

// reloader is a handler of events that does something once.
type reloader struct{ act chan func() }

func (*reloader) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "events.handlers.test_reloader", New: func() caddy.Module { return reloads }}
}

func (*reloader) UnmarshalCaddyfile(*caddyfile.Dispenser) error { return nil }

func (r *reloader) Handle(context.Context, caddy.Event) error {
	select {
	case act := <-r.act:
		act()
	default:
	}
	return nil
}

// TestEventsMayReload checks that a handler may have Caddy reload, and wait for it, as
// `caddy reload` does.
func TestEventsMayReload(t *testing.T) {
	b := newBackend(t, "hello")
	const global = "events {\non unhealthy test_reloader\n}"
	s := runWith(t, global, "healthpool "+b.addr+" {\nhold off\nhealth_interval 50ms\n}")
	s.awaitPool("up")
	next, err := adapt(s.config(global, "respond reloaded"))
	if err != nil {
		t.Fatal(err)
	}
	handled := make(chan error, 1)
	reloads.act <- func() {
		loaded := make(chan error, 1)
		go func() { loaded <- caddy.Load(next, true) }()
		select { // gives up in the end, so that a deadlock does not last
		case err := <-loaded:
			handled <- err
		case <-time.After(patience):
			handled <- errors.New("the reload waits for the handler")
		}
	}
	b.stop()
	if err := <-handled; err != nil {
		t.Fatal(err)
	}
	s.awaitAnswer("/", func(r response) bool { return r.body == "reloaded" })
}

var (
	heard   = new(listener)
	reloads = &reloader{act: make(chan func(), 1)}
)

func init() {
	caddy.RegisterModule(heard)
	caddy.RegisterModule(reloads)
}

var (
	_ caddyevents.Handler = (*listener)(nil)
	_ caddyevents.Handler = (*reloader)(nil)
)
