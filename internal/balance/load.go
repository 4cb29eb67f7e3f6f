// Package balance picks upstreams by the load that a proxy can see: requests in flight and
// latency. It does no I/O and takes no locks; all methods are safe for concurrent use.
package balance

import (
	"math"
	"sync/atomic"
	"time"
)

const (
	// decay is the time after which a latency sample has lost 63 % of its weight (the
	// default of Finagle and Linkerd).
	decay = 10 * time.Second

	// maxReorder is how much older than the latest sample another one may be. If it seems
	// older, the clock has wrapped around.
	maxReorder = time.Minute

	// errorLatency is the minimum latency that a failed request counts as, so that an
	// upstream that fails fast attracts no requests (Linkerd's biaser).
	errorLatency = 5 * time.Second
)

// epoch makes times monotonic and small enough for nanoseconds in an int64.
var epoch = time.Now()

// Now returns the time in nanoseconds since the process started.
func Now() int64 { return int64(time.Since(epoch)) }

// Load is the observed load of one upstream: its requests in flight and its latency as a
// peak-sensitive, exponentially weighted moving average (Finagle's Peak EWMA), which rises
// to a worse sample at once and falls slowly. The zero value has no samples yet.
//
// A request goes through Begin, Answered and End. Between the first two it waits for its
// answer, and the time it has waited reveals a hanging upstream before any timeout does.
type Load struct {
	inFlight atomic.Int64
	waiting  atomic.Int64
	// startSum is the sum of the start times of the waiting requests: their mean age is now
	// - startSum/waiting.
	startSum atomic.Int64
	// latency packs the average (float32, nanoseconds), whether the latest sample was a
	// failure (its sign) and the sample's time (milliseconds, wrapping), so that they
	// change together.
	latency atomic.Uint64
}

// Begin counts a request that was sent at start.
func (l *Load) Begin(start int64) {
	l.inFlight.Add(1)
	l.startSum.Add(start)
	l.waiting.Add(1)
}

// Answered ends the wait of a request that was sent at start. It must be called once for
// each Begin, answer or not.
func (l *Load) Answered(start int64) {
	l.waiting.Add(-1)
	l.startSum.Add(-start)
}

// End ends a request.
func (l *Load) End() { l.inFlight.Add(-1) }

// Waiting returns the number of requests without an answer.
func (l *Load) Waiting() int64 { return l.waiting.Load() }

// InFlight returns the number of requests that have not ended, answered or not.
func (l *Load) InFlight() int64 { return l.inFlight.Load() }

// Observe adds the latency of an answer.
func (l *Load) Observe(now int64, latency time.Duration) {
	l.sample(now, float32(max(latency, 1)), false)
}

// Fail adds a failed request. It counts as very slow, and the upstream as failing until the
// next answer.
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

// Reset forgets the latency.
func (l *Load) Reset() { l.latency.Store(0) }

// Latency returns the average; zero while it is unknown.
func (l *Load) Latency() time.Duration {
	average, _, _ := unpack(l.latency.Load())
	return time.Duration(average)
}

// age returns the mean age of the waiting requests. It may be lower while requests come and
// go.
func (l *Load) age(now int64) float64 {
	n := l.waiting.Load()
	if n <= 0 {
		return 0
	}
	sum := l.startSum.Load()
	if l.waiting.Load() != n {
		return 0 // the sum does not match n
	}
	// Each term may overflow; their difference does not.
	return float64(n*now-sum) / float64(n)
}

// expected returns the average, decayed by the time since the latest sample, so that an
// upstream that was slow long ago gets another chance. It is zero while unknown. failing is
// whether the latest sample was a failure.
func (l *Load) expected(now int64) (latency float64, failing bool) {
	packed := l.latency.Load()
	if packed == 0 {
		return 0, false
	}
	average, at, failing := unpack(packed)
	return max(float64(average*weight(now, at)), 1), failing
}

// weight returns the remaining weight of a sample taken at the millisecond at.
func weight(now int64, at uint32) float32 {
	elapsed := since(now, at)
	if elapsed == 0 {
		return 1
	}
	return float32(math.Exp(-float64(elapsed) / float64(decay/time.Millisecond)))
}

// since returns the milliseconds from at to now: 0 if now is slightly earlier, and a huge
// number if it is so much earlier that the clock must have wrapped around.
func since(now int64, at uint32) int64 {
	elapsed := (now/int64(time.Millisecond) - int64(at)) << 32 >> 32 // as 32-bit clocks
	if elapsed < -int64(maxReorder/time.Millisecond) {
		return math.MaxInt32
	}
	return max(elapsed, 0)
}

// latest returns the time of the latest sample: now, unless an earlier call had a later
// one.
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
