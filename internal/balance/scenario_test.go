package balance

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// quick is an app that answers in a few milliseconds.
func quick(now time.Duration, r *rand.Rand) (time.Duration, bool) {
	return service(2*time.Millisecond, 12*time.Millisecond)(now, r)
}

// fixed takes the same time for each request.
func fixed(d time.Duration, failed bool) server {
	return func(time.Duration, *rand.Rand) (time.Duration, bool) { return d, failed }
}

// measured resembles the latencies of Finagle's simulations: a bell curve around 170 ms.
func measured(_ time.Duration, r *rand.Rand) (time.Duration, bool) {
	d := 169.6 + 5.4*r.NormFloat64()
	return time.Duration(min(max(d, 164), 200) * float64(time.Millisecond)), false
}

// logged logs the results of a simulation.
func logged(t *testing.T, name string, o outcome) outcome {
	t.Helper()
	t.Logf("%s: %d requests, p50 %v, p99 %v, p99.9 %v, max %v, within 1 s %.5f", name, len(o),
		o.quantile(0.5), o.quantile(0.99), o.quantile(0.999), o.quantile(1), o.within(time.Second))
	return o
}

// TestBuoyant is the experiment of Buoyant's "Beyond Round Robin" (2016): of 11
// backends at 1,000 requests/s, one is slowed to 2 s for half a minute. They
// found 95 % answered within 1 s with round robin, and 99.9 % with peak EWMA.
func TestBuoyant(t *testing.T) {
	experiment := func() *sim {
		s := &sim{rate: 1000, duration: time.Minute, backends: fleet(11, 16, quick)}
		s.backends[0].during(15*time.Second, 45*time.Second, fixed(2*time.Second, false))
		return s
	}
	if got := logged(t, "ours", experiment().run()).within(time.Second); got < 0.9999 {
		t.Errorf("%.5f answered within 1 s", got)
	}
	s := experiment()
	s.roundRobin()
	if got := logged(t, "round robin", s.run()).within(time.Second); got > 0.96 {
		t.Errorf("round robin: %.5f answered within 1 s: the experiment is too easy", got)
	}
}

// TestFailingFastAttractsNoRequests is the sinkhole: an upstream that fails every request
// at once, at low and at high load.
func TestFailingFastAttractsNoRequests(t *testing.T) {
	for _, tt := range []struct {
		name     string
		n        int
		rate     float64
		duration time.Duration
		serve    server
		most     int
	}{
		{"one by one", 3, 10, time.Minute, quick, 3},
		{"a few in flight", 3, 1000, 30 * time.Second, quick, 3},
		{"many in flight", 10, 1250, 30 * time.Second, measured, 5},
		{"many, each slow", 4, 200, 30 * time.Second, service(time.Second, 3*time.Second), 5},
		{"many, each very slow", 4, 20, time.Minute, service(10*time.Second, 30*time.Second), 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &sim{rate: tt.rate, duration: tt.duration, backends: fleet(tt.n, 1000, tt.serve)}
			s.backends[0].serve = fixed(time.Millisecond, true)
			if got := s.run().at(0); got > tt.most {
				t.Errorf("%d requests to the one that fails, want at most %d", got, tt.most)
			}
		})
	}
}

// TestHangingRepelsBeforeItsTimeout: of four upstreams at 300 requests/s one hangs, and
// only its waiting requests reveal it.
func TestHangingRepelsBeforeItsTimeout(t *testing.T) {
	for from := range 20 {
		s := &sim{rate: 300, duration: 20 * time.Second, backends: fleet(4, 100, quick)}
		begin := time.Second + time.Duration(from)*7*time.Millisecond
		s.backends[0].during(begin, time.Hour, fixed(5*time.Second, true))
		o := s.run()
		if got := o.between(begin, begin+5*time.Second).at(0); got > 2 {
			t.Errorf("%d requests before the timeout of the first", got)
		}
		if got := o.between(begin, 20*time.Second).at(0); got > 3 {
			t.Errorf("%d requests in all", got)
		}
	}
}

