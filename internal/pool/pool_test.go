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
	"github.com/healthpool/caddy-healthpool/internal/health"
)

// app is a fake app: the result of its checks, and when they were made.
type app struct {
	mu     sync.Mutex
	result cause.Cause // empty: up
	takes  time.Duration
	checks []time.Time
	busy   atomic.Int32
}

func (a *app) set(c cause.Cause) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.result = c
}

func (a *app) check(ctx context.Context) health.Result {
	a.mu.Lock()
	r := health.Result{At: time.Now(), Cause: a.result, Decisive: a.result == cause.ConnectionRefused}
	a.checks = append(a.checks, r.At)
	takes := a.takes
	a.mu.Unlock()
	a.busy.Add(1)
	defer a.busy.Add(-1)
	if takes > 0 && !pause(ctx, takes) {
		r.Cause = cause.ClientGone
	}
	r.Duration = time.Since(r.At)
	return r
}

// since returns how long after start each check began.
func (a *app) since(start time.Time) (out []time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, at := range a.checks {
		out = append(out, at.Sub(start))
	}
	return out
}

const (
	interval = 5 * time.Second
	edge     = time.Second
	down     = 2 * time.Second
	hold     = 5 * time.Second
)

// options returns the defaults of the pools in these tests.
func options() Options {
	return Options{
		Name:     "test",
		Policy:   health.Policy{Fails: 3, Passes: 2, Interval: interval, EdgeInterval: edge, DownInterval: down, Ejection: 10 * time.Second},
		Passive:  Passive{MaxFails: 5, Statuses: []int{5}, MaxEjected: 0.5},
		FailOpen: FailOpenSlow, Hold: hold, HoldMax: 100,
	}
}

var keys atomic.Int64

// newPool returns a pool of n fake apps, and its members for a reload.
func newPool(o Options, n int) (*Pool, []*app, []Member) {
	apps, members := make([]*app, n), make([]Member, n)
	run := fmt.Sprint(keys.Add(1)) // tests share no upstream
	for i := range members {
		apps[i] = new(app)
		address := fmt.Sprintf("app%d:80", i+1)
		members[i] = Member{Key: Key{Address: address, Check: run}, HostPort: address, Check: apps[i].check, Weight: 1}
	}
	return New(o, members), apps, members
}

// start runs the pool until the bubble ends.
func start(t *testing.T, p *Pool) {
	t.Helper()
	b := NewProber(128)
	p.Start(b)
	t.Cleanup(func() {
		p.Stop()
		b.Stop()
		p.Release()
	})
}

// pick picks for a request and returns the address, or "".
func pick(p *Pool, r *Request) string {
	r.Enter(p)
	r.Watched = true
	u, _ := p.Pick(context.Background(), r)
	if u == nil {
		return ""
	}
	r.BeginAt(context.Background(), u)
	return u.Dial()
}

// byAddress returns the member with an address.
func byAddress(p *Pool, address string) *Member {
	for _, m := range p.view.Load().members {
		if m.Dial() == address {
			return m
		}
	}
	return nil
}

// bubble runs test in a synctest bubble with n apps that are up and have been checked.
func bubble(t *testing.T, n int, o Options, test func(t *testing.T, p *Pool, apps []*app)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p, apps, _ := newPool(o, n)
		start(t, p)
		synctest.Wait()
		test(t, p, apps)
	})
}

func within(t *testing.T, what string, got, want time.Duration) {
	t.Helper()
	if got < want*9/10-time.Millisecond || got > want*11/10+time.Millisecond {
		t.Errorf("%s: %v, want %v ± 10 %%", what, got, want)
	}
}

func TestSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, apps, _ := newPool(options(), 1)
		begun := time.Now()
		start(t, p)
		synctest.Wait()
		if got := apps[0].since(begun); len(got) != 1 || got[0] != 0 {
			t.Fatalf("checks at %v, want the first at once", got)
		}
		time.Sleep(interval * 3 / 2)
		apps[0].set(cause.HTTPResponseTimeout)
		time.Sleep(2*interval + 3*down)
		at := apps[0].since(begun)
		want := []time.Duration{interval, interval, edge, edge, down, down}
		if len(at) <= len(want) {
			t.Fatalf("checks at %v", at)
		}
		for i, w := range want {
			within(t, fmt.Sprintf("pause before check %d", i+2), at[i+1]-at[i], w)
		}
		if _, since := p.DownSince(); since.Sub(begun) != at[4] {
			t.Errorf("the state began after %v, want at the third failed check after %v", since.Sub(begun), at[4])
		}
	})
}

func TestIntervalsAreJittered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, apps, _ := newPool(options(), 1)
		begun := time.Now()
		start(t, p)
		time.Sleep(100 * interval)
		at := apps[0].since(begun)
		pauses := make(map[time.Duration]bool)
		for i := range at[1:] {
			within(t, "pause", at[i+1]-at[i], interval)
			pauses[at[i+1]-at[i]] = true
		}
		if len(pauses) < len(at)/2 {
			t.Errorf("only %d different pauses in %d", len(pauses), len(at)-1)
		}
	})
}

func TestChecksAreBoundedAndNeverOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, apps, _ := newPool(options(), 20)
		for _, a := range apps {
			a.takes = 3 * interval
		}
		b := NewProber(7)
		p.Start(b)
		synctest.Wait()
		busy := 0
		for _, a := range apps {
			busy += int(a.busy.Load())
		}
		if busy != 7 {
			t.Errorf("%d checks at once, want 7", busy)
		}
		for range 100 {
			p.view.Load().members[0].checkSoon()
			time.Sleep(time.Second)
			if n := apps[0].busy.Load(); n > 1 {
				t.Fatalf("%d checks of one upstream at once", n)
			}
		}
		p.Stop()
		b.Stop()
		p.Release()
	})
}

// TestFailuresTriggerFewChecks: failing requests, at whatever rate, trigger at most a
// hundred checks a second per upstream.
func TestFailuresTriggerFewChecks(t *testing.T) {
	for _, takes := range []time.Duration{0, time.Millisecond} { // failing at once, and with a delay
		bubble(t, 1, options(), func(t *testing.T, p *Pool, apps []*app) {
			apps[0].takes = takes
			before, m := len(apps[0].since(time.Now())), byAddress(p, "app1:80")
			for range 10_000 {
				m.markSuspect()
				time.Sleep(100 * time.Microsecond)
			}
			if n := len(apps[0].since(time.Now())) - before; n < 50 || n > 101 {
				t.Errorf("%d checks in a second", n)
			}
		})
	}
}

func TestFailOpen(t *testing.T) {
	for _, tt := range []struct {
		failOpen FailOpen
		cause    cause.Cause
		state    State
		picked   string
	}{
		{FailOpenSlow, cause.HTTPResponseTimeout, Degraded, "app1:80"},
		{FailOpenSlow, cause.UnexpectedStatus, Down, ""},
		{FailOpenSlow, cause.ConnectionRefused, Down, ""},
		{FailOpenNever, cause.HTTPResponseTimeout, Down, ""},
		{FailOpenAlways, cause.ConnectionRefused, Degraded, "app1:80"},
	} {
		o := options()
		o.FailOpen, o.Hold = tt.failOpen, 0
		bubble(t, 1, o, func(t *testing.T, p *Pool, apps []*app) {
			apps[0].set(tt.cause)
			time.Sleep(4 * interval)
			if got := p.Status().State; got != tt.state {
				t.Errorf("%s, %s: state %s, want %s", tt.failOpen, tt.cause, got, tt.state)
			}
			if got := pick(p, new(Request)); got != tt.picked {
				t.Errorf("%s, %s: picked %q, want %q", tt.failOpen, tt.cause, got, tt.picked)
			}
		})
	}
}

func TestSlowSiteThatDiesIsDown(t *testing.T) {
	bubble(t, 1, options(), func(t *testing.T, p *Pool, apps []*app) {
		apps[0].set(cause.HTTPResponseTimeout)
		time.Sleep(4 * interval)
		apps[0].set(cause.ConnectionRefused)
		time.Sleep(2 * down)
		if got := p.Status(); got.State != Down || got.Upstreams[0].Cause != cause.ConnectionRefused {
			t.Errorf("state %s, cause %s", got.State, got.Upstreams[0].Cause)
		}
	})
}

func TestStates(t *testing.T) {
	bubble(t, 2, options(), func(t *testing.T, p *Pool, apps []*app) {
		want := func(s State, healthy int) {
			t.Helper()
			if got := p.Status(); got.State != s || got.Healthy != healthy || got.Total != 2 {
				t.Errorf("state %s with %d of %d healthy, want %s with %d", got.State, got.Healthy, got.Total, s, healthy)
			}
		}
		want(Up, 2)
		apps[1].set(cause.ConnectionRefused)
		time.Sleep(2 * interval)
		want(Degraded, 1)
		apps[0].set(cause.ConnectionRefused)
		time.Sleep(2 * interval)
		want(Down, 0)
		apps[0].set("")
		time.Sleep(2 * interval)
		want(Degraded, 1)
	})
}

func TestTransitionsAreReportedOnce(t *testing.T) {
	var mu sync.Mutex
	var reported []string
	tell := func(what string) {
		mu.Lock()
		defer mu.Unlock()
		reported = append(reported, what)
	}
	o := options()
	o.OnTransition = func(t Transition) { tell(t.Upstream + " " + t.To.String()) }
	o.OnState = func(s State) { tell(string(s)) }
	bubble(t, 1, o, func(t *testing.T, p *Pool, apps []*app) {
		time.Sleep(10 * interval)
		apps[0].set(cause.ConnectionRefused)
		time.Sleep(10 * interval)
		apps[0].set("")
		time.Sleep(10 * interval)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		want := "[app1:80 healthy up app1:80 unhealthy down app1:80 healthy up]"
		if got := fmt.Sprint(reported); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}
