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

	// late is how old a sample may be that another overtook. What seems older
	// is a clock that has wrapped around since.
	maxReorder = time.Minute

	// errorLatency is the least latency that a failed request counts as, so
	// that an upstream that fails fast attracts nothing (Linkerd's biaser).
	errorLatency = 5 * time.Second
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
	// latency packs the average (float32, nanoseconds), whether the latest
	// sample was a failure (its sign) and the time of that (milliseconds,
	// wrapping), so that they change as one.
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

// Waiting is the number of requests that have no answer yet.
func (l *Load) Waiting() int64 { return l.waiting.Load() }

// InFlight is the number of requests that are out, answered in part or not.
func (l *Load) InFlight() int64 { return l.inFlight.Load() }

// Observe takes in the latency of an answer.
func (l *Load) Observe(now int64, latency time.Duration) {
	l.sample(now, float32(max(latency, 1)), false)
}

// Fail takes in a request that failed after latency. It counts as very slow, and
// as a failure until an answer comes.
func (l *Load) Fail(now int64, latency time.Duration) {
	l.sample(now, float32(max(latency, errorLatency)), true)
}

func (l *Load) sample(now int64, sample float32, failed bool) {
	for {
		old := l.latency.Load()
		average := sample
		if was, at, _ := unpack(old); old != 0 && was > sample {
			w := weight(now, at)
			average = was*w + sample*(1-w)
		}
		if l.latency.CompareAndSwap(old, pack(average, latest(old, now), failed)) {
			return
		}
	}
}

// Forget drops the latency: nothing is known of it any more.
func (l *Load) Reset() { l.latency.Store(0) }

// Latency is the average as it stands; zero while nothing is known.
func (l *Load) Latency() time.Duration {
	average, _, _ := unpack(l.latency.Load())
	return time.Duration(average)
}

// age is the mean age of the requests that wait for their answer, or less if
// some come or go meanwhile.
func (l *Load) age(now int64) float64 {
	n := l.waiting.Load()
	if n <= 0 {
		return 0
	}
	sum := l.startSum.Load()
	if l.waiting.Load() != n {
		return 0 // the sum is of others than the n
	}
	// Each term may wrap, as sums of times do; their difference does not.
	return float64(n*now-sum) / float64(n)
}

// expected is the latency average, faded by the time since its latest sample:
// an upstream that was slow long ago gets another chance. It is zero while
// nothing is known. The latest sample may have been a failure.
func (l *Load) expected(now int64) (latency float64, failing bool) {
	packed := l.latency.Load()
	if packed == 0 {
		return 0, false
	}
	average, at, failing := unpack(packed)
	return max(float64(average*weight(now, at)), 1), failing
}

// weight is what is left of a sample taken at the millisecond at.
func weight(now int64, at uint32) float32 {
	elapsed := since(now, at)
	if elapsed == 0 {
		return 1
	}
	return float32(math.Exp(-float64(elapsed) / float64(decay/time.Millisecond)))
}

// since is the milliseconds from at until now: none if now is the earlier one,
// and very many if that much earlier that the clock must have wrapped around.
func since(now int64, at uint32) int64 {
	elapsed := (now/int64(time.Millisecond) - int64(at)) << 32 >> 32 // as of clocks of 32 bits
	if elapsed < -int64(maxReorder/time.Millisecond) {
		return math.MaxInt32
	}
	return max(elapsed, 0)
}

// latest is the time of the latest sample: now, unless it was overtaken.
func latest(old uint64, now int64) uint32 {
	if _, at, _ := unpack(old); old != 0 && since(now, at) == 0 {
		return at
	}
	return milliseconds(now)
}

func milliseconds(now int64) uint32 {
	return uint32(now / int64(time.Millisecond) & math.MaxUint32)
}

func pack(average float32, at uint32, failed bool) uint64 {
	if failed {
		average = -average
	}
	return uint64(math.Float32bits(average))<<32 | uint64(at)
}

func unpack(packed uint64) (average float32, at uint32, failed bool) {
	average, at = math.Float32frombits(uint32(packed>>32)), uint32(packed&math.MaxUint32)
	if average < 0 {
		return -average, at, true
	}
	return average, at, false
}
