package pool

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/cause"
)

// retry has a request meet a dead app and be retried, as reverse_proxy does.
func retry(p *Pool, r *Request) string {
	r.Failed(false, false)
	return pick(p, r)
}

func TestRestartIsBridged(t *testing.T) {
	bubble(t, 1, options(), func(t *testing.T, p *Pool, apps []*app) {
		apps[0].set(cause.ConnectionRefused)
		begun := time.Now()
		time.AfterFunc(2*time.Second, func() { apps[0].set("") })
		r := new(Request)
		if got := pick(p, r); got != "app1:80" {
			t.Fatalf("picked %q: nobody knows yet that it is down", got)
		}
		if got := retry(p, r); got != "app1:80" {
			t.Fatalf("picked %q after the restart", got)
		}
		if waited := time.Since(begun); waited < 2*time.Second || waited > 2*time.Second+urgentInterval*11/10+2*releaseDelay {
			t.Errorf("waited %v for a restart of 2 s", waited)
		}
		r.Done("")
		if held := p.Status().Held; held != 0 {
			t.Errorf("%d requests are held for ever", held)
		}
	})
}

func TestLongOutageAnswersAtOnce(t *testing.T) {
	bubble(t, 1, options(), func(t *testing.T, p *Pool, apps []*app) {
		time.Sleep(interval)
		apps[0].set(cause.ConnectionRefused)
		r := new(Request)
		pick(p, r)
		begun := time.Now()
		if got := retry(p, r); got != "" {
			t.Fatalf("picked %q in an outage", got)
		}
		within(t, "the first request waited", time.Since(begun), hold)
		begun = time.Now()
		for range 3 { // reverse_proxy may ask again: the hold is not extended
			if got := retry(p, r); got != "" || time.Since(begun) != 0 {
				t.Errorf("picked %q after %v more", got, time.Since(begun))
			}
		}
		// The outage is known since a check, which may come minCheckGap after the request that asked for it.
		if got := pick(p, new(Request)); got != "" || time.Since(begun) > minCheckGap {
			t.Errorf("a later request picked %q after %v, want none at once", got, time.Since(begun))
		}
	})
}

func TestOutageNobodySawBeginIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, apps, _ := newPool(options(), 1)
		apps[0].set(cause.ConnectionRefused)
		start(t, p)
		begun := time.Now()
		if got := pick(p, new(Request)); got != "" || time.Since(begun) > releaseDelay {
			t.Errorf("picked %q after %v", got, time.Since(begun))
		}
	})
}

func TestFirstVerdictIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, apps, _ := newPool(options(), 2)
		apps[0].takes, apps[1].takes = 300*time.Millisecond, 200*time.Millisecond
		start(t, p)
		begun := time.Now()
		if got := pick(p, new(Request)); got != "app2:80" || time.Since(begun) != 200*time.Millisecond {
			t.Errorf("picked %q after %v", got, time.Since(begun))
		}
	})
}

func TestWithoutHoldUncheckedUpstreamsServe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options()
		o.Hold = 0
		p, apps, _ := newPool(o, 1)
		apps[0].takes = time.Second
		start(t, p)
		if got := pick(p, new(Request)); got != "app1:80" {
			t.Errorf("picked %q", got)
		}
	})
}

func TestHoldIsBounded(t *testing.T) {
	o := options()
	o.HoldMax = 3
	bubble(t, 1, o, func(t *testing.T, p *Pool, apps []*app) {
		apps[0].set(cause.ConnectionRefused)
		r := new(Request)
		pick(p, r)
		r.Done(cause.ConnectionRefused)
		time.Sleep(time.Second) // for the check
		for range 3 {
			go pick(p, new(Request))
		}
		synctest.Wait()
		begun := time.Now()
		if got := pick(p, new(Request)); got != "" || time.Since(begun) != 0 {
			t.Errorf("the fourth picked %q after %v, want nothing at once", got, time.Since(begun))
		}
		if held := p.Status().Held; held != 3 {
			t.Errorf("%d are held, want 3", held)
		}
		apps[0].set("")
		time.Sleep(time.Second)
		if held := p.Status().Held; held != 0 {
			t.Errorf("%d are held still", held)
		}
	})
}

func TestClientThatLeavesIsLetGo(t *testing.T) {
	bubble(t, 1, options(), func(t *testing.T, p *Pool, apps []*app) {
		apps[0].set(cause.ConnectionRefused)
		r := new(Request)
		pick(p, r)
		r.Failed(false, false)
		r.Enter(p)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begun := time.Now()
		if u, _ := p.Pick(ctx, r); u != nil || time.Since(begun) != time.Second {
			t.Errorf("picked %v after %v", u, time.Since(begun))
		}
		if held := p.Status().Held; held != 0 {
			t.Errorf("%d are held for a client that left", held)
		}
	})
}

func TestRetryGoesWhereItHasNotBeen(t *testing.T) {
	bubble(t, 4, options(), func(t *testing.T, p *Pool, apps []*app) {
		for range 100 {
			r, been := new(Request), make(map[string]bool)
			for got := pick(p, r); len(been) < 4; got = retry(p, r) {
				if been[got] {
					t.Fatalf("went to %s again after %d of 4", got, len(been))
				}
				been[got] = true
			}
			r.Done("")
			time.Sleep(interval)
		}
	})
}

