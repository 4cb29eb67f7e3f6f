package pool

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/cause"
)

// TestFirstComeFirstServed: the requests that waited longest go first, and later ones wait
// behind them.
func TestFirstComeFirstServed(t *testing.T) {
	bubble(t, 1, options(), func(t *testing.T, p *Pool, apps []*app) {
		apps[0].set(cause.ConnectionRefused)
		failRequests(p, 1, cause.ConnectionRefused)
		time.Sleep(time.Second)
		served := make([]time.Time, 30) // those that are released together at the same time
		for i := range served {
			go func() {
				r := new(Request)
				pick(p, r)
				served[i] = time.Now()
				time.Sleep(time.Millisecond)
				r.Answered(200)
				r.Done("")
			}()
			synctest.Wait()
		}
		apps[0].set("")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if !slices.IsSortedFunc(served, time.Time.Compare) || served[0].IsZero() || served[0].Equal(served[29]) {
			t.Errorf("served at %v", served)
		}
	})
}

// TestReleaseWindow: a recovered upstream gets the held requests as fast as it answers, not
// all at once.
func TestReleaseWindow(t *testing.T) {
	bubble(t, 1, options(), func(t *testing.T, p *Pool, apps []*app) {
		apps[0].set(cause.ConnectionRefused)
		failRequests(p, 1, cause.ConnectionRefused)
		time.Sleep(time.Second)
		const held, takes = 90, 10 * time.Millisecond
		most, last := int64(0), time.Time{}
		var mu sync.Mutex
		for range held {
			go func() {
				r := new(Request)
				pick(p, r)
				mu.Lock()
				most = max(most, p.view.Load().members[0].load.Waiting())
				last = time.Now()
				mu.Unlock()
				time.Sleep(takes)
				r.Answered(200)
				r.Done("")
			}()
		}
		synctest.Wait()
		if n := p.queue.size.Load(); n != held {
			t.Fatalf("%d are held, want %d", n, held)
		}
		back := time.Now()
		apps[0].set("")
		time.Sleep(2 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		if most > held*3/4 {
			t.Errorf("%d of %d went out at once", most, held)
		}
		if took := last.Sub(back); took > urgentInterval*2+releaseDelay+10*takes {
			t.Errorf("the last went out %v after the app was back", took)
		}
		if n := p.queue.size.Load(); n != 0 {
			t.Errorf("%d are left", n)
		}
	})
}

// TestFailsAgainWhileReleasing: the other requests continue to wait, up to their limit.
func TestFailsAgainWhileReleasing(t *testing.T) {
	bubble(t, 1, options(), func(t *testing.T, p *Pool, apps []*app) {
		apps[0].set(cause.ConnectionRefused)
		failRequests(p, 1, cause.ConnectionRefused)
		time.Sleep(100 * time.Millisecond)
		begun := time.Now()
		var wg sync.WaitGroup
		var mu sync.Mutex
		served, gaveUp := 0, 0
		for range 50 {
			wg.Go(func() {
				r := new(Request)
				for got := pick(p, r); ; got = retry(p, r) {
					mu.Lock()
					up := apps[0].result == ""
					mu.Unlock()
					if got == "" {
						mu.Lock()
						gaveUp++
						mu.Unlock()
						return
					}
					if up && time.Since(begun) > 3*time.Second {
						r.Answered(200)
						r.Done("")
						mu.Lock()
						served++
						mu.Unlock()
						return
					}
				}
			})
		}
		time.Sleep(time.Second)
		setTo := func(c cause.Cause) {
			mu.Lock()
			defer mu.Unlock()
			apps[0].set(c)
		}
		setTo("")
		time.Sleep(60 * time.Millisecond)
		setTo(cause.ConnectionRefused)
		time.Sleep(3 * time.Second)
		setTo("")
		wg.Wait()
		if served+gaveUp != 50 || served == 0 {
			t.Errorf("%d served, %d gave up, of 50", served, gaveUp)
		}
		if took := time.Since(begun); took > hold+time.Second {
			t.Errorf("the last waited %v, longer than it may", took)
		}
	})
}

func TestBackups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, apps, members := newPool(options(), 3)
		p.Release()
		members[2].Backup = true
		p = New(options(), members)
		start(t, p)
		time.Sleep(time.Second)
		for range 50 {
			if got := pick(p, new(Request)); got == "app3:80" {
				t.Fatal("a backup was picked while primaries are there")
			}
		}
		apps[0].set(cause.ConnectionRefused)
		apps[1].set(cause.ConnectionRefused)
		time.Sleep(2 * interval)
		if got := pick(p, new(Request)); got != "app3:80" {
			t.Errorf("picked %q, want the backup", got)
		}
		if s := p.Status(); s.State != Degraded || s.Upstreams[2].Tier != "backup" {
			t.Errorf("state %s, tier %s", s.State, s.Upstreams[2].Tier)
		}
		apps[0].set("")
		for p.Status().Upstreams[0].Passes == 0 {
			time.Sleep(100 * time.Millisecond)
		}
		if got := pick(p, new(Request)); got != "app3:80" {
			t.Errorf("picked %q after one passed check of two", got)
		}
		time.Sleep(2 * edge)
		if got := pick(p, new(Request)); got != "app1:80" {
			t.Errorf("picked %q, want the primary that is back", got)
		}
	})
}

