package balance

import (
	"math"
	"sync"
	"testing"
	"time"
)

const ms = int64(time.Millisecond)

// at returns a time of this package, in milliseconds. Like real ones, it does not begin at
// zero.
func at(milliseconds int64) int64 { return (1000 + milliseconds) * ms }

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > want*0.001 {
		t.Errorf("%s: got %v, want %v", what, time.Duration(got), time.Duration(want))
	}
}

func TestLatencyRisesAtOnceAndFallsSlowly(t *testing.T) {
	var l Load
	if l.Latency() != 0 {
		t.Error("knows a latency before any sample")
	}
	l.Observe(at(0), 10*time.Millisecond)
	near(t, "first sample", float64(l.Latency()), 10*float64(ms))
	l.Observe(at(0), 100*time.Millisecond)
	near(t, "a worse sample", float64(l.Latency()), 100*float64(ms))
	l.Observe(at(10_000), 0)
	near(t, "a better sample, one decay later", float64(l.Latency()), 100*float64(ms)/math.E)
	l.Observe(at(10_000), 0)
	near(t, "another at the same time", float64(l.Latency()), 100*float64(ms)/math.E)
	l.Observe(at(5_000), 0)
	near(t, "a sample that comes late", float64(l.Latency()), 100*float64(ms)/math.E)
	l.Reset()
	if l.Latency() != 0 {
		t.Error("remembers after Forget")
	}
}

// costOf returns the cost of a load next to one with a known latency.
func costOf(l *Load, now int64, peer time.Duration) float64 {
	var other Load
	other.Observe(now, peer)
	var c candidates
	c.add(0, now, l, 1)
	c.add(1, now, &other, 1)
	c.prepare(1)
	return c.cost(0, 1)
}

func TestCost(t *testing.T) {
	var l Load
	cost := func(now int64) float64 { return costOf(&l, now, 7*time.Millisecond) }
	near(t, "unknown", cost(at(0)), 7*float64(ms))
	l.Observe(at(0), 10*time.Millisecond)
	near(t, "idle", cost(at(0)), 10*float64(ms))
	l.Begin(at(0))
	near(t, "one in flight", cost(at(0)), 2*10*float64(ms))
	near(t, "one that hangs", cost(at(1000)), 2*1000*float64(ms))
	l.Begin(at(1000))
	near(t, "the mean age of two", cost(at(1000)), 3*500*float64(ms))
	l.Answered(at(0))
	l.Answered(at(1000))
	near(t, "two that were answered but stream on", cost(at(1000)), 3*10*float64(ms)*math.Exp(-0.1))
	l.End()
	l.End()
	if l.InFlight() != 0 {
		t.Errorf("%d in flight at the end", l.InFlight())
	}
	near(t, "an old latency fades", cost(at(100_000)), 10*float64(ms)*math.Exp(-10))
}

// TestSamples covers the edge cases of the moving average.
func TestSamples(t *testing.T) {
	type sample struct {
		at      int64 // milliseconds
		latency time.Duration
	}
	const day = 24 * 60 * 60 * 1000
	for _, tt := range []struct {
		name    string
		samples []sample
		now     int64
		want    float64 // milliseconds
	}{
		{"nothing known", nil, 0, 0},
		{"from unknown", []sample{{0, 30e6}}, 0, 30},
		{"from unknown by nothing", []sample{{0, 0}}, 0, 1e-6},
		{"by less than nothing", []sample{{0, -5e6}}, 0, 1e-6},
		{"a peak at the same time", []sample{{0, 30e6}, {0, 90e6}}, 0, 90},
		{"less at the same time", []sample{{0, 90e6}, {0, 30e6}}, 0, 90},
		{"a peak replaces what decayed", []sample{{0, 30e6}, {5000, 90e6}}, 5000, 90},
		{"less than what is left", []sample{{0, 100e6}, {10_000, 20e6}}, 10_000, 100/math.E + 20*(1-1/math.E)},
		{"more than what is left, less than the peak", []sample{{0, 100e6}, {10_000, 90e6}}, 10_000, 100/math.E + 90*(1-1/math.E)},
		{"a stale one that is less", []sample{{5000, 90e6}, {1000, 30e6}}, 5000, 90},
		{"a stale one that is less, later", []sample{{5000, 90e6}, {1000, 30e6}}, 15_000, 90 / math.E},
		{"a stale peak does not set the time back", []sample{{5000, 30e6}, {1000, 90e6}}, 15_000, 90 / math.E},
		{"asked for the past", []sample{{5000, 30e6}}, 1000, 30},
		{"after very long", []sample{{0, 90e6}}, 3600_000, 1e-6},
		{"a sample after very long", []sample{{0, 90e6}, {3600_000, 10e6}}, 3600_000, 10},
		{"a sample after the clock wrapped around", []sample{{0, 90e6}, {30 * day, 10e6}}, 30 * day, 10},
		{"and one more", []sample{{0, 90e6}, {30 * day, 50e6}, {30*day + 10_000, 1}}, 30*day + 10_000, 50 / math.E},
		{"the longest there is", []sample{{0, math.MaxInt64}}, 0, math.MaxInt64 / 1e6},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var l Load
			for _, s := range tt.samples {
				l.Observe(at(s.at), s.latency)
			}
			got, _ := l.expected(at(tt.now))
			near(t, "latency", got, tt.want*float64(ms))
		})
	}
}

