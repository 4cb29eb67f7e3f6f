package pool

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/balance"
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

	pool     *Pool
	been     []*Upstream
	space    [2]*Upstream // room for been, so that most requests need no other
	attempts int
	retrying bool

	// current is the attempt under way; its load is nil while there is none.
	current attempt

	// patience is until when this request may be held; zero while it never was.
	patience time.Time
	spent    bool
}

// attempt is one try at one upstream.
type attempt struct {
	load     *balance.Load
	upstream *Upstream // nil when it is not one of a pool
	start    int64
	waiting  bool
	forget   func() bool // set while the attempt ends with a context
}

// Enter tells that p is to choose for r. Unless the attempt before it failed,
// another proxy begins here, and what was tried before it does not count.
func (r *Request) Enter(p *Pool) {
	if !r.retrying || r.pool != p {
		r.end(false)
		r.been, r.attempts = r.space[:0], 0
		r.patience, r.spent = time.Time{}, false
	}
	r.pool, r.retrying = p, false
}

// Pool is the pool that chose last, or nil.
func (r *Request) Pool() *Pool { return r.pool }

// Resent reports whether more than one upstream was tried in this proxy.
func (r *Request) Resent() bool { return r.attempts > 1 }

// Begin notes that r is sent to an upstream that has the given load and is not
// one of a pool.
func (r *Request) Begin(ctx context.Context, load *balance.Load) {
	now := balance.Now()
	r.current = attempt{load: load, start: now, waiting: true}
	load.Begin(now)
	if !r.Watched {
		load.Answered(now) // nobody will tell when it was
		r.current.waiting = false
		r.current.forget = context.AfterFunc(ctx, load.End)
	}
}

// BeginAt is Begin for an upstream of the pool.
func (r *Request) BeginAt(ctx context.Context, u *Upstream) {
	r.Begin(ctx, &u.load)
	r.visit(u)
}

// BeganAt is BeginAt for an upstream that another policy chose: it is known only
// afterwards, and only by its address.
func (r *Request) BeganAt(hostPort string) {
	if r.current.upstream != nil || r.pool == nil {
		return
	}
	if u := r.pool.byAddress[hostPort]; u != nil {
		r.visit(u)
	}
}

func (r *Request) visit(u *Upstream) {
	r.current.upstream = u
	r.attempts++
	r.been = append(r.been, u)
}

// Answered notes the status of the response, once its headers are there.
func (r *Request) Answered(status int) {
	a := &r.current
	if !a.waiting {
		return
	}
	a.waiting = false
	a.load.Answered(a.start)
	now := balance.Now()
	latency := time.Duration(now - a.start)
	if status >= http.StatusInternalServerError || status == http.StatusTooManyRequests {
		latency = max(latency, balance.ErrorLatency)
	}
	a.load.Observe(now, latency)
}

// Failed notes that the attempt under way failed and another may follow. Status
// is that of the response the proxy did not accept, 0 when there was none: only
// then is the upstream under suspicion.
func (r *Request) Failed(status int) {
	r.retrying = true
	if status != 0 {
		r.Answered(status)
		r.end(false)
		return
	}
	r.end(true)
}

// Done notes the end of the request, and whether the attempt under way failed. A
// client that left tells nothing about the upstream: that is no failure.
func (r *Request) Done(failed bool) { r.end(failed) }

// end closes the attempt under way, if there is one.
func (r *Request) end(failed bool) {
	a := r.current
	r.current = attempt{}
	if failed && a.upstream != nil {
		a.upstream.suspected()
	}
	if a.load == nil {
		return
	}
	if a.waiting {
		a.load.Answered(a.start)
	}
	if failed {
		a.load.Observe(balance.Now(), balance.ErrorLatency)
	}
	if a.forget == nil || a.forget() {
		a.load.End()
	}
}

// tried reports whether r was sent to u already.
func (r *Request) tried(u *Upstream) bool { return slices.Contains(r.been, u) }
