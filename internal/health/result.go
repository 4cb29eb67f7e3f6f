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
	// Decisive means that this failure alone is enough, whatever the threshold.
	Decisive bool
	// Detail is the system's own error text, for operators only.
	Detail string
}

// Passed reports whether the upstream passed the check.
func (r Result) Passed() bool { return r.Cause == "" }
