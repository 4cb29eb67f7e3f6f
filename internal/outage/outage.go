// Package outage keeps the log of outages short: each is logged at once, then summarised.
// All clients that hit the same outage get the same reference, which is in the log. It also
// estimates when clients should come back.
package outage

import (
	"sync"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/cause"
)

// window is how long after a log line further failures are only counted.
const window = time.Minute

// Key identifies an outage.
type Key struct {
	// Pool is the name of the pool; empty if the proxy has none.
	Pool  string
	Cause cause.Cause
	// Down is when the pool went down; zero if it did not.
	Down time.Time
	// Planned is whether the pool is in maintenance, so nothing is wrong.
	Planned bool
}

// Outage is one outage as one handler sees it.
type Outage struct {
	Key
	// Reference is the reference of the first client, given to all others too.
	Reference string
	// Since is when the first request failed.
	Since time.Time
	// Latest is when the latest request failed.
	Latest time.Time
	// Suppressed is the number of failed requests since the last log line.
	Suppressed int

	timer *time.Timer
}

// Log tracks the failed requests of one handler.
type Log struct {
	// Summarise gets the outage after each window in which requests were only counted, and
	// at its end. nil: nothing is logged.
	Summarise func(Outage)

	// mu guards the fields below.
	mu     sync.Mutex
	open   map[Key]*Outage
	closed bool
}

// Failed records a failed request, whose own reference would be ref. It returns its outage,
// and whether it is the first request of it, which must be logged now.
func (l *Log) Failed(k Key, ref string, now time.Time) (o Outage, first bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if o := l.open[k]; o != nil {
		o.Suppressed++
		o.Latest = now
		return *o, false
	}
	opened := &Outage{Key: k, Reference: ref, Since: now, Latest: now}
	if !l.closed {
		if l.open == nil {
			l.open = make(map[Key]*Outage)
		}
		opened.timer = time.AfterFunc(window, func() { l.endWindow(k) })
		l.open[k] = opened
	}
	return *opened, true
}

// Since returns when the outage k began, or now if there is none.
func (l *Log) Since(k Key, now time.Time) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if o := l.open[k]; o != nil {
		return o.Since
	}
	return now
}

// endWindow ends a window. If requests failed in it, it is summarised and another window
// starts; otherwise the outage is over.
func (l *Log) endWindow(k Key) {
	l.mu.Lock()
	o := l.open[k]
	if o == nil {
		l.mu.Unlock()
		return
	}
	summary := *o
	if o.Suppressed == 0 {
		delete(l.open, k)
	} else {
		o.Suppressed = 0
		o.timer.Reset(window)
	}
	l.mu.Unlock()
	l.summarise(summary)
}

// Close summarises the outages that are still open. Later failures are logged one by one.
func (l *Log) Close() {
	l.mu.Lock()
	open := l.open
	l.open, l.closed = nil, true
	l.mu.Unlock()
	for _, o := range open {
		o.timer.Stop()
		l.summarise(*o)
	}
}

func (l *Log) summarise(o Outage) {
	if o.Suppressed > 0 && l.Summarise != nil {
		l.Summarise(o)
	}
}
