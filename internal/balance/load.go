// Package balance chooses among upstreams by what a proxy can see of their
// load: the requests that are out, and how long answers took. It knows no
// network and no lock; every method is safe for concurrent use.
package balance

import (
	"math"
	"sync/atomic"
	"time"
)

const (
	// decay is the time after which a latency sample has lost 63 % of its
	// weight (Finagle's and Linkerd's default).
	decay = 10 * time.Second

	// ErrorLatency is the least latency that a failed request counts as, so
	// that an upstream that fails fast attracts nothing (Linkerd's biaser).
	ErrorLatency = 5 * time.Second
)

// epoch makes times small enough for an int64 of nanoseconds and monotonic.
var epoch = time.Now()

// Now is the time of this package: nanoseconds since the process started.
func Now() int64 { return int64(time.Since(epoch)) }

// Load is what is seen of one upstream: its requests in flight and its latency
// as a peak-sensitive, exponentially weighted moving average (Finagle's Peak
// EWMA): it rises to a worse sample at once and falls slowly. The zero value
// knows nothing yet.
//
// A request goes through Begin, Answered and End. Between the first two it
// waits for its answer, and how long it has waited already tells of a hanging
// upstream before any timeout does.
type Load struct {
	inFlight atomic.Int64
	waiting  atomic.Int64
	// startSum is the sum of the start times of the waiting requests: their
	// mean age is now - startSum/waiting.
	startSum atomic.Int64
	// latency packs the average (float32, nanoseconds) and the time of its
	// latest sample (milliseconds, wrapping), so that both change as one.
	latency atomic.Uint64
}

// Begin counts a request that is sent at start.
func (l *Load) Begin(start int64) {
	l.inFlight.Add(1)
	l.startSum.Add(start)
	l.waiting.Add(1)
}

// Answered ends the waiting of a request that was begun at start. It must be
// called once for each Begin, with an answer or without.
func (l *Load) Answered(start int64) {
	l.waiting.Add(-1)
	l.startSum.Add(-start)
}

// End counts off a request.
func (l *Load) End() { l.inFlight.Add(-1) }

// InFlight is the number of requests that are out, answered in part or not.
func (l *Load) InFlight() int64 { return l.inFlight.Load() }

// Observe takes in the latency of one answer.
func (l *Load) Observe(now int64, latency time.Duration) {
	sample := float32(max(latency, 1))
	for {
		old := l.latency.Load()
		cost := sample
		if average, at := unpack(old); old != 0 && average > sample {
			w := weight(now, at)
			cost = average*w + sample*(1-w)
		}
		if l.latency.CompareAndSwap(old, pack(cost, now)) {
			return
		}
	}
}

// Forget drops the latency: nothing is known of it any more.
func (l *Load) Forget() { l.latency.Store(0) }

// Latency is the average as it stands; zero while nothing is known.
func (l *Load) Latency() time.Duration {
	average, _ := unpack(l.latency.Load())
	return time.Duration(average)
}

// Cost is how long a further request is to be expected to take: the latency,
// or the mean age of what still waits if that is more, times what would be in
// flight then. An upstream of which nothing is known counts with the latency
// unknown, so that it is neither flooded nor starved.
func (l *Load) Cost(now int64, unknown float64) float64 {
	latency := l.expected(now)
	if latency == 0 {
		latency = unknown
	}
	if n := l.waiting.Load(); n > 0 {
		latency = max(latency, float64(now-l.startSum.Load()/n))
	}
	return latency * float64(max(l.inFlight.Load(), 0)+1)
}

// expected is the latency average, faded by the time since its latest sample:
// an upstream that was slow long ago gets another chance.
func (l *Load) expected(now int64) float64 {
	packed := l.latency.Load()
	if packed == 0 {
		return 0
	}
	average, at := unpack(packed)
	return max(float64(average*weight(now, at)), 1)
}

// weight is what is left of a sample taken at the millisecond at.
func weight(now int64, at uint32) float32 {
	elapsed := int32(milliseconds(now) - at) // wraps after 24 days, harmlessly
	if elapsed <= 0 {
		return 1
	}
	return float32(math.Exp(-float64(elapsed) / float64(decay/time.Millisecond)))
}

func milliseconds(now int64) uint32 { return uint32(now / int64(time.Millisecond)) }

func pack(average float32, now int64) uint64 {
	return uint64(math.Float32bits(average))<<32 | uint64(milliseconds(now))
}

func unpack(packed uint64) (average float32, at uint32) {
	return math.Float32frombits(uint32(packed >> 32)), uint32(packed)
}
