package health

import (
	"testing"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/cause"
)

// TestHealthCheckIntervals is Envoy's test of that name, with its thresholds and our three
// intervals: what follows from each result in turn.
func TestHealthCheckIntervals(t *testing.T) {
	p := Policy{Fails: 3, Passes: 3, Interval: time.Second, DownInterval: 2 * time.Second, EdgeInterval: 3 * time.Second}
	passed, timeout := Result{}, Result{Cause: cause.HTTPResponseTimeout}
	refused := Result{Cause: cause.ConnectionRefused, Decisive: true}
	var s State
	for i, step := range []struct {
		r      Result
		status Status
		next   float64 // seconds
	}{
		{passed, Healthy, 1}, // the first result decides alone
		{refused, Unhealthy, 2},
		{refused, Unhealthy, 2},
		{passed, Unhealthy, 3},
		{passed, Unhealthy, 3},
		{passed, Healthy, 1},
		{timeout, Healthy, 3},
		{timeout, Healthy, 3},
		{timeout, Unhealthy, 2},
		{timeout, Unhealthy, 2},
		{passed, Unhealthy, 3},
		{passed, Unhealthy, 3},
		{refused, Unhealthy, 2}, // starts over
		{passed, Unhealthy, 3},
		{passed, Unhealthy, 3},
		{passed, Healthy, 1},
		{timeout, Healthy, 3},
		{passed, Healthy, 1}, // no longer pending
	} {
		s.Observe(p, time.Unix(int64(i), 0), step.r, false)
		if got := s.Delay(p, time.Unix(int64(i), 0)).Seconds(); s.Status() != step.status || got != step.next {
			t.Errorf("after result %d: %v, next check in %v s; want %v, %v s", i+1, s.Status(), got, step.status, step.next)
		}
	}
}
