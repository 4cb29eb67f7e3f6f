package pool

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/balance"
	"github.com/healthpool/caddy-healthpool/internal/cause"
)

// Request is the state of one request on its way through a proxy. It belongs to the
// goroutine that serves the request.
type Request struct {
	// Watched is set by a caller that will call Answered and Done. Without it, an attempt
	// ends with the request's context, and its outcome is known only if the proxy retries.
	Watched bool
	// Poll marks a request that only asks whether the pool is up. It is never held and gets
	// no upstream.
	Poll bool
	// NoHold requests are never held.
	NoHold bool
	// Admitted requests may use the pool while it is in maintenance.
	Admitted bool

	retrying  bool
	holdSpent bool // must not be held again

	pool       *Pool
	visited    []*Upstream
	visitedBuf [2]*Upstream // backs visited, so that most requests need no allocation
	attempts   int
	// failed has the loads, outside of a pool, of upstreams at which attempts failed.
	failed []*balance.Load

	// current is the attempt in progress; its load is nil if there is none.
	current attempt
	// reserved is the member at which r has a reservation but was not sent yet.
	reserved *Member

	// holdUntil is until when the request may be held; zero if it never was.
	holdUntil time.Time
}

// attempt is one try at one upstream.
type attempt struct {
	load    *balance.Load
	member  *Member // nil outside of a pool
	start   int64
	waiting bool
	// answered is whether its status is recorded.
	answered bool
	stopEnd  *func() bool // set while the attempt ends with a context
}

// Enter tells r that p picks for it next. Unless the previous attempt failed, this is
// another proxy, and earlier attempts no longer count.
func (r *Request) Enter(p *Pool) {
	if !r.retrying || r.pool != p {
		r.end()
		r.visited, r.attempts = r.visitedBuf[:0], 0
		r.holdUntil, r.holdSpent = time.Time{}, false
	}
	r.pool, r.retrying = p, false
}

// Pool returns the pool that picked last, or nil.
func (r *Request) Pool() *Pool { return r.pool }

// AllFull reports whether the pool has usable upstreams, but all are at max_requests.
func (r *Request) AllFull() bool { return r.pool != nil && r.pool.view.Load().allFull() }

// MaybeSent reports whether an earlier attempt may have delivered the request: its upstream
// was tried and is not known to refuse connections.
func (r *Request) MaybeSent() bool {
	if len(r.visited) < 2 {
		return false
	}
	return slices.ContainsFunc(r.visited[:len(r.visited)-1], func(u *Upstream) bool {
		u.mu.Lock()
		defer u.mu.Unlock()
		c, _ := u.state.Failure()
		return c == "" || c.Fate() == cause.Unknown
	})
}

// Sent reports whether an attempt is in progress.
func (r *Request) Sent() bool { return r.current != attempt{} }

// SentTo reports whether r was sent to that address, as far as that is known.
func (r *Request) SentTo(hostPort string) bool {
	return r.current.member == nil || r.current.member.HostPort == hostPort
}

// Detach ends the relation of r to its pool.
func (r *Request) Detach() {
	r.end()
	r.pool = nil
}

// FailedAt reports whether an attempt failed at the upstream with that load, which is not
// in a pool.
func (r *Request) FailedAt(load *balance.Load) bool { return slices.Contains(r.failed, load) }

// Begin records that r is sent to the upstream with that load, which is not in a pool.
func (r *Request) Begin(ctx context.Context, load *balance.Load) {
	r.send(load)
	if !r.Watched {
		r.unwatched(ctx, load.End)
	}
}

// BeginAt is Begin for an upstream of the pool. It reports false if m is full.
func (r *Request) BeginAt(ctx context.Context, m *Member) bool {
	if r.reserved != m {
		r.unreserve()
		if !m.reserve() {
			return false
		}
	}
	r.reserved = nil
	if r.pool.queue.size.Load() == 0 {
		m.growReleaseWindow(false)
	}
	r.send(&m.load)
	r.addAttempt(m)
	if !r.Watched {
		p := r.pool
		r.unwatched(ctx, func() { p.finished(m) })
	}
	return true
}

func (r *Request) send(load *balance.Load) {
	r.end()
	now := balance.Now()
	r.current = attempt{load: load, start: now, waiting: true}
	load.Begin(now)
}

