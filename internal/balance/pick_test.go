package balance

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// seeded returns a picker with reproducible picks.
func seeded() picker { return picker{rand: rand.New(rand.NewPCG(1, 2))} }

// plain returns choices without weights that are all warm.
func plain(loads []*Load) func(int) Choice {
	return func(i int) Choice { return Choice{Load: loads[i]} }
}

// shares picks often and returns each upstream's share of the picks.
func shares(n int, now int64, picks int, of func(int) Choice) []float64 {
	p := seeded()
	counts := make([]float64, n)
	for range picks {
		if best, _ := p.pick(n, now, of); best >= 0 {
			counts[best] += 1 / float64(picks)
		}
	}
	return counts
}

// wantShare allows five standard deviations.
func wantShare(t *testing.T, what string, got, want float64, picks int) {
	t.Helper()
	if math.Abs(got-want) > 5*math.Sqrt(max(want*(1-want), 1e-9)/float64(picks)) {
		t.Errorf("%s: a share of %.4f, want %.4f", what, got, want)
	}
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

// busy returns upstreams with that many requests in flight.
func busy(inFlight ...int) []*Load {
	out := loads(len(inFlight))
	for i, n := range inFlight {
		for range n {
			out[i].Begin(at(0))
		}
	}
	return out
}

func TestEqualsShareAlike(t *testing.T) {
	for _, n := range []int{1, 2, 3, 8, 9, 100} {
		for name, l := range map[string][]*Load{"known": loads(n), "unknown": make([]*Load, n)} {
			for i := range l {
				if l[i] == nil {
					l[i] = new(Load)
				}
			}
			picks := 2000 * n
			for i, share := range shares(n, at(0), picks, plain(l)) {
				wantShare(t, fmt.Sprintf("%s, %d of %d", name, i, n), share, 1/float64(n), picks)
			}
		}
	}
}

// TestEqualsTakeTurns: among upstreams that answer equally fast, requests go to the one
// that has been idle longest.
func TestEqualsTakeTurns(t *testing.T) {
	for _, n := range []int{1, 2, 3, 5, 8} {
		p, l := seeded(), loads(n)
		counts := make([]int, n)
		const cycles = 100
		for k := range int64(cycles * n) {
			now := at(20 * (k + 1))
			best, _ := p.pick(n, now, plain(l))
			l[best].Observe(now, 10*time.Millisecond)
			counts[best]++
		}
		for i, count := range counts {
			if count != cycles {
				t.Errorf("%d of %d was picked %d times in %d cycles", i, n, count, cycles)
			}
		}
	}
}

// TestOthersShareAlike: a bad upstream's share goes to all the others, not to its
// neighbour.
func TestOthersShareAlike(t *testing.T) {
	for _, n := range []int{3, 8, 20} {
		l := loads(n)
		l[1].Begin(at(0))
		picks := 5000 * n
		for i, share := range shares(n, at(0), picks, plain(l)) {
			if i != 1 {
				wantShare(t, fmt.Sprintf("%d of %d", i, n), share, 1/float64(n-1), picks)
			}
		}
	}
}

// TestTwoChoices has distributions that fail unless two distinct upstreams are drawn: the
// busiest gets nothing, whatever its position.
func TestTwoChoices(t *testing.T) {
	for _, tt := range []struct {
		inFlight []int
		busier   int
	}{
		{[]int{5, 3}, 0},
		{[]int{3, 5}, 1},
		{[]int{10, 1, 1, 1, 1, 1, 1, 1, 1, 1}, 0},
		{[]int{1, 1, 1, 1, 1, 1, 1, 1, 1, 10}, 9},
	} {
		got := shares(len(tt.inFlight), at(0), 50_000, plain(busy(tt.inFlight...)))
		if got[tt.busier] != 0 {
			t.Errorf("%v: the busier has a share of %.4f", tt.inFlight, got[tt.busier])
		}
	}
}

// TestBetterOfTwoIsPicked: beyond the full scan, the least busy is picked as often as it is
// one of two distinct draws.
func TestBetterOfTwoIsPicked(t *testing.T) {
	inFlight := make([]int, 20)
	for i := range inFlight {
		inFlight[i] = i
	}
	const picks = 50_000
	for rank, share := range shares(20, at(0), picks, plain(busy(inFlight...))) {
		want := 2 * float64(19-rank) / (20 * 19)
		wantShare(t, fmt.Sprint("rank ", rank), share, want, picks)
	}
}

func TestTheWorstIsNeverPicked(t *testing.T) {
	for name, worsen := range map[string]func(*Load){
		"busy":   func(l *Load) { l.Begin(at(0)) },
		"slow":   func(l *Load) { l.Observe(at(0), 11*time.Millisecond) },
		"errors": func(l *Load) { l.Fail(at(0), 0) },
		"hangs":  func(l *Load) { l.Begin(at(0) - int64(time.Second)) },
	} {
		for _, n := range []int{2, 8, 9, 100} {
			l := loads(n)
			worsen(l[n-1])
			if share := shares(n, at(0), 5000, plain(l))[n-1]; share != 0 {
				t.Errorf("%s: the worst of %d has a share of %.4f", name, n, share)
			}
		}
	}
}

// TestFailureIsWorseThanAnything: than the slowest upstreams, any number of requests in
// flight, or an unknown latency.
func TestFailureIsWorseThanAnything(t *testing.T) {
	for _, n := range []int{2, 8, 20} {
		for name, better := range map[string]func(*Load){
			"slow":    func(l *Load) { l.Observe(at(0), 30*time.Second) },
			"unknown": (*Load).Reset,
			"unknown, slow": func(l *Load) {
				l.Reset()
				l.Begin(at(-60_000))
			},
			"busy": func(l *Load) {
				for range 1000 {
					l.Begin(at(0))
				}
			},
		} {
			l := loads(n)
			for _, o := range l[1:] {
				better(o)
			}
			l[0].Fail(at(0), time.Millisecond)
			if share := shares(n, at(0), 2000, plain(l))[0]; share != 0 {
				t.Errorf("%d others %s: the one that fails has a share of %.4f", n-1, name, share)
			}
		}
	}
}

// TestOutlier: high load elsewhere does not send requests to an upstream that hangs or is
// far too slow. One that is merely slower gets its part.
func TestOutlier(t *testing.T) {
	for _, n := range []int{2, 8, 20} {
		for name, tt := range map[string]struct {
			first func(*Load)
			want  bool
		}{
			"slow":   {func(l *Load) { l.Observe(at(0), 150*time.Millisecond) }, false},
			"hangs":  {func(l *Load) { l.Begin(at(-150)) }, false},
			"slower": {func(l *Load) { l.Observe(at(0), 50*time.Millisecond) }, true},
		} {
			l := busy(slices.Repeat([]int{100}, n)...)
			l[0] = loads(1)[0]
			tt.first(l[0])
			if share := shares(n, at(0), 2000, plain(l))[0]; (share > 0) != tt.want {
				t.Errorf("%s, of %d: a share of %.4f", name, n, share)
			}
		}
	}
}

// TestAllFail: then requests in flight decide, as usual.
func TestAllFail(t *testing.T) {
	for _, n := range []int{2, 8, 20} {
		l := busy(make([]int, n)...)
		for _, o := range l {
			o.Fail(at(0), time.Millisecond)
		}
		l[0].Begin(at(0))
		if share := shares(n, at(0), 2000, plain(l))[0]; share != 0 {
			t.Errorf("the busier of %d has a share of %.4f", n, share)
		}
	}
}

func TestPickLeavesOut(t *testing.T) {
	for _, n := range []int{0, 1, 8, 9, 1000} {
		l := loads(max(n, 1))
		only := func(may ...int) func(int) Choice {
			return func(i int) Choice {
				if !slices.Contains(may, i) {
					return Choice{}
				}
				return Choice{Load: l[i]}
			}
		}
		p := seeded()
		if best, second := p.pick(n, at(0), only(-1)); best != -1 || second != -1 {
			t.Errorf("none of %d may be picked: got %d and %d", n, best, second)
		}
		for range 100 * min(n, 1) {
			if best, second := p.pick(n, at(0), only(n/2)); best != n/2 || second != -1 {
				t.Fatalf("one of %d may be picked: got %d and %d", n, best, second)
			}
		}
	}
}

func TestPickFindsTheOnlyTwo(t *testing.T) {
	for _, n := range []int{2, 8, 9, 1000} {
		p, l := seeded(), loads(n)
		for range 100 {
			best, second := p.pick(n, at(0), func(i int) Choice {
				if i != 0 && i != n-1 {
					return Choice{}
				}
				return Choice{Load: l[i]}
			})
			if best+second != n-1 || best < 0 || second < 0 {
				t.Fatalf("of %d: got %d and %d", n, best, second)
			}
		}
	}
}

func TestSecondIsAnother(t *testing.T) {
	for _, n := range []int{2, 3, 8, 9, 100} {
		for _, warm := range []float64{1, 0.1} {
			p, l := seeded(), loads(n)
			for range 1000 {
				best, second := p.pick(n, at(0), func(i int) Choice {
					return Choice{Load: l[i], Warm: warm, Weight: 1 / float64(1+i%3)}
				})
				if best == second || best < 0 || second < 0 {
					t.Fatalf("of %d: got %d and %d", n, best, second)
				}
			}
		}
	}
}

func TestSecondIsTheNextBest(t *testing.T) {
	p, l := seeded(), busy(3, 0, 2, 1, 5)
	for range 100 {
		if best, second := p.pick(len(l), at(0), plain(l)); best != 1 || second != 3 {
			t.Fatalf("got %d and %d", best, second)
		}
	}
}

// TestDefaultPicker is for all goroutines at once, with another random source.
func TestDefaultPicker(t *testing.T) {
	for _, n := range []int{3, 20} {
		l := loads(n)
		seen := make(map[int]bool)
		for range 100 * n {
			best, _ := Pick(n, at(0), plain(l))
			seen[best] = true
		}
		if len(seen) != n {
			t.Errorf("%d of %d were picked", len(seen), n)
		}
	}
}