// TestSlowAttractsLittle: of four upstreams at 300 requests/s one becomes a hundred times
// slower.
func TestSlowAttractsLittle(t *testing.T) {
	s := &sim{rate: 300, duration: 30 * time.Second, backends: fleet(4, 100, quick)}
	s.backends[0].during(5*time.Second, time.Hour, slower(100, quick))
	if got := s.run().between(5*time.Second, 30*time.Second).at(0); got > 4 {
		t.Errorf("%d of 7,500 requests to the one that is slow", got)
	}
}

// TestNoWorseThanRoundRobin is the negative control: among equal upstreams there is nothing
// to choose, and choosing must do no harm.
func TestNoWorseThanRoundRobin(t *testing.T) {
	for _, tt := range []struct {
		name    string
		n       int
		workers int
		rate    float64
		serve   server
	}{
		{"never waiting", 10, 1000, 1250, measured},
		{"never waiting, full scan", 4, 1000, 500, measured},
		{"a third busy", 4, 4, 1300, quick},
		{"busy", 10, 4, 6000, quick},
		{"very busy", 10, 4, 9500, quick},
		{"very busy, full scan", 4, 4, 3800, quick},
	} {
		t.Run(tt.name, func(t *testing.T) {
			const duration = 3 * time.Second
			s := &sim{rate: tt.rate, duration: duration, backends: fleet(tt.n, tt.workers, tt.serve)}
			ours := logged(t, "ours", s.run())
			s = &sim{rate: tt.rate, duration: duration, backends: fleet(tt.n, tt.workers, tt.serve)}
			s.roundRobin()
			other := logged(t, "round robin", s.run())
			for _, q := range []float64{0.5, 0.9, 0.99, 0.999} {
				if got, want := ours.quantile(q), other.quantile(q); float64(got) > float64(want)*1.02 {
					t.Errorf("quantile %v: %v, round robin %v", q, got, want)
				}
			}
			for i := range tt.n {
				if got, want := ours.share(i), 1/float64(tt.n); math.Abs(got-want) > want/8 {
					t.Errorf("%d of %d has a share of %.4f", i, tt.n, got)
				}
			}
		})
	}
}

// TestColdStart: one of ten joins later, is slow at first, and has a slow start.
func TestColdStart(t *testing.T) {
	const joins, warm = 5 * time.Second, 10 * time.Second
	s := &sim{rate: 1250, duration: 45 * time.Second, backends: fleet(10, 1000, measured)}
	s.backends[0].serve = func(now time.Duration, r *rand.Rand) (time.Duration, bool) {
		d, _ := measured(now, r)
		cold := 1 + 4*max(0, float64(joins+warm-now)/float64(warm)) // 5 times as slow, falling
		return time.Duration(float64(d) * cold), false
	}
	s.present = func(i int, now int64) bool { return i != 0 || now >= int64(joins) }
	s.warm = func(i int, now int64) float64 {
		if i != 0 {
			return 1
		}
		return Warm(time.Duration(now)-joins, warm)
	}
	o := logged(t, "cold start", s.run())
	if first := o.between(joins, joins+time.Second); first.at(0) == 0 || first.share(0) > 0.02 {
		t.Errorf("%d of the %d in its first second", first.at(0), len(first))
	}
	if got := o.between(35*time.Second, 45*time.Second).share(0); math.Abs(got-0.1) > 0.015 {
		t.Errorf("at the end it has a share of %.4f", got)
	}
	if p99 := o.quantile(0.99); p99 > 250*time.Millisecond {
		t.Errorf("p99 %v", p99)
	}
}

