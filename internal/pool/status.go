package pool

import (
	"time"

	"github.com/healthpool/caddy-healthpool/internal/balance"
	"github.com/healthpool/caddy-healthpool/internal/cause"
	"github.com/healthpool/caddy-healthpool/internal/health"
	"github.com/healthpool/caddy-healthpool/internal/intent"
)

// Status is the status of a pool in the admin API.
type Status struct {
	Name    string    `json:"name"`
	State   State     `json:"state"`
	Since   time.Time `json:"since,omitzero"`
	Healthy int       `json:"healthy"`
	Total   int       `json:"total"`
	// Waiting is the number of visitors whose page polls for the pool.
	Waiting int `json:"waiting"`
	// Held is the number of requests that wait for an upstream.
	Held int64 `json:"held"`
	// Maintenance is set while the pool is in maintenance.
	Maintenance *intent.Maintenance `json:"maintenance,omitempty"`
	Upstreams   []UpstreamStatus    `json:"upstreams"`
}

// UpstreamStatus is the status of one upstream in the admin API.
type UpstreamStatus struct {
	Address string `json:"address"`
	// Tier is primary or backup.
	Tier string `json:"tier"`
	// State is checking, healthy, unhealthy, ejected or draining.
	State string `json:"state"`
	// Cause, Detail and Advice are empty while it is healthy.
	Cause     cause.Cause  `json:"cause"`
	Detail    string       `json:"detail"`
	Advice    string       `json:"advice"`
	Since     time.Time    `json:"since,omitzero"`
	LastCheck *CheckStatus `json:"last_check"`
	// History has the results of the latest checks, oldest first: P for passed, F for
	// failed.
	History   string  `json:"history"`
	Passes    int     `json:"passes"`
	Fails     int     `json:"fails"`
	InFlight  int64   `json:"in_flight"`
	LatencyMS float64 `json:"latency_ms"`
	Weight    int     `json:"weight"`
	Warming   bool    `json:"warming"`
}

// Draining is the state of an upstream that gets no new requests, whatever its health.
const Draining = "draining"

// The possible states, worst first.
var (
	States         = []State{Down, Degraded, InMaintenance, Up}
	UpstreamStates = []string{
		health.Unhealthy.String(), health.Ejected.String(), health.Checking.String(), Draining, health.Healthy.String(),
	}
)

// CheckStatus is the result of one check in the admin API.
type CheckStatus struct {
	At         time.Time `json:"at"`
	DurationMS float64   `json:"duration_ms"`
	Passed     bool      `json:"passed"`
}

// Status returns the current status of the pool.
func (p *Pool) Status() Status {
	v := p.view.Load()
	s := Status{
		Name: p.Name, State: v.state, Since: v.since,
		Total: len(v.members), Held: p.queue.size.Load(), Waiting: p.visitors.waiting(time.Now()),
		Upstreams: make([]UpstreamStatus, len(v.members)),
	}
	if maintenance := p.maintenance.Load(); maintenance != nil {
		s.State, s.Since, s.Maintenance = InMaintenance, maintenance.Since, &maintenance.Maintenance
	}
	for i, m := range v.members {
		s.Upstreams[i] = m.describe(p.SlowStart)
		if v.drained[m.Dial()] {
			s.Upstreams[i].State = Draining
		}
		if s.Upstreams[i].State == health.Healthy.String() {
			s.Healthy++
		}
	}
	return s
}

// DownSince reports whether the pool is down, and when its current state began.
func (p *Pool) DownSince() (down bool, since time.Time) {
	v := p.view.Load()
	if v.since.IsZero() {
		return v.down(), p.createdAt
	}
	return v.down(), v.since
}

func (m *Member) describe(slowStart time.Duration) UpstreamStatus {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := UpstreamStatus{
		Address: m.Dial(), Tier: "primary", Weight: m.Weight,
		State: m.state.Status().String(), Since: m.state.Since(), History: m.state.History(),
		InFlight: m.load.InFlight(), LatencyMS: milliseconds(m.load.Latency()),
		Warming: m.warm(balance.Now(), slowStart) < 1,
	}
	if m.Backup {
		s.Tier = "backup"
	}
	s.Passes, s.Fails = m.state.Streaks()
	if s.Cause, s.Detail = m.state.Failure(); s.Cause != "" {
		s.Advice = Advice(m.state.Status(), s.Cause)
	}
	if last := m.state.Last(); !last.At.IsZero() {
		s.LastCheck = &CheckStatus{At: last.At, DurationMS: milliseconds(last.Duration), Passed: last.Passed()}
	}
	return s
}

// Advice tells the owner what to look at, given the status and its cause. An ejected
// upstream passes its checks, so advice about checks would mislead.
func Advice(s health.Status, c cause.Cause) string {
	if s == health.Ejected {
		return "It passes its checks, but its requests fail. What does the app's log say of them? A check that asks for what the requests need would find this sooner."
	}
	return c.Advice()
}

// milliseconds rounds to microseconds; more digits would be noise.
func milliseconds(d time.Duration) float64 {
	return float64(d.Round(time.Microsecond)) / float64(time.Millisecond)
}
