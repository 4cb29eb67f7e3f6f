package pool

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/cause"
)

func TestMaxRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _, members := newPool(options(), 2)
		p.Release()
		for i := range members {
			members[i].MaxRequests = 2
		}
		p = New(options(), members)
		start(t, p)
		time.Sleep(time.Second)
		var out [4]*Request
		count := make(map[string]int)
		for i := range out {
			out[i] = new(Request)
			count[pick(p, out[i])]++
		}
		if fmt.Sprint(count) != "map[app1:80:2 app2:80:2]" || !p.view.Load().allFull() {
			t.Errorf("requests at %v, crowded %v", count, p.view.Load().allFull())
		}
		time.AfterFunc(time.Second, func() { out[0].Answered(200); out[0].Done("") })
		begun := time.Now()
		if got := pick(p, new(Request)); got == "" || time.Since(begun) != time.Second {
			t.Errorf("picked %q after %v, want it as soon as one is free", got, time.Since(begun))
		}
		begun = time.Now()
		if got := pick(p, new(Request)); got != "" || time.Since(begun) != hold {
			t.Errorf("picked %q after %v, want nothing after the hold", got, time.Since(begun))
		}
	})
}

// TestFreedRequestsAreUsed: when a request ends, a waiting one is sent, no matter how many
// others are still unanswered.
func TestFreedRequestsAreUsed(t *testing.T) {
	for name, held := range map[string]int{"always up": 0, "came back for some": 1, "came back for a window": firstReleaseWindow} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, apps, members := newPool(options(), 1)
				p.Release()
				members[0].MaxRequests = 20
				p = New(options(), members)
				start(t, p)
				synctest.Wait()
				out := make([]*Request, 0, 20)
				if held > 0 {
					apps[0].set(cause.ConnectionRefused)
					failRequests(p, 1, cause.ConnectionRefused)
					synctest.Wait()
					time.AfterFunc(time.Second, func() { apps[0].set("") })
				}
				var all sync.WaitGroup
				for i := range cap(out) {
					r := new(Request)
					out = append(out, r)
					if i < held {
						all.Go(func() { pick(p, r) })
						continue
					}
					all.Wait() // the held ones
					pick(p, r)
				}
				time.AfterFunc(time.Second, func() {
					out[0].Answered(200)
					out[0].Done("")
				})
				begun := time.Now()
				if got := pick(p, new(Request)); got == "" || time.Since(begun) != time.Second {
					t.Errorf("picked %q after %v, though a place was free after 1s", got, time.Since(begun))
				}
			})
		})
	}
}

// TestMaxRequestsIsNeverExceeded: an app with max_requests 1 must never get two requests,
// however many arrive at once.
func TestMaxRequestsIsNeverExceeded(t *testing.T) {
	for name, send := range map[string]func(p *Pool, r *Request) bool{
		"health_aware": func(p *Pool, r *Request) bool { return pick(p, r) != "" },
		"another policy": func(p *Pool, r *Request) bool {
			r.Watched = true
			r.Enter(p)
			usable := p.Usable(context.Background(), r)
			return len(usable) > 0 && r.BeginWhere(context.Background(), usable[0].Dial())
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const places, clients = 2, 200
				o := options()
				o.HoldMax = clients
				p, _, members := newPool(o, 1)
				p.Release()
				members[0].MaxRequests = places
				p = New(o, members)
				start(t, p)
				synctest.Wait()
				var now, served atomic.Int64
				var all sync.WaitGroup
				for range clients {
					all.Go(func() {
						r := new(Request)
						if !send(p, r) {
							return
						}
						served.Add(1)
						if n := now.Add(1); n > places {
							t.Errorf("%d requests at once", n)
						}
						time.Sleep(time.Millisecond)
						now.Add(-1)
						r.Answered(200)
						r.Done("")
					})
				}
				all.Wait()
				if n := members[0].Key; served.Load() == 0 || byAddress(p, n.Address).reserved.Load() != 0 {
					t.Errorf("%d served, %d places are taken in the end", served.Load(), byAddress(p, n.Address).reserved.Load())
				}
			})
		})
	}
}