// TestLeavingPassesTheTurn: the turn is not lost when the first requests leave.
func TestLeavingPassesTheTurn(t *testing.T) {
	bubble(t, 1, options(), func(t *testing.T, p *Pool, apps []*app) {
		apps[0].set(cause.ConnectionRefused)
		failRequests(p, 1, cause.ConnectionRefused)
		time.Sleep(time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		for range 10 { // the first ones leave
			go func() {
				r := new(Request)
				r.Enter(p)
				p.Pick(ctx, r)
			}()
		}
		synctest.Wait()
		got := make(chan string, 1)
		go func() { got <- pick(p, new(Request)) }()
		synctest.Wait()
		cancel()
		apps[0].set("")
		if g := <-got; g != "app1:80" {
			t.Errorf("picked %q", g)
		}
		synctest.Wait()
		if n := p.queue.size.Load(); n != 0 {
			t.Errorf("%d left", n)
		}
	})
}

// TestLeavingMakesRoom: released requests whose clients leave before the answer make room
// for the next ones, which would otherwise wait forever.
func TestLeavingMakesRoom(t *testing.T) {
	bubble(t, 1, options(), func(t *testing.T, p *Pool, apps []*app) {
		apps[0].set(cause.ConnectionRefused)
		failRequests(p, 1, cause.ConnectionRefused)
		const held, stays = 3 * firstReleaseWindow, 100 * time.Millisecond
		time.Sleep(500 * time.Millisecond)
		went := make(chan time.Time, held)
		var all sync.WaitGroup
		for range held {
			all.Go(func() {
				r := new(Request)
				pick(p, r)
				went <- time.Now()
				time.Sleep(stays)
				r.Done(cause.ClientGone)
			})
		}
		synctest.Wait()
		back := time.Now()
		apps[0].set("")
		for i := range held {
			if took := (<-went).Sub(back); took > 2*urgentInterval+releaseDelay+held/firstReleaseWindow*stays {
				t.Errorf("request %d of %d went out %v after the app was back", i, held, took)
			}
		}
		all.Wait()
	})
}

// TestHoldsAreReportedFromTheStart: requests may come before the pool is started, while
// OnHold is still being set, and wait until after it was stopped.
func TestHoldsAreReportedFromTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _, _ := newPool(options(), 1)
		holdOne := func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			defer cancel()
			r := new(Request)
			r.Enter(p)
			p.Pick(ctx, r)
		}
		var early sync.WaitGroup
		early.Go(holdOne)
		n := 0
		p.OnHold = func(Outcome) { n++ }
		early.Wait()
		if n != 0 {
			t.Error("reported before the start")
		}
		p.started.Store(true) // without checks, which would end the hold
		holdOne()
		if n != 1 {
			t.Errorf("%d holds were reported, want 1", n)
		}
		p.Stop()
		holdOne()
		if n != 2 {
			t.Error("not reported after the stop")
		}
		p.Release()
	})
}

// TestReleaseWindowForEachUpstream: the second upstream to recover does not get all that
// the first one left at once.
func TestReleaseWindowForEachUpstream(t *testing.T) {
	const held = 90
	bubble(t, 2, options(), func(t *testing.T, p *Pool, apps []*app) {
		for _, a := range apps {
			a.set(cause.ConnectionRefused)
		}
		failRequests(p, 1, cause.ConnectionRefused)
		p.view.Load().members[1].markSuspect()
		time.Sleep(100 * time.Millisecond)
		for range held {
			go func() {
				r := new(Request)
				pick(p, r)
				time.Sleep(time.Second)
				r.Answered(200)
				r.Done("")
			}()
		}
		synctest.Wait()
		if n := p.queue.size.Load(); n != held {
			t.Fatalf("%d are held, want %d", n, held)
		}
		for _, a := range apps {
			a.set("")
			time.Sleep(4 * urgentInterval) // for two checks that pass
			synctest.Wait()
		}
		for _, m := range p.view.Load().members {
			if n := m.load.Waiting(); n != firstReleaseWindow {
				t.Errorf("%s was given %d at once, want %d", m.Dial(), n, firstReleaseWindow)
			}
		}
		time.Sleep(10 * time.Second)
	})
}
