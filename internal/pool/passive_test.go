package pool

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/cause"
	"github.com/healthpool/caddy-healthpool/internal/health"
)

// serve has the member i answer n requests with status.
func serve(p *Pool, i, n, status int) {
	m := p.view.Load().members[i]
	for range n {
		r := &Request{Watched: true}
		r.Enter(p)
		r.BeginAt(context.Background(), m)
		r.Answered(status)
		r.Done("")
	}
}

// failRequests has n requests to the first member fail with c.
func failRequests(p *Pool, n int, c cause.Cause) {
	m := p.view.Load().members[0]
	for range n {
		r := &Request{Watched: true}
		r.Enter(p)
		r.BeginAt(context.Background(), m)
		r.Done(c)
	}
}

func states(p *Pool) (out string) {
	for _, u := range p.Status().Upstreams {
		out += u.State[:1]
	}
	return out
}

func TestEjection(t *testing.T) {
	for _, tt := range []struct {
		name string
		fail func(p *Pool)
		want string
	}{
		{"four 500s", func(p *Pool) { serve(p, 0, 4, 500) }, "hhh"},
		{"five 500s", func(p *Pool) { serve(p, 0, 5, 500) }, "ehh"},
		{"any of the class", func(p *Pool) { serve(p, 0, 3, 503); serve(p, 0, 2, 502) }, "ehh"},
		{"a success in between", func(p *Pool) { serve(p, 0, 4, 500); serve(p, 0, 1, 200); serve(p, 0, 4, 500) }, "hhh"},
		{"404s are answers", func(p *Pool) { serve(p, 0, 50, 404) }, "hhh"},
		{"five broken connections", func(p *Pool) { failRequests(p, 5, cause.ConnectionTerminated) }, "ehh"},
		{"never sent is no failure", func(p *Pool) { failRequests(p, 50, cause.ConnectionRefused) }, "hhh"},
		{"a client that leaves is no failure", func(p *Pool) { failRequests(p, 50, cause.ClientGone) }, "hhh"},
		{"half of the pool at most, at least one", func(p *Pool) { serve(p, 0, 5, 500); serve(p, 1, 50, 500) }, "ehh"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, 3, options(), func(t *testing.T, p *Pool, _ []*app) {
				tt.fail(p)
				synctest.Wait()
				if got := states(p); got != tt.want {
					t.Errorf("got %s, want %s", got, tt.want)
				}
			})
		})
	}
}

func TestTheLastIsNeverEjected(t *testing.T) {
	o := options()
	o.MaxEjected = 1
	bubble(t, 2, o, func(t *testing.T, p *Pool, _ []*app) {
		serve(p, 0, 50, 500)
		serve(p, 1, 50, 500)
		if got := states(p); got != "eh" {
			t.Errorf("got %s", got)
		}
		if p.Status().Upstreams[0].Detail != "5 requests in a row failed, the last with status 500" {
			t.Errorf("detail %q", p.Status().Upstreams[0].Detail)
		}
	})
}

func TestSlowAnswersEject(t *testing.T) {
	o := options()
	o.Latency = time.Second
	bubble(t, 2, o, func(t *testing.T, p *Pool, _ []*app) {
		m := p.view.Load().members[1]
		for range 5 {
			r := &Request{Watched: true}
			r.Enter(p)
			r.BeginAt(context.Background(), m)
			time.Sleep(time.Second)
			r.Answered(200)
			r.Done("")
		}
		if got := states(p); got != "he" {
			t.Errorf("got %s", got)
		}
	})
}

// TestEjectedComesBackWarmingUp: after the ejection, a passed check brings the upstream
// back with part of its share.
func TestEjectedComesBackWarmingUp(t *testing.T) {
	o := options()
	o.SlowStart = 10 * time.Second
	bubble(t, 2, o, func(t *testing.T, p *Pool, _ []*app) {
		time.Sleep(time.Minute) // new upstreams warm up, too
		if p.Status().Upstreams[0].Warming {
			t.Error("still warming a minute after the start")
		}
		serve(p, 0, 5, 500)
		time.Sleep(4 * time.Second) // too early for an ejection of 10 s, even with jitter
		if got := states(p); got != "eh" {
			t.Fatalf("got %s", got)
		}
		for range 100 {
			if got := pick(p, new(Request)); got != "app2:80" {
				t.Fatalf("picked %s, which is ejected", got)
			}
		}
		for states(p) != "hh" {
			time.Sleep(100 * time.Millisecond)
		}
		if !p.Status().Upstreams[0].Warming {
			t.Error("back with its whole share at once")
		}
		time.Sleep(11 * time.Second)
		if p.Status().Upstreams[0].Warming {
			t.Error("warming for ever")
		}
	})
}

