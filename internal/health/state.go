// Package health decides whether an upstream is healthy from the results of its checks. It
// has no clock, I/O or lock: the time is an argument, and callers guard a State themselves.
package health

import (
	"time"

	"github.com/healthpool/caddy-healthpool/internal/cause"
)

// Status is the status of an upstream.
type Status uint8

const (
	// Checking is the status before the first check has ended.
	Checking Status = iota
	// Healthy upstreams may get requests.
	Healthy
	// Unhealthy upstreams failed too many checks in a row, or one decisively.
	Unhealthy
	// Ejected upstreams pass their checks, but failed too many requests in a row.
	Ejected
)

// String returns the status as the admin API shows it.
func (s Status) String() string {
	return [...]string{"checking", "healthy", "unhealthy", "ejected"}[s]
}

// Policy says how many results in a row change the status, and how often to check.
type Policy struct {
	// Fails and Passes count results strictly in a row; an opposite result starts over.
	Fails, Passes int
	// Interval applies while healthy, DownInterval while unhealthy, EdgeInterval instead of
	// both while a change is pending.
	Interval, EdgeInterval, DownInterval time.Duration
	// Ejection is how long the first ejection lasts; it doubles with each
	// further one, up to maxEjection.
	Ejection time.Duration
}

// HistorySize is how many of the latest results a State remembers.
const HistorySize = 64

// State is the health of one upstream. Its zero value has the status Checking.
type State struct {
	status  Status
	since   time.Time
	cause   cause.Cause
	detail  string
	last    Result
	passes  int
	fails   int
	everUp  bool
	history history

	// until is when the ejection ends; ejections is the number of recent ones.
	until     time.Time
	ejections int
}

// Observe records the result of a check and reports whether the status changed. The first
// result decides alone, so that neither a start nor a new upstream has to reach a
// threshold. With urgent set, one passed check is enough to be healthy: nothing is lost by
// trying when nothing else is left.
func (s *State) Observe(p Policy, now time.Time, r Result, urgent bool) bool {
	s.last = r
	s.history.add(r.Passed())
	if r.Passed() {
		s.passes, s.fails = s.passes+1, 0
	} else {
		s.passes, s.fails = 0, s.fails+1
	}
	next := s.next(p, now, r, urgent)
	if !r.Passed() && (next == Unhealthy || s.status == Unhealthy) {
		s.cause, s.detail = r.Cause, r.Detail
	}
	if next == s.status {
		return false
	}
	s.status, s.since = next, now
	if next == Healthy {
		s.cause, s.detail, s.everUp = "", "", true
	}
	return true
}

// next returns the status that follows from the streaks and the latest result.
func (s *State) next(p Policy, now time.Time, r Result, urgent bool) Status {
	first := s.status == Checking
	switch {
	case s.status == Ejected && r.Passed():
		if now.Before(s.until) {
			return Ejected
		}
		return Healthy
	case r.Passed() && (first || urgent || s.passes >= p.Passes):
		return Healthy
	case !r.Passed() && (first || r.Decisive || s.fails >= p.Fails):
		return Unhealthy
	}
	return s.status
}

// Delay returns the time until the next check, before jitter.
func (s *State) Delay(p Policy, now time.Time) time.Duration {
	switch {
	case s.status == Checking:
		return 0
	case s.status == Ejected:
		// A check must not come long after the ejection ends.
		return max(min(s.until.Sub(now), p.Interval), time.Millisecond)
	case s.status == Healthy && s.fails > 0, s.status == Unhealthy && s.passes > 0:
		return p.EdgeInterval
	case s.status == Unhealthy:
		return p.DownInterval
	}
	return p.Interval
}

// Status returns the current status.
func (s *State) Status() Status { return s.status }

// Since returns when the status last changed; zero if it never did.
func (s *State) Since() time.Time { return s.since }

// Failure returns why the upstream is not healthy: the cause and, for operators only, the
// system's own error text. Both are empty while it is healthy.
func (s *State) Failure() (cause.Cause, string) { return s.cause, s.detail }

// Last returns the latest result; its At is zero if there is none.
func (s *State) Last() Result { return s.last }

// Streaks returns the passed and failed checks in a row; one of them is zero.
func (s *State) Streaks() (passes, fails int) { return s.passes, s.fails }

// EverUp reports whether the upstream was ever healthy. If not, the outage may have begun
// long before.
func (s *State) EverUp() bool { return s.everUp }

// History returns the latest results, oldest first, as P (passed) and F (failed).
func (s *State) History() string { return s.history.String() }

// history is a ring of the latest results, one bit each, the newest in the lowest bit.
type history struct {
	bits uint64
	size int
}

func (h *history) add(passed bool) {
	h.bits <<= 1
	if passed {
		h.bits |= 1
	}
	h.size = min(h.size+1, HistorySize)
}

func (h *history) String() string {
	b := make([]byte, h.size)
	for i := range b {
		b[i] = 'F'
		if h.bits>>(h.size-1-i)&1 == 1 {
			b[i] = 'P'
		}
	}
	return string(b)
}
