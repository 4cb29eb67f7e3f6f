// Package outage keeps the log of outages short: each is told at once, and
// then summed up. All clients that meet the same outage are given the same
// reference, so that whichever one they quote is found in the log. And it says when
// they should come back.
package outage

import (
	"sync"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/cause"
)

// window is how long after a line further requests are only counted.
const window = time.Minute

// Key tells outages apart.
type Key struct {
	// Pool is the name of the pool that had nobody to answer; empty where the
	// proxy has none.
	Pool  string
	Cause cause.Cause
	// Down is when the pool went down; zero where it did not.
	Down time.Time
	// Planned is whether the owner has closed the pool: nothing is wrong then.
	Planned bool
}

// Outage is one outage, as far as one handler saw it.
type Outage struct {
	Key
	// Reference is what the first client was given, and with it all others.
	Reference string
	// Since is when the first request failed.
	Since time.Time
	// Latest is when the latest one did.
	Latest time.Time
	// Suppressed is the number of failed requests since the latest line.
	Suppressed int

	timer *time.Timer
}

// Log collects the failed requests of one handler.
type Log struct {
	// Summarise is told of the requests that were only counted: once a window
	// while an outage goes on, and at its end.
	Summarise func(Outage)

	// mu guards what follows.
	mu     sync.Mutex
	open   map[Key]*Outage
	closed bool
}

// Failed notes a failed request whose own reference would be ref. It returns the
// outage it belongs to, and whether it is the first, so to be logged now.
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

// Since is when the outage k began; now, if there is none.
func (l *Log) Since(k Key, now time.Time) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if o := l.open[k]; o != nil {
		return o.Since
	}
	return now
}

// sumUp ends a window: with a summary, and another window, if there was anything
// to count; otherwise the outage is over.
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

// Close sums up what is still open. What fails later is logged line by line.
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
