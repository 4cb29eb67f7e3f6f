package pool

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/balance"
	"github.com/healthpool/caddy-healthpool/internal/cause"
)

// Request is the record of one request on its way through a proxy. It belongs to
// the goroutine that serves the request.
type Request struct {
	// Watched is set by whoever promises to call Answered and Done. Without
	// it, an attempt ends with the context of the request, and its outcome is
	// known only where the proxy tries again.
	Watched bool
	// Poll marks a request that only asks whether the pool is up. It is never
	// held and never given an upstream.
	Poll bool
	// Hurried requests are never held.
	NoHold bool
	// Admitted requests pass while the pool is closed for maintenance.
	Admitted bool

	retrying  bool
	holdSpent bool // whether it may not be held any more

	pool       *Pool
	visited    []*Upstream
	visitedBuf [2]*Upstream // room for been, so that most requests need no other
	attempts   int
	// failed are the loads of those outside of a pool at which attempts failed.
	failed []*balance.Load

	// current is the attempt under way; its load is nil while there is none.
	current attempt
	// taken is the upstream that has a place for r, which is not sent yet.
	reserved *Member

	// patience is until when this request may be held; zero while it never was.
	holdUntil time.Time
}

// attempt is one try at one upstream.
type attempt struct {
	load    *balance.Load
	member  *Member // nil when it is not one of a pool
	start   int64
	waiting bool
	// answered is whether its status has been noted.
	answered bool
	stopEnd  *func() bool // set while the attempt ends with a context
}

// Enter tells that p is to choose for r. Unless the attempt before it failed,
// another proxy begins here, and what was tried before it does not count.
func (r *Request) Enter(p *Pool) {
	if !r.retrying || r.pool != p {
		r.end()
		r.visited, r.attempts = r.visitedBuf[:0], 0
		r.holdUntil, r.holdSpent = time.Time{}, false
	}
	r.pool, r.retrying = p, false
}

// Pool is the pool that chose last, or nil.
func (r *Request) Pool() *Pool { return r.pool }

// Crowded reports whether the pool has upstreams, but all are full.
func (r *Request) AllFull() bool { return r.pool != nil && r.pool.view.Load().allFull() }

// MaybeSent reports whether an upstream before the last may have had the request:
// one that was tried, and is not known to take no connections.
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

// Sent reports whether an attempt is under way.
func (r *Request) Sent() bool { return r.current != attempt{} }

// SentTo reports whether it is at that address, as far as that is known.
func (r *Request) SentTo(hostPort string) bool {
	return r.current.member == nil || r.current.member.HostPort == hostPort
}

// Leave tells that no pool has to do with r any more.
func (r *Request) Detach() {
	r.end()
	r.pool = nil
}

// FailedAt reports whether an attempt failed at the upstream that has the given load and
// is not one of a pool.
func (r *Request) FailedAt(load *balance.Load) bool { return slices.Contains(r.failed, load) }

// Begin notes that r is sent to an upstream that has the given load and is not
// one of a pool.
func (r *Request) Begin(ctx context.Context, load *balance.Load) {
	r.send(load)
	if !r.Watched {
		r.unwatched(ctx, load.End)
	}
}

// BeginAt is Begin for an upstream of the pool. It reports false if that has as
// many requests as it may.
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

// BeginWhere is BeginAt for an upstream that another policy chose.
func (r *Request) BeginWhere(ctx context.Context, dial string) bool {
	for _, m := range r.pool.view.Load().members {
		if m.Dial() == dial {
			return r.BeginAt(ctx, m)
		}
	}
	return true
}

// unwatched has the attempt end with ctx: nobody will tell of its answer.
func (r *Request) unwatched(ctx context.Context, end func()) {
	r.current.load.Answered(r.current.start)
	r.current.waiting = false
	stop := context.AfterFunc(ctx, end)
	r.current.stopEnd = &stop
}

// take chooses until it has a place at the best, which may become full meanwhile.
func (r *Request) reserve(choose func() (best, second *Member)) (best, second *Member) {
	for {
		best, second = choose()
		if best == nil || best.reserve() {
			r.reserved = best
			return best, second
		}
	}
}

// Decline tells that r is not sent to what was picked for it.
func (r *Request) Decline() { r.unreserve() }

// giveBack returns the place that was taken for r but not used.
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

// Answered notes the status of the response, once its headers are there.
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

// Failed notes that the attempt under way failed and another may follow. Unless the
// upstream is innocent, because it answered or the client is to blame, it comes under
// suspicion. MaybeSent tells whether it may have had the request: if its next check
// passes, that counts against it.
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

// Done notes the end of the request: with an answer, or with the cause for which
// the attempt under way failed. A client that left tells nothing about it.
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

// suspect holds a failed attempt against its upstream. Where nobody tells of
// answers, there would never be one to make up for it.
func (r *Request) suspect(a attempt) {
	if a.load != nil && r.Watched {
		now := balance.Now()
		a.load.Fail(now, time.Duration(now-a.start))
	}
	if a.member != nil {
		a.member.markSuspect()
	}
}

// end closes the attempt under way, if there is one.
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

// tried reports whether r was sent to m already.
func (r *Request) tried(m *Member) bool { return slices.Contains(r.visited, m.Upstream) }

// answered counts a response, and makes room for those who wait.
func (p *Pool) answered(m *Member, status int, latency time.Duration) {
	p.recordOutcome(m, status, latency)
	m.growReleaseWindow(p.queue.size.Load() > 0)
	p.queue.advance()
}

// finished counts a request off, which may leave room for one that waits.
func (p *Pool) finished(m *Member) {
	m.load.End()
	m.unreserve()
	p.queue.advance()
}