// BeginWhere is BeginAt for the upstream that another policy selected.
func (r *Request) BeginWhere(ctx context.Context, dial string) bool {
	for _, m := range r.pool.view.Load().members {
		if m.Dial() == dial {
			return r.BeginAt(ctx, m)
		}
	}
	return true
}

// unwatched ends the attempt with ctx, because nobody will report its answer.
func (r *Request) unwatched(ctx context.Context, end func()) {
	r.current.load.Answered(r.current.start)
	r.current.waiting = false
	stop := context.AfterFunc(ctx, end)
	r.current.stopEnd = &stop
}

// reserve chooses until it has a reservation at the best, which may have become full
// meanwhile.
func (r *Request) reserve(choose func() (best, second *Member)) (best, second *Member) {
	for {
		best, second = choose()
		if best == nil || best.reserve() {
			r.reserved = best
			return best, second
		}
	}
}

// Decline records that r is not sent to the upstream picked for it.
func (r *Request) Decline() { r.unreserve() }

// unreserve returns an unused reservation.
func (r *Request) unreserve() {
	if m := r.reserved; m != nil {
		r.reserved = nil
		m.unreserve()
		r.pool.queue.advance()
	}
}

func (r *Request) addAttempt(m *Member) {
	r.current.member = m
	r.attempts++
	r.visited = append(r.visited, m.Upstream)
}

// Answered records the status of the response as soon as the headers arrive.
func (r *Request) Answered(status int) {
	a := &r.current
	if a.answered {
		return
	}
	a.answered = true
	now := balance.Now()
	latency := time.Duration(now - a.start)
	if a.waiting {
		a.waiting = false
		a.load.Answered(a.start)
	}
	if a.load != nil && r.Watched {
		if status >= http.StatusInternalServerError || status == http.StatusTooManyRequests {
			a.load.Fail(now, latency)
		} else {
			a.load.Observe(now, latency)
		}
	}
	if a.member != nil && r.pool != nil {
		r.pool.answered(a.member, status, latency)
	}
}

// Failed records that the current attempt failed and another may follow. Its upstream
// becomes suspect unless it is innocent, because it answered or the client is to blame.
// maybeSent is whether it may have received the request: if so and its next check passes,
// the failure counts against it.
func (r *Request) Failed(innocent, maybeSent bool) {
	r.retrying = true
	a := r.current
	r.end()
	if a.load != nil && a.member == nil {
		r.failed = append(r.failed, a.load)
	}
	if innocent {
		return
	}
	r.suspect(a)
	if a.member != nil && maybeSent && r.Watched {
		r.pool.failUnconfirmed(a.member)
	}
}

// Done records the end of the request: with an answer (""), or with the cause for which the
// current attempt failed. A client that left tells nothing about the upstream.
func (r *Request) Done(c cause.Cause) {
	a := r.current
	r.end()
	if c == "" || c == cause.ClientGone {
		return
	}
	r.suspect(a)
	if a.member != nil && c.Fate() == cause.Unknown && r.Watched {
		r.pool.strike(a.member, c, noDetail)
	}
}

// suspect makes the attempt's upstream suspect. Its load records a failure only if the
// request is watched: otherwise no later answer could make up for it.
func (r *Request) suspect(a attempt) {
	if a.load != nil && r.Watched {
		now := balance.Now()
		a.load.Fail(now, time.Duration(now-a.start))
	}
	if a.member != nil {
		a.member.markSuspect()
	}
}

// end ends the current attempt, if there is one.
func (r *Request) end() {
	r.unreserve()
	a := r.current
	r.current = attempt{}
	if a.load == nil {
		return
	}
	if a.waiting {
		a.load.Answered(a.start)
	}
	if a.stopEnd == nil || (*a.stopEnd)() {
		if a.member != nil {
			r.pool.finished(a.member)
		} else {
			a.load.End()
		}
	}
}

// tried reports whether r was already sent to m.
func (r *Request) tried(m *Member) bool { return slices.Contains(r.visited, m.Upstream) }

// answered records a response, and wakes the queue, because there may be room now.
func (p *Pool) answered(m *Member, status int, latency time.Duration) {
	p.recordOutcome(m, status, latency)
	m.growReleaseWindow(p.queue.size.Load() > 0)
	p.queue.advance()
}

// finished ends a request at m, and wakes the queue, because there may be room now.
func (p *Pool) finished(m *Member) {
	m.load.End()
	m.unreserve()
	p.queue.advance()
}