func TestFail(t *testing.T) {
	var l Load
	check := func(what string, now int64, want time.Duration, failing bool) {
		t.Helper()
		got, is := l.expected(now)
		near(t, what, got, float64(want))
		if is != failing {
			t.Errorf("%s: failing %v", what, is)
		}
	}
	l.Fail(at(0), time.Millisecond)
	check("failed fast", at(0), errorLatency, true)
	check("another chance", at(10_000), errorLatency*1000/2718, true)
	l.Observe(at(0), time.Millisecond)
	check("answered", at(0), errorLatency, false)
	l.Fail(at(0), time.Minute)
	check("failed late", at(0), time.Minute, true)
	l.Fail(at(0), time.Millisecond)
	check("failed fast after that", at(0), time.Minute, true)
	l.Observe(at(0), time.Hour)
	check("answered very late", at(0), time.Hour, false)
	l.Fail(at(0), 0)
	near(t, "failed again", float64(l.Latency()), float64(time.Hour))
	l.Reset()
	check("forgotten", at(0), 0, false)
}

// TestAgeDuringBegin: a request begins in two steps, and must not look old between them.
func TestAgeDuringBegin(t *testing.T) {
	var l Load
	l.Begin(at(0))
	l.startSum.Add(at(5))
	if got := l.age(at(10)); got > float64(10*ms) {
		t.Errorf("half begun: %v", time.Duration(got))
	}
	l.waiting.Add(1)
	near(t, "begun", l.age(at(10)), 7.5*float64(ms))
	l.waiting.Add(-1)
	if got := l.age(at(10)); got > float64(10*ms) {
		t.Errorf("half answered: %v", time.Duration(got))
	}
	l.startSum.Add(-at(0))
	near(t, "answered", l.age(at(10)), 5*float64(ms))
}

// TestAgeAfterAYear: with many waiting requests, the sum of start times overflows. A
// hanging upstream must repel requests even if Caddy is never restarted.
func TestAgeAfterAYear(t *testing.T) {
	const year, waiting = 365 * 24 * int64(time.Hour), 300
	var l Load
	for range waiting {
		l.Begin(year)
	}
	near(t, "after a second", l.age(year+int64(time.Second)), float64(time.Second))
	l.Observe(year, time.Millisecond)
	near(t, "cost", costOf(&l, year+int64(time.Second), time.Hour), (waiting+1)*float64(time.Second))
	for range waiting {
		l.Answered(year)
	}
	near(t, "answered", l.age(year+int64(time.Second)), 0)
}

// TestConcurrentSamples: the average and its time change together, so the average never
// leaves the range of the samples.
func TestConcurrentSamples(t *testing.T) {
	var l Load
	var wg sync.WaitGroup
	for g := range int64(4) {
		wg.Go(func() {
			for i := range int64(2000) {
				l.Begin(at(i))
				l.Observe(at(i), time.Duration(1+g)*time.Millisecond)
				l.Answered(at(i))
				l.End()
			}
		})
	}
	wg.Wait()
	if got := l.Latency(); got < time.Millisecond || got > 4*time.Millisecond {
		t.Errorf("latency %v of samples from 1 to 4 ms", got)
	}
	if l.InFlight() != 0 || l.waiting.Load() != 0 || l.startSum.Load() != 0 {
		t.Errorf("left over: %d in flight, %d waiting, sum %d", l.InFlight(), l.waiting.Load(), l.startSum.Load())
	}
}

func TestWeightSurvivesTheWrap(t *testing.T) {
	const day = 24 * int64(time.Hour)
	for _, now := range []int64{0, 24 * day, 49 * day, 50 * day, 100 * day} {
		var l Load
		l.Observe(now, 100*time.Millisecond)
		got, _ := l.expected(now + int64(decay))
		near(t, time.Duration(now).String(), got, 100*float64(ms)/math.E)
	}
}
