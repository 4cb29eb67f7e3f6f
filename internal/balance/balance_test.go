package balance

import (
	"math"
	"sync"
	"testing"
	"time"
)

const ms = int64(time.Millisecond)

// at is a time of this package, in milliseconds. It does not begin at zero, as
// real ones do not.
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
	l.Forget()
	if l.Latency() != 0 {
		t.Error("remembers after Forget")
	}
}

func TestCost(t *testing.T) {
	var l Load
	near(t, "unknown", l.Cost(at(0), 7), 7)
	l.Observe(at(0), 10*time.Millisecond)
	near(t, "idle", l.Cost(at(0), 7), 10*float64(ms))
	l.Begin(at(0))
	near(t, "one in flight", l.Cost(at(0), 7), 2*10*float64(ms))
	near(t, "one that hangs", l.Cost(at(1000), 7), 2*1000*float64(ms))
	l.Begin(at(1000))
	near(t, "the mean age of two", l.Cost(at(1000), 7), 3*500*float64(ms))
	l.Answered(at(0))
	l.Answered(at(1000))
	near(t, "two that were answered but stream on", l.Cost(at(1000), 7), 3*10*float64(ms)*math.Exp(-0.1))
	l.End()
	l.End()
	if l.InFlight() != 0 {
		t.Errorf("%d in flight at the end", l.InFlight())
	}
	near(t, "an old latency fades", l.Cost(at(100_000), 7), 10*float64(ms)*math.Exp(-10))
}

// shares picks often and returns how often each was the best.
func shares(loads []*Load, now int64, picks int) []float64 {
	counts := make([]float64, len(loads))
	for range picks {
		if best, _ := Pick(len(loads), now, func(i int) *Load { return loads[i] }); best >= 0 {
			counts[best] += 1 / float64(picks)
		}
	}
	return counts
}

// loads returns n upstreams with the same latency and nothing in flight.
func loads(n int) []*Load {
	out := make([]*Load, n)
	for i := range out {
		out[i] = new(Load)
		out[i].Observe(at(0), 10*time.Millisecond)
	}
	return out
}

func TestEqualsShareAlike(t *testing.T) {
	for _, n := range []int{1, 2, 8, 9, 100} {
		for i, share := range shares(loads(n), at(0), 1000*n) {
			if want := 1 / float64(n); math.Abs(share-want) > want/4 {
				t.Errorf("%d of %d has a share of %.4f, want %.4f", i, n, share, want)
			}
		}
	}
}

func TestTheWorstIsNeverPicked(t *testing.T) {
	for name, worsen := range map[string]func(*Load){
		"busy":   func(l *Load) { l.Begin(at(0)) },
		"slow":   func(l *Load) { l.Observe(at(0), 11*time.Millisecond) },
		"errors": func(l *Load) { l.Observe(at(0), ErrorLatency) },
		"hangs":  func(l *Load) { l.Begin(at(0) - int64(time.Second)) },
	} {
		for _, n := range []int{2, 8, 9, 100} {
			l := loads(n)
			worsen(l[n-1])
			if share := shares(l, at(0), 5000)[n-1]; share != 0 {
				t.Errorf("%s: the worst of %d has a share of %.4f", name, n, share)
			}
		}
	}
}

// TestFailingFastAttractsNothing is the sinkhole: an upstream that answers every
// request with an error in no time.
func TestFailingFastAttractsNothing(t *testing.T) {
	l := loads(3)
	var failed int
	for i := range int64(30_000) { // 1,000 requests a second
		now := at(i)
		best, _ := Pick(3, now, func(i int) *Load { return l[i] })
		if best == 0 {
			l[0].Observe(now, ErrorLatency)
			failed++
		} else {
			l[best].Observe(now, 10*time.Millisecond)
		}
	}
	if failed > 1 {
		t.Errorf("%d of 30,000 requests went to the one that fails", failed)
	}
}

func TestNewcomerIsNeitherFloodedNorStarved(t *testing.T) {
	for _, n := range []int{3, 20} {
		l := loads(n)
		l[0].Forget()
		share := shares(l, at(0), 2000*n)[0]
		if want := 1 / float64(n); share < want/2 || share > want*2 {
			t.Errorf("a newcomer among %d has a share of %.4f, want %.4f", n, share, want)
		}
		l[0].Begin(at(0))
		if share := shares(l, at(0), 5000)[0]; share != 0 {
			t.Errorf("a newcomer among %d that is busy has a share of %.4f", n, share)
		}
	}
}

func TestPickLeavesOut(t *testing.T) {
	for _, n := range []int{0, 1, 8, 9, 1000} {
		l := loads(n)
		only := func(may int) func(int) *Load {
			return func(i int) *Load {
				if i != may {
					return nil
				}
				return l[i]
			}
		}
		if best, second := Pick(n, at(0), only(-1)); best != -1 || second != -1 {
			t.Errorf("none of %d may be picked: got %d and %d", n, best, second)
		}
		if n == 0 {
			continue
		}
		for range 100 {
			if best, second := Pick(n, at(0), only(n/2)); best != n/2 || second != -1 {
				t.Fatalf("one of %d may be picked: got %d and %d", n, best, second)
			}
		}
	}
}

func TestSecondIsAnother(t *testing.T) {
	for _, n := range []int{2, 8, 9, 100} {
		l := loads(n)
		for range 1000 {
			best, second := Pick(n, at(0), func(i int) *Load { return l[i] })
			if best == second || best < 0 || second < 0 {
				t.Fatalf("of %d: got %d and %d", n, best, second)
			}
		}
	}
}

// TestConcurrentSamples keeps the average and its time together: no sample may
// leave it outside of what was sampled.
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
		near(t, time.Duration(now).String(), l.Cost(now+int64(decay), 0), 100*float64(ms)/math.E)
	}
}

func BenchmarkObserve(b *testing.B) {
	var l Load
	b.ReportAllocs()
	for b.Loop() {
		l.Observe(Now(), time.Millisecond)
	}
}