// TestAllButOneDyingAtOnce has a request meet one dead upstream after another.
func TestAllButOneDyingAtOnce(t *testing.T) {
	bubble(t, 4, options(), func(t *testing.T, p *Pool, apps []*app) {
		for range 20 {
			for _, a := range apps[:3] {
				a.set(cause.ConnectionRefused)
			}
			r := new(Request)
			got := pick(p, r)
			for tries := 1; got != "app4:80"; tries++ {
				if tries > 3 {
					t.Fatal("four tries have not found the one that lives")
				}
				got = retry(p, r)
			}
			r.Done("")
			for _, a := range apps {
				a.set("")
			}
			time.Sleep(4 * interval)
		}
	})
}

// TestAllDyingAtOnce: retries are not wasted on dying upstreams; the request waits for the
// first check, and then for the first to recover.
func TestAllDyingAtOnce(t *testing.T) {
	bubble(t, 4, options(), func(t *testing.T, p *Pool, apps []*app) {
		for _, a := range apps {
			a.takes = 20 * time.Millisecond
			a.set(cause.ConnectionRefused)
		}
		time.AfterFunc(2*time.Second, func() {
			for _, a := range apps {
				a.set("")
			}
		})
		r := new(Request)
		tries := 1
		begun := time.Now()
		for pick(p, r); time.Since(begun) < 2*time.Second; tries++ {
			retry(p, r)
		}
		if tries > 5 {
			t.Errorf("%d tries in 2 s of outage: they were burned", tries)
		}
		if u := r.current.member; u == nil {
			t.Error("the request did not survive")
		}
	})
}

func TestSuspectIsAvoidedUntilItsVerdict(t *testing.T) {
	bubble(t, 2, options(), func(t *testing.T, p *Pool, apps []*app) {
		for _, a := range apps {
			a.takes = 100 * time.Millisecond
		}
		r := new(Request)
		bad := pick(p, r)
		r.Done(cause.ConnectionRefused)
		for range 50 {
			r := new(Request)
			if got := pick(p, r); got == bad {
				t.Fatal("picked the suspect while another was there")
			}
			r.Done("")
		}
		time.Sleep(time.Second)
		if u := byAddress(p, bad); u.suspect() {
			t.Error("the check did not clear the suspicion")
		}
	})
}

// TestOlderCheckClearsNoSuspicion: a check that began before the request failed proves
// nothing about what happened since.
func TestOlderCheckClearsNoSuspicion(t *testing.T) {
	bubble(t, 1, options(), func(t *testing.T, p *Pool, apps []*app) {
		u := p.view.Load().members[0]
		apps[0].takes = 100 * time.Millisecond
		u.checkSoon()
		time.Sleep(50 * time.Millisecond)
		apps[0].set(cause.ConnectionRefused)
		r := new(Request)
		pick(p, r)
		r.Done(cause.ConnectionRefused)
		time.Sleep(60 * time.Millisecond)
		if !u.suspect() {
			t.Error("an old check has cleared a new suspicion")
		}
		time.Sleep(200 * time.Millisecond)
		if p.Status().State != Down {
			t.Errorf("state %s: no check was made after the failure", p.Status().State)
		}
	})
}

// TestRetriedResponseIsNotSuspect: an upstream whose status is to be retried elsewhere did
// answer.
func TestRetriedResponseIsNotSuspect(t *testing.T) {
	bubble(t, 1, options(), func(t *testing.T, p *Pool, _ []*app) {
		r := new(Request)
		pick(p, r)
		r.Answered(503)
		r.Failed(true, true)
		if p.view.Load().members[0].suspect() {
			t.Error("suspected although it answered")
		}
		if l := p.view.Load().members[0].load.Latency(); l < time.Second {
			t.Errorf("latency %v: an error must count as slow", l)
		}
	})
}

func TestUsable(t *testing.T) {
	bubble(t, 3, options(), func(t *testing.T, p *Pool, apps []*app) {
		names := func(r *Request) (out string) {
			for _, u := range p.Usable(t.Context(), r) {
				out += u.Dial()[3:4]
			}
			return out
		}
		r := new(Request)
		r.Enter(p)
		if got := names(r); got != "123" {
			t.Errorf("all are healthy: got %s", got)
		}
		r.BeginWhere(t.Context(), "app2:80")
		r.Failed(false, false)
		r.Enter(p)
		if got := names(r); got != "13" {
			t.Errorf("after trying 2: got %s", got)
		}
		apps[0].set(cause.ConnectionRefused)
		apps[2].set(cause.ConnectionRefused)
		time.Sleep(2 * interval)
		if got := names(r); got != "2" {
			t.Errorf("only 2 is left, although it was tried: got %s", got)
		}
	})
}

func TestUnwatchedRequestEndsWithItsContext(t *testing.T) {
	bubble(t, 1, options(), func(t *testing.T, p *Pool, _ []*app) {
		ctx, cancel := context.WithCancel(t.Context())
		r := new(Request)
		r.Enter(p)
		u, _ := p.Pick(ctx, r)
		r.BeginAt(ctx, u)
		if n := u.load.InFlight(); n != 1 {
			t.Fatalf("%d in flight, want 1", n)
		}
		cancel()
		synctest.Wait()
		if n := u.load.InFlight(); n != 0 {
			t.Errorf("%d in flight after the end", n)
		}
	})
}
