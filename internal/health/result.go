package health

import (
	"time"

	"github.com/healthpool/caddy-healthpool/internal/cause"
)

// Result is the outcome of one check of one upstream.
type Result struct {
	// At is when the check began.
	At time.Time
	// Duration is how long the check took.
	Duration time.Duration
	// Cause is why the check failed; empty when it passed.
	Cause cause.Cause
	// Decisive means that one such failure is proof enough: no threshold
	// is waited for.
	Decisive bool
	// Detail is the failure in the system's own words, for owners only.
	Detail string
}

// Passed reports whether the upstream passed the check.
func (r Result) Passed() bool { return r.Cause == "" }
