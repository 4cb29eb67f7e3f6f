package health

import (
	"testing"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/cause"
)

var ejecting = Policy{
	Fails: 3, Passes: 2, Interval: 5 * time.Second, EdgeInterval: time.Second, DownInterval: time.Second,
	Ejection: 10 * time.Second,
}

const noJitter = 0.5

// up returns a State that became healthy at now.
func up(now time.Time) *State {
	s := new(State)
	s.Observe(ejecting, now, Result{At: now}, false)
	return s
}

func TestEjectionTime(t *testing.T) {
	for n, want := range []float64{10, 20, 40, 80, 160, 300, 300, 300} {
		if got := ejectionTime(ejecting, n).Seconds(); got != want {
			t.Errorf("after %d ejections: %v s, want %v s", n, got, want)
		}
	}
	if got := ejectionTime(Policy{Ejection: time.Hour}, 0); got != maxEjection {
		t.Errorf("a base above the maximum: %v, want %v", got, maxEjection)
	}
	if got := ejectionTime(ejecting, 1000); got != maxEjection {
		t.Errorf("after 1000 ejections: %v", got)
	}
}

func TestEjectionEndsWithAPassedCheck(t *testing.T) {
	now := time.Unix(0, 0)
	s := up(now)
	if !s.Eject(ejecting, now, cause.UnexpectedStatus, "5 times 500", noJitter) || s.Status() != Ejected {
		t.Fatalf("status %v", s.Status())
	}
	if s.Eject(ejecting, now, cause.UnexpectedStatus, "", noJitter) {
		t.Error("ejected twice")
	}
	if c, detail := s.Failure(); c != cause.UnexpectedStatus || detail != "5 times 500" {
		t.Errorf("failure %s, %q", c, detail)
	}
	now = now.Add(9 * time.Second)
	if s.Observe(ejecting, now, Result{At: now}, true); s.Status() != Ejected {
		t.Error("a check ended the ejection before its time")
	}
	if d := s.Delay(ejecting, now); d != time.Second {
		t.Errorf("next check in %v, want it at the end of the ejection", d)
	}
	now = now.Add(time.Second)
	if s.Observe(ejecting, now, Result{At: now}, false); s.Status() != Healthy {
		t.Errorf("status %v after the time and a passed check", s.Status())
	}
	if c, _ := s.Failure(); c != "" {
		t.Errorf("healthy with the cause %s", c)
	}
}

func TestEjectedUpstreamCanFailItsCheck(t *testing.T) {
	now := time.Unix(0, 0)
	s := up(now)
	s.Eject(ejecting, now, cause.UnexpectedStatus, "", noJitter)
	s.Observe(ejecting, now, Result{Cause: cause.HTTPResponseTimeout}, false)
	if c, _ := s.Failure(); s.Status() != Ejected || c != cause.UnexpectedStatus {
		t.Errorf("one failure of three: status %v, cause %s", s.Status(), c)
	}
	s.Observe(ejecting, now, Result{Cause: cause.ConnectionRefused, Decisive: true}, false)
	if c, _ := s.Failure(); s.Status() != Unhealthy || c != cause.ConnectionRefused {
		t.Errorf("a decisive one: status %v, cause %s", s.Status(), c)
	}
}

// TestEjectionBackoff is Envoy's EjectTimeBackoff, with doubling.
func TestEjectionBackoff(t *testing.T) {
	now := time.Unix(0, 0)
	s := up(now)
	eject := func(want time.Duration) {
		t.Helper()
		if !s.Eject(ejecting, now, cause.ConnectionTerminated, "", noJitter) {
			t.Fatal("not ejected")
		}
		if got := s.until.Sub(now); got != want {
			t.Errorf("ejected for %v, want %v", got, want)
		}
		now = s.until
		s.Observe(ejecting, now, Result{At: now}, false)
	}
	eject(10 * time.Second)
	eject(20 * time.Second)
	eject(40 * time.Second)
	now = now.Add(10 * time.Second) // one step forgotten
	eject(40 * time.Second)
	now = now.Add(time.Hour)
	eject(10 * time.Second)
}

func TestEjectionJitter(t *testing.T) {
	for random, want := range map[float64]time.Duration{0: 5 * time.Second, 0.5: 10 * time.Second, 1: 15 * time.Second} {
		now := time.Unix(0, 0)
		s := up(now)
		s.Eject(ejecting, now, cause.ConnectionTerminated, "", random)
		if got := s.until.Sub(now); got != want {
			t.Errorf("random %v: %v, want %v", random, got, want)
		}
	}
}

// TestMayEject has Envoy's overflow cases, and the small pools from which its default never
// ejects.
func TestMayEject(t *testing.T) {
	for _, tt := range []struct {
		usable, ejected int
		share           float64
		want            bool
	}{
		{1, 0, 0.9, false}, // SingleHost
		{2, 0, 0.6, true},  // Overflow
		{2, 1, 0.6, false},
		{3, 0, 0.5, true}, // MaxEjectionPercentage
		{3, 1, 0.5, false},
		{3, 0, 0.1, true}, // Override: at least one
		{3, 1, 0.3, false},
		{4, 1, 0.5, true},
		{4, 2, 0.5, false},
		{4, 3, 1, false}, // the last never
		{10, 4, 0.5, true},
		{10, 5, 0.5, false},
		{0, 0, 1, false},
	} {
		if got := MayEject(tt.usable, tt.ejected, tt.share); got != tt.want {
			t.Errorf("%d usable, %d ejected, %.0f %%: got %v, want %v", tt.usable, tt.ejected, tt.share*100, got, tt.want)
		}
	}
}

// FuzzEjection checks that a pool of five never loses its last usable upstream to
// ejections.
func FuzzEjection(f *testing.F) {
	f.Add([]byte("0123401234"), byte(50))
	f.Fuzz(func(t *testing.T, who []byte, percent byte) {
		now := time.Unix(0, 0)
		var pool [5]*State
		for i := range pool {
			pool[i] = up(now)
		}
		for _, w := range who {
			usable, ejected := 0, 0
			for _, s := range pool {
				switch s.Status() {
				case Ejected:
					ejected++
					usable++
				case Healthy:
					usable++
				case Checking, Unhealthy:
				}
			}
			if usable == ejected {
				t.Fatal("all are ejected")
			}
			s := pool[int(w)%len(pool)]
			if MayEject(usable, ejected, float64(percent)/100) {
				s.Eject(ejecting, now, cause.ConnectionTerminated, "", noJitter)
			}
			now = now.Add(time.Second)
			s.Observe(ejecting, now, Result{At: now}, false)
			if d := s.Delay(ejecting, now); d <= 0 || d > ejecting.Interval {
				t.Fatalf("next check in %v", d)
			}
		}
	})
}
