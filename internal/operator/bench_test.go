package operator

import (
	"fmt"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/healthpool/caddy-healthpool/internal/health"
	"github.com/healthpool/caddy-healthpool/internal/pool"
)

// BenchmarkMetrics is a scrape of a big pool.
func BenchmarkMetrics(b *testing.B) {
	p := pool.Status{Name: "bench", State: pool.Up, Upstreams: make([]pool.UpstreamStatus, 10_000)}
	for i := range p.Upstreams {
		p.Upstreams[i].Address, p.Upstreams[i].State = fmt.Sprintf("app%d:80", i), health.Healthy.String()
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(Metrics{Pools: func() []pool.Status { return []pool.Status{p} }})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := registry.Gather(); err != nil {
			b.Fatal(err)
		}
	}
}
