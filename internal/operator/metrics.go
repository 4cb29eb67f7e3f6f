package operator

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/healthpool/caddy-healthpool/internal/cause"
	"github.com/healthpool/caddy-healthpool/internal/health"
	"github.com/healthpool/caddy-healthpool/internal/pool"
	"github.com/healthpool/caddy-healthpool/internal/represent"
)

// Counters belong to the process and not to a config: they survive a reload.
var (
	transitions = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "caddy_healthpool_transitions_total",
		Help: "Changes of the state of upstreams, by the state they changed to and its cause.",
	}, []string{"pool", "upstream", "to", "cause"})
	probes = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "caddy_healthpool_probe_duration_seconds",
		Help:    "How long checks of upstreams took.",
		Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
	}, []string{"pool"})
	holds = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "caddy_healthpool_holds_total",
		Help: "Requests that waited for an upstream, by how that ended: served, timeout, canceled or overflow.",
	}, []string{"pool", "outcome"})
	responses = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "caddy_no_healthy_upstream_responses_total",
		Help: "Responses to requests that no upstream answered. The status is that of the outage, " +
			"although gRPC, event streams and preflights are sent another one.",
	}, []string{"cause", "format", "status"})
)

// Gauges are looked up at each scrape.
var (
	upstreamHealthy = prometheus.NewDesc("caddy_healthpool_upstream_healthy",
		"Whether an upstream is healthy and gets requests.", []string{"pool", "upstream"}, nil)
	poolUp = prometheus.NewDesc("caddy_healthpool_pool_up",
		"Whether a pool has an upstream that gets requests.", []string{"pool"}, nil)
	heldRequests = prometheus.NewDesc("caddy_healthpool_held_requests",
		"Requests that wait for an upstream.", []string{"pool"}, nil)
)

// Metrics are the metrics of the pools of one config. One collector has them all, so that
// a scrape first removes the series of what is gone.
type Metrics struct {
	// Pools returns the pools of the config.
	Pools func() []pool.Status
}

// Describe implements prometheus.Collector.
func (m Metrics) Describe(descs chan<- *prometheus.Desc) {
	descs <- upstreamHealthy
	descs <- poolUp
	descs <- heldRequests
	for _, c := range vectors {
		c.Describe(descs)
	}
}

// vectors are the metrics that are counted.
var vectors = []prometheus.Collector{transitions, probes, holds, responses}

// Collect implements prometheus.Collector.
func (m Metrics) Collect(metrics chan<- prometheus.Metric) {
	pools := m.Pools()
	prune(pools)
	for _, p := range pools {
		metrics <- gauge(poolUp, p.State == pool.Up || p.State == pool.Degraded, p.Name)
		metrics <- prometheus.MustNewConstMetric(heldRequests, prometheus.GaugeValue, float64(p.Held), p.Name)
		for _, u := range p.Upstreams {
			metrics <- gauge(upstreamHealthy, u.State == health.Healthy.String(), p.Name, u.Address)
		}
	}
	for _, c := range vectors {
		c.Collect(metrics)
	}
}

func gauge(desc *prometheus.Desc, on bool, labels ...string) prometheus.Metric {
	value := 0.0
	if on {
		value = 1
	}
	return prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
}

// CountResponse counts a response to a request that no upstream answered. The status is
// that of the outage, even if the client's protocol has another one sent.
func CountResponse(c cause.Cause, f represent.Format, status int) {
	responses.WithLabelValues(string(c), string(f), strconv.Itoa(status)).Inc()
}

// countTransition counts a change of an upstream. The status is that of its pool.
func countTransition(poolName string, t pool.Transition, status func() pool.Status) {
	limitSeries(poolName, status)
	withSeries(poolName, t.Upstream, func() {
		transitions.WithLabelValues(poolName, t.Upstream, t.To.String(), string(t.Cause)).Inc()
	})
}

// addMetricHooks has a pool count its checks and holds.
func addMetricHooks(o *pool.Options) {
	name := o.Name
	withSeries(name, "", func() { probes.WithLabelValues(name) }) // so that the first scrape has it
	o.OnProbe = func(d time.Duration) {
		withSeries(name, "", func() { probes.WithLabelValues(name).Observe(d.Seconds()) })
	}
	o.OnHold = func(outcome pool.Outcome) {
		withSeries(name, "", func() { holds.WithLabelValues(name, string(outcome)).Inc() })
	}
}
