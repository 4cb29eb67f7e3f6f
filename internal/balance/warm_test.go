package balance

import (
	"fmt"
	"math"
	"testing"
	"time"
)

func TestWarm(t *testing.T) {
	for _, tt := range []struct {
		since, window time.Duration
		want          float64
	}{
		{0, 0, 1},
		{-time.Second, 0, 1},
		{-time.Second, time.Minute, 0.1},
		{0, time.Minute, 0.1},
		{time.Second, time.Minute, 0.1},
		{6 * time.Second, time.Minute, 0.1},
		{12 * time.Second, time.Minute, 0.2},
		{30 * time.Second, time.Minute, 0.5},
		{time.Minute, time.Minute, 1},
		{time.Hour, time.Minute, 1},
	} {
		if got := Warm(tt.since, tt.window); math.Abs(got-tt.want) > 1e-9 {
			t.Errorf("%v of %v: got %v, want %v", tt.since, tt.window, got, tt.want)
		}
	}
}

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }

// newcomer returns choices of which only the first is not warm.
func newcomer(l []*Load, warm float64) func(int) Choice {
	return func(i int) Choice {
		c := Choice{Load: l[i]}
		if i == 0 {
			c.Warm = warm
		}
		return c
	}
}

// TestSlowStartShares: among n equals, one with warmth w has exactly the share w/(w+n-1),
// as if w were its weight. Of two upstreams with a slow start of 60 s, the new one gets one
// request in six after 12 s, one in four after 20 s, and one in two from 60 s on.
func TestSlowStartShares(t *testing.T) {
	const picks = 20_000
	for _, n := range []int{2, 3, 8} {
		for _, after := range []int{0, 12, 20, 30, 60} {
			warm := Warm(seconds(after), time.Minute)
			for name, l := range map[string][]*Load{"known": loads(n), "new": loads(n)} {
				if name == "new" {
					l[0].Reset()
				}
				got := shares(n, at(0), picks, newcomer(l, warm))[0]
				what := fmt.Sprintf("%s, one of %d after %d s", name, n, after)
				wantShare(t, what, got, warm/(warm+float64(n-1)), picks)
			}
		}
	}
}

// TestSlowStartBeyondTheScan: an upstream is drawn in proportion to its warmth.
func TestSlowStartBeyondTheScan(t *testing.T) {
	const n, picks = 20, 100_000
	for _, warm := range []float64{0.1, 0.5, 1} {
		l := loads(n)
		got := shares(n, at(0), picks, newcomer(l, warm))[0]
		if want := warm / (warm + n - 1); math.Abs(got-want) > want*0.15 {
			t.Errorf("warm by %v: a share of %.5f, want %.5f", warm, got, want)
		}
	}
}

// TestAllAreNew: none is held back if all are equally new, whatever their number.
func TestAllAreNew(t *testing.T) {
	for _, n := range []int{1, 2, 8, 9, 100} {
		l := loads(n)
		picks := 2000 * n
		got := shares(n, at(0), picks, func(i int) Choice { return Choice{Load: l[i], Warm: minWarmth} })
		for i, share := range got {
			wantShare(t, fmt.Sprintf("%d of %d", i, n), share, 1/float64(n), picks)
		}
	}
}

// TestOnlyNewUpstreamIsLeft: then it is always picked, however cold.
func TestOnlyNewUpstreamIsLeft(t *testing.T) {
	for _, n := range []int{1, 2, 8, 9, 100} {
		l := loads(n)
		got := shares(n, at(0), 1000, func(i int) Choice {
			if i != 0 {
				return Choice{}
			}
			return Choice{Load: l[i], Warm: minWarmth}
		})
		if math.Abs(got[0]-1) > 1e-9 {
			t.Errorf("of %d: a share of %.4f", n, got[0])
		}
	}
}

// TestSlowStartYields: a cold upstream is better than those that hang.
func TestSlowStartYields(t *testing.T) {
	for _, n := range []int{2, 8} {
		l := loads(n)
		for _, o := range l[1:] {
			o.Begin(at(0))
		}
		if got := shares(n, at(1000), 1000, newcomer(l, minWarmth)); math.Abs(got[0]-1) > 1e-9 {
			t.Errorf("%d: a share of %.4f while the others hang", n, got[0])
		}
	}
}

// TestSlowStartHoldsBackUnderLoad: at high load, a cold upstream has its share of the
// requests in flight.
func TestSlowStartHoldsBackUnderLoad(t *testing.T) {
	for _, n := range []int{2, 8, 20} {
		p, l := seeded(), loads(n)
		picks := 100 * n
		for range picks {
			best, _ := p.pick(n, at(0), newcomer(l, minWarmth))
			l[best].Begin(at(0))
		}
		want := float64(picks) * minWarmth / (minWarmth + float64(n-1))
		if got := l[0].InFlight(); math.Abs(float64(got)-want) > 3 {
			t.Errorf("of %d: %d in flight at the cold one, want %.0f", n, got, want)
		}
	}
}

// TestNewcomerIsNotFlooded: before its first answer, a new upstream gets no more requests
// than the others.
func TestNewcomerIsNotFlooded(t *testing.T) {
	for _, n := range []int{3, 8, 20} {
		for _, warm := range []float64{minWarmth, 1} {
			l := loads(n)
			l[0].Reset()
			l[0].Begin(at(0))
			if share := shares(n, at(0), 5000, newcomer(l, warm))[0]; share != 0 {
				t.Errorf("one of %d that is busy, warm by %v, has a share of %.4f", n, warm, share)
			}
			p := seeded()
			for range 10 * n {
				best, _ := p.pick(n, at(0), newcomer(l, warm))
				l[best].Begin(at(0))
			}
			if got := l[0].InFlight(); got > 15 {
				t.Errorf("one of %d, warm by %v, has %d of %d requests", n, warm, got, 10*n+1)
			}
		}
	}
}

// TestNewcomerIsNotStarved: with one request every 5 s, always answered before the next, a
// new upstream gets its first one soon, and more after that. The others differ in latency,
// so that their mean would never make it the best.
func TestNewcomerIsNotStarved(t *testing.T) {
	for _, n := range []int{2, 3, 8, 20} {
		p, l := seeded(), loads(n)
		l[0].Reset()
		first, count := 0, 0
		const requests = 1000
		for k := range requests {
			since := time.Duration(k) * 5 * time.Second
			now := at(0) + int64(since)
			best, _ := p.pick(n, now, newcomer(l, Warm(since, time.Minute)))
			l[best].Observe(now, time.Duration(10+best%3)*time.Millisecond)
			if best != 0 {
				continue
			}
			if count++; first == 0 {
				first = k + 1
			}
		}
		if count == 0 || first > 12+5*n {
			t.Errorf("one of %d got its first request after %d", n, first)
		}
		if count < requests/n/2 {
			t.Errorf("one of %d got %d of %d requests", n, count, requests)
		}
	}
}
