package pool

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/cause"
)

// TestReload replaces a config as Caddy does: the new one starts before the old one stops.
func TestReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, apps, members := newPool(options(), 2)
		oldProber := NewProber(1)
		old.Start(oldProber)
		apps[1].set(cause.ConnectionRefused)
		time.Sleep(10 * interval)
		before := old.Status()

		next := New(options(), members)
		start(t, next)
		old.Stop()
		oldProber.Stop()
		old.Release()
		if got := next.Status(); got.State != before.State || !got.Since.Equal(before.Since) ||
			got.Upstreams[1].History != before.Upstreams[1].History {
			t.Errorf("after the reload: %+v, before: %+v", got, before)
		}
		if got := pick(next, new(Request)); got != "app1:80" {
			t.Errorf("picked %q: the reload has forgotten who is down", got)
		}

		begun := time.Now()
		apps[0].mu.Lock()
		apps[0].checks = nil
		apps[0].mu.Unlock()
		time.Sleep(10 * interval)
		if n := len(apps[0].since(begun)); n < 9 || n > 12 {
			t.Errorf("%d checks in ten intervals: the reload has multiplied or lost them", n)
		}
	})
}

func TestReloadDuringACheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, apps, members := newPool(options(), 1)
		apps[0].takes = time.Second
		oldProber := NewProber(1)
		old.Start(oldProber)
		synctest.Wait() // in the middle of the first check

		next := New(options(), members)
		start(t, next)
		old.Stop()
		oldProber.Stop()
		old.Release()
		if got := next.Status().Upstreams[0]; got.State != "checking" || got.History != "" {
			t.Errorf("a check that was cut short counts: %+v", got)
		}
		time.Sleep(time.Second + time.Millisecond)
		synctest.Wait()
		if got := next.Status().Upstreams[0].State; got != "healthy" {
			t.Errorf("got %s: the new config did not make up for it", got)
		}
	})
}

func TestStopWaitsForChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, apps, _ := newPool(options(), 5)
		for _, a := range apps {
			a.takes = time.Hour
		}
		b := NewProber(2)
		p.Start(b)
		synctest.Wait()
		p.Stop()
		b.Stop()
		for i, a := range apps {
			if a.busy.Load() != 0 {
				t.Errorf("the check of app %d goes on", i+1)
			}
		}
		b.Stop()
		p.Stop()
		p.Release()
		p.Release()
		time.Sleep(10 * interval)
		for i, a := range apps {
			if n := len(a.since(time.Now())); n > 1 {
				t.Errorf("app %d was checked %d times after the stop", i+1, n-1)
			}
		}
	})
}

func TestReleaseFreesTheState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _, members := newPool(options(), 1)
		again := New(options(), members)
		refs := func() int {
			n, _ := upstreams.References(members[0].Key)
			return n
		}
		if refs() != 2 {
			t.Errorf("two pools: %d references", refs())
		}
		p.Release()
		if refs() != 2 {
			t.Errorf("requests may wait still: %d references", refs())
		}
		time.Sleep(hold + time.Second)
		if refs() != 1 {
			t.Errorf("one released: %d references", refs())
		}
		again.Release()
		time.Sleep(hold + time.Second)
		if refs() != 0 {
			t.Errorf("both released: %d references", refs())
		}
		if u := p.view.Load().members[0]; len(u.pools) != 0 {
			t.Errorf("the state still knows %d pools", len(u.pools))
		}
	})
}

// TestSuspicionNeedsAChecker: a pool without checks, in a config that is stopping, must not
// suspect an upstream forever.
func TestSuspicionNeedsAChecker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _, _ := newPool(options(), 1)
		b := NewProber(1)
		p.Start(b)
		synctest.Wait()
		p.Stop()
		b.Stop()
		r := new(Request)
		pick(p, r)
		r.Done(cause.ConnectionRefused)
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		if u, _ := p.Pick(ctx, new(Request)); u == nil {
			t.Error("suspected for ever")
		}
		p.Release()
	})
}

// TestReloadThatFails: another config started and stopped again, perhaps just when a check
// was due; the old one continues checking.
func TestReloadThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, apps, members := newPool(options(), 1)
		start(t, p)
		time.Sleep(interval / 2)
		next, prober := New(options(), members), NewProber(1)
		next.Start(prober)
		prober.Stop() // before its pool, so the due check finds it stopped
		time.Sleep(2 * interval)
		next.Stop()
		next.Release()
		before := len(apps[0].since(time.Now()))
		time.Sleep(10 * interval)
		if n := len(apps[0].since(time.Now())) - before; n < 9 {
			t.Errorf("%d checks in ten intervals after the reload that failed", n)
		}
	})
}

// TestStopTwice: the second call must not start checks for waiting requests again.
func TestStopTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, apps, _ := newPool(options(), 1)
		b := NewProber(1)
		p.Start(b)
		synctest.Wait()
		apps[0].set(cause.ConnectionRefused)
		failRequests(p, 1, cause.ConnectionRefused)
		time.Sleep(100 * time.Millisecond)
		go pick(p, new(Request))
		synctest.Wait()
		p.Stop()
		first := p.handoverProber.Load()
		p.Stop()
		if first == nil || p.handoverProber.Load() != first {
			t.Error("who waits is attended twice")
		}
		b.Stop()
		p.Release()
		time.Sleep(2 * hold)
	})
}