// TestEjectedServeWhenNothingElseIsLeft: bad answers are better than none.
func TestEjectedServeWhenNothingElseIsLeft(t *testing.T) {
	bubble(t, 2, options(), func(t *testing.T, p *Pool, apps []*app) {
		serve(p, 0, 5, 500)
		apps[1].set(cause.ConnectionRefused)
		r := new(Request)
		pick(p, r)
		if got := retry(p, r); got != "app1:80" {
			t.Errorf("picked %q", got)
		}
		if s := p.Status().State; s != Degraded {
			t.Errorf("state %s", s)
		}
	})
}

// failUnknown has n requests to the first member fail so that it is unknown whether it received
// them. Unwatched ones belong to a proxy outside of no_healthy_upstream.
func failUnknown(p *Pool, n int, watched bool) {
	m := p.view.Load().members[0]
	for range n {
		r := &Request{Watched: watched}
		r.Enter(p)
		r.BeginAt(context.Background(), m)
		r.Failed(false, true)
	}
}

// TestRestartEjectsNobody: requests that fail because of a restart were never sent. If they
// counted, the upstream would stay ejected long after it is back.
func TestRestartEjectsNobody(t *testing.T) {
	var ejected atomic.Bool
	o := options()
	o.OnTransition = func(t Transition) {
		if t.To == health.Ejected {
			ejected.Store(true)
		}
	}
	bubble(t, 3, o, func(t *testing.T, p *Pool, apps []*app) {
		for range 3 {
			apps[0].set(cause.ConnectionRefused)
			failUnknown(p, 20, true)
			time.Sleep(2 * minCheckGap) // for its check
			if got := states(p); got != "uhh" {
				t.Fatalf("got %s, want it out for its check", got)
			}
			apps[0].set("")
			time.Sleep(2 * interval)
			failUnknown(p, 1, true) // one more must not eject
			time.Sleep(interval)
			if got := states(p); got != "hhh" || ejected.Load() {
				t.Fatalf("got %s, ejected %v", got, ejected.Load())
			}
		}
	})
}

// TestUnconfirmedFailuresCountAfterAPass: an upstream that accepts connections, passes its
// checks and answers nothing is ejected, even if its requests were retried elsewhere.
func TestUnconfirmedFailuresCountAfterAPass(t *testing.T) {
	bubble(t, 3, options(), func(t *testing.T, p *Pool, _ []*app) {
		for range 5 {
			failUnknown(p, 1, true)
			time.Sleep(time.Second) // its check passes
		}
		failUnknown(p, 1, true)
		if got := states(p); got != "ehh" {
			t.Errorf("got %s", got)
		}
	})
}

// TestUnwatchedRequestsEjectNobody: without no_healthy_upstream nobody reports good
// answers, so the few failures must not add up over hours to an ejection, nor reduce the
// upstream's share.
func TestUnwatchedRequestsEjectNobody(t *testing.T) {
	bubble(t, 3, options(), func(t *testing.T, p *Pool, _ []*app) {
		for range 20 {
			failUnknown(p, 1, false)
			time.Sleep(time.Minute)
			if got := states(p); got != "hhh" {
				t.Fatalf("got %s: %+v", got, p.Status().Upstreams[0])
			}
		}
		failUnknown(p, 1, false)
		time.Sleep(time.Second) // its check passes
		count := make(map[string]int)
		for range 90 {
			ctx, cancel := context.WithCancel(context.Background())
			r := new(Request)
			r.Enter(p)
			m, _ := p.Pick(ctx, r)
			r.BeginAt(ctx, m)
			count[m.Dial()]++
			cancel()
			synctest.Wait()
		}
		if count["app1:80"] < 10 {
			t.Errorf("it is starved: %v", count)
		}
	})
}

// TestSuccessClearsUnconfirmedFailures: they do not count together with later ones.
func TestSuccessClearsUnconfirmedFailures(t *testing.T) {
	bubble(t, 3, options(), func(t *testing.T, p *Pool, _ []*app) {
		failUnknown(p, 4, true)
		serve(p, 0, 1, 200)
		time.Sleep(time.Second) // its check passes
		serve(p, 0, 1, 500)
		if got := states(p); got != "hhh" {
			t.Errorf("got %s after one failure since the last success", got)
		}
	})
}
