package health

import (
	"strings"
	"testing"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/cause"
)

var policy = Policy{
	Fails: 3, Passes: 2,
	Interval: 5 * time.Second, EdgeInterval: time.Second, DownInterval: 2 * time.Second,
}

// script runs one check per letter: P passed, F timed out, D failed decisively; u before a
// letter makes it urgent. It returns the status after each as a letter: c, h or u.
func script(t *testing.T, s *State, checks string) string {
	t.Helper()
	now := time.Unix(0, 0)
	var got strings.Builder
	urgent := false
	for _, c := range checks {
		r := Result{At: now}
		switch c {
		case 'u':
			urgent = true
			continue
		case 'F':
			r.Cause = cause.HTTPResponseTimeout
		case 'D':
			r.Cause, r.Decisive = cause.ConnectionRefused, true
		}
		before := s.Status()
		if changed := s.Observe(policy, now, r, urgent); changed != (before != s.Status()) {
			t.Errorf("check %c: Observe says changed %v, status went from %v to %v", c, changed, before, s.Status())
		}
		got.WriteByte(s.Status().String()[0])
		urgent = false
		now = now.Add(time.Second)
	}
	return got.String()
}

func TestObserve(t *testing.T) {
	for _, tt := range []struct{ name, checks, want string }{
		{"the first pass decides alone", "P", "h"},
		{"the first failure decides alone", "F", "u"},
		{"down after three failures in a row", "PFFF", "hhhu"},
		{"a pass in between starts over", "PFFPFFPFFF", "hhhhhhhhhu"},
		{"strictly alternating never goes down", "PFPFPFPF", "hhhhhhhh"},
		{"up after two passes in a row", "FPP", "uuh"},
		{"a failure in between starts over", "FPFPFPP", "uuuuuuh"},
		{"refused is out at once", "PD", "hu"},
		{"refused stays out until two passes", "PDPDPP", "huuuuh"},
		{"an urgent pass is enough", "DuP", "uh"},
		{"urgent makes no failure worse", "PuF", "hh"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var s State
			if got := script(t, &s, tt.checks); got != tt.want {
				t.Errorf("after %s: got %s, want %s", tt.checks, got, tt.want)
			}
		})
	}
}

func TestDelay(t *testing.T) {
	for _, tt := range []struct {
		checks string
		want   time.Duration
	}{
		{"", 0},
		{"P", policy.Interval},
		{"PF", policy.EdgeInterval},
		{"PFP", policy.Interval},
		{"PFFF", policy.DownInterval},
		{"PFFFP", policy.EdgeInterval},
		{"PFFFPF", policy.DownInterval},
		{"PFFFPP", policy.Interval},
	} {
		var s State
		script(t, &s, tt.checks)
		if got := s.Delay(policy, time.Unix(0, 0)); got != tt.want {
			t.Errorf("after %q: next check in %v, want %v", tt.checks, got, tt.want)
		}
	}
}

func TestFailureIsKeptWhileUnhealthy(t *testing.T) {
	var s State
	script(t, &s, "PD")
	if c, _ := s.Failure(); c != cause.ConnectionRefused {
		t.Errorf("after a refused check: got cause %q", c)
	}
	script(t, &s, "F")
	if c, _ := s.Failure(); c != cause.HTTPResponseTimeout {
		t.Errorf("the latest failure is the one to show, got %q", c)
	}
	script(t, &s, "P")
	if c, _ := s.Failure(); c != cause.HTTPResponseTimeout {
		t.Errorf("one pass of two does not clear the cause, got %q", c)
	}
	script(t, &s, "P")
	if c, _ := s.Failure(); c != "" {
		t.Errorf("healthy again: got cause %q", c)
	}
}

func TestEverUp(t *testing.T) {
	var s State
	if script(t, &s, "DD"); s.EverUp() {
		t.Error("never passed a check, yet it was up")
	}
	if script(t, &s, "PPD"); !s.EverUp() {
		t.Error("was up once, and that is forgotten")
	}
}

func TestHistory(t *testing.T) {
	var s State
	script(t, &s, "PPDFP")
	if got := s.History(); got != "PPFFP" {
		t.Errorf("got %s, want PPFFP", got)
	}
	script(t, &s, strings.Repeat("P", 2*HistorySize)+"F")
	if got := s.History(); got != strings.Repeat("P", HistorySize-1)+"F" {
		t.Errorf("got %s of %d", got, len(got))
	}
}

// FuzzObserve checks the thresholds for any sequence of results.
func FuzzObserve(f *testing.F) {
	f.Add([]byte("PPFFFPDDP"))
	f.Fuzz(func(t *testing.T, checks []byte) {
		var s State
		var passes, fails int
		for i, c := range checks {
			r := Result{}
			if c%3 > 0 {
				r.Cause, r.Decisive = cause.ConnectionTimeout, c%3 == 2
			}
			s.Observe(policy, time.Unix(int64(i), 0), r, false)
			if r.Passed() {
				passes, fails = passes+1, 0
			} else {
				passes, fails = 0, fails+1
			}
			if fails >= policy.Fails && s.Status() == Healthy {
				t.Fatalf("healthy after %d failures in a row", fails)
			}
			if passes >= policy.Passes && s.Status() != Healthy {
				t.Fatalf("%v after %d passes in a row", s.Status(), passes)
			}
			if p, fl := s.Streaks(); p != passes || fl != fails {
				t.Fatalf("streaks %d/%d, want %d/%d", p, fl, passes, fails)
			}
			if s.Delay(policy, time.Unix(0, 0)) <= 0 {
				t.Fatal("no pause before the next check")
			}
		}
	})
}