// TestSlowMiddle: one of ten is ten times slower from 15 s to 30 s.
func TestSlowMiddle(t *testing.T) {
	s := &sim{rate: 1250, duration: 80 * time.Second, backends: fleet(10, 1000, measured)}
	s.backends[0].during(15*time.Second, 30*time.Second, slower(10, measured))
	o := logged(t, "slow middle", s.run())
	if p99 := o.quantile(0.99); p99 > 200*time.Millisecond {
		t.Errorf("p99 %v", p99)
	}
	if got := o.between(15*time.Second, 30*time.Second).share(0); got > 0.006 {
		t.Errorf("a share of %.4f while it is slow", got)
	}
	if got := o.between(70*time.Second, 80*time.Second).share(0); math.Abs(got-0.1) > 0.015 {
		t.Errorf("a share of %.4f long after", got)
	}
}

// TestTemporaryFailure: one of ten fails at once from 10 s to 25 s.
func TestTemporaryFailure(t *testing.T) {
	s := &sim{rate: 1250, duration: 80 * time.Second, backends: fleet(10, 1000, measured)}
	s.backends[0].during(10*time.Second, 25*time.Second, fixed(time.Millisecond, true))
	o := logged(t, "temporary failure", s.run())
	if failed := o.count(func(r request) bool { return r.failed }); failed > 5 {
		t.Errorf("%d of %d failed", failed, len(o))
	}
	if p99 := o.quantile(0.99); p99 > 200*time.Millisecond {
		t.Errorf("p99 %v", p99)
	}
	if got := o.between(70*time.Second, 80*time.Second).share(0); math.Abs(got-0.1) > 0.015 {
		t.Errorf("a share of %.4f long after", got)
	}
}

// TestWeightsUnderLoad: backends with as many workers as their weight get their shares, at
// low and at high load.
func TestWeightsUnderLoad(t *testing.T) {
	const heavy, light = 30, 10
	for _, n := range []int{2, 8, 20} {
		// The lower the load, the more latency decides, and the longer either half is the
		// faster one by chance.
		for load, bound := range map[float64]float64{0.1: 0.09, 0.6: 0.03, 0.95: 0.02} {
			t.Run(fmt.Sprintf("%d at %v", n, load), func(t *testing.T) {
				b := fleet(n, heavy, service(20*time.Millisecond, 120*time.Millisecond))
				for i := 1; i < n; i += 2 {
					b[i].workers = light
				}
				// Requests take 40 ms on average.
				s := &sim{rate: float64(n/2*(heavy+light)) * load / 0.04, duration: 5 * time.Second, backends: b}
				s.weight = func(i int) float64 { return []float64{1, 1. / 3}[i%2] }
				o := s.run()
				got := float64(o.count(func(r request) bool { return r.backend%2 == 1 })) / float64(len(o))
				if math.Abs(got-0.25) > bound {
					t.Errorf("the light half has a share of %.4f, want 0.25", got)
				}
			})
		}
	}
}

// TestSlowStartUnderLoad: the shares during a slow start do not depend on the load.
func TestSlowStartUnderLoad(t *testing.T) {
	for _, n := range []int{2, 8, 20} {
		s := &sim{rate: 800, duration: 75 * time.Second, backends: fleet(n, 1000, service(20*time.Millisecond, 120*time.Millisecond))}
		for _, b := range s.backends[1:] {
			b.load.Observe(at(0), 40*time.Millisecond)
		}
		s.warm = func(i int, now int64) float64 {
			if i != 0 {
				return 1
			}
			return Warm(time.Duration(now), time.Minute)
		}
		o := s.run()
		for _, second := range []int{3, 12, 20, 30, 45, 70} {
			after := seconds(second)
			got := o.between(after-2*time.Second, after+2*time.Second).share(0)
			warm := Warm(after, time.Minute)
			if want := warm / (warm + float64(n-1)); math.Abs(got-want) > want*0.4+0.004 {
				t.Errorf("one of %d after %d s: a share of %.4f, want %.4f", n, second, got, want)
			}
		}
	}
}
