package pool

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/cause"
)

const big = 10_000

// BenchmarkStart measures a big pool from its creation until every upstream is up.
func BenchmarkStart(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		p, _ := runBig(b)
		b.StopTimer()
		p.Stop()
		p.releaseUpstreams()
		b.StartTimer()
	}
}

// BenchmarkOutage measures a big pool whose upstreams all go down and recover while a
// request is held.
func BenchmarkOutage(b *testing.B) {
	p, apps := runBig(b)
	b.Cleanup(p.Stop)
	b.ReportAllocs()
	for b.Loop() {
		fail(p, apps, cause.ConnectionRefused)
		awaitView(b, p, func(v *view) bool { return v.down() })
		time.AfterFunc(100*time.Millisecond, func() { fail(p, apps, "") })
		var r Request
		if pick(p, &r) == "" {
			b.Fatal("the request was not held")
		}
		r.Done("")
		awaitView(b, p, func(v *view) bool { return v.healthy == big })
	}
}

// BenchmarkSource measures a source that keeps listing the same many upstreams.
func BenchmarkSource(b *testing.B) {
	o := options()
	n := &fakeDNS{apps: make(map[string]*app)}
	o.Sources = []Source{{Name: "names", Key: b.Name(), NewMember: n.newMember(b.Name())}}
	p := New(o, nil)
	b.Cleanup(p.releaseUpstreams)
	list := make([]Listing, big)
	for i := range list {
		list[i].Address = fmt.Sprintf("app%d:80", i)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := p.setListed(0, list); err != nil {
			b.Fatal(err)
		}
	}
}

// runBig runs a big pool until all its upstreams are up.
func runBig(b *testing.B) (*Pool, []*app) {
	b.Helper()
	p, apps, _ := newPool(options(), big)
	prober := NewProber(128)
	b.Cleanup(prober.Stop)
	p.Start(prober)
	awaitView(b, p, func(v *view) bool { return v.healthy == big })
	return p, apps
}

// fail makes all apps fail with this cause, or work if empty, and checks their upstreams.
func fail(p *Pool, apps []*app, c cause.Cause) {
	for _, a := range apps {
		a.set(c)
	}
	for _, m := range p.view.Load().members {
		m.checkSoon()
	}
}

func awaitView(b *testing.B, p *Pool, ok func(*view) bool) {
	b.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(p.view.Load()); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			b.Fatal("waited in vain")
		}
	}
}

// TestHeldRequestsCauseNoCheckStorm: in a big pool with most upstreams down, each is
// checked about once a second, not once per request that starts to wait.
func TestHeldRequestsCauseNoCheckStorm(t *testing.T) {
	const n = 1000
	synctest.Test(t, func(t *testing.T) {
		o := options()
		o.Policy.DownInterval = time.Hour
		p, apps, _ := newPool(o, n)
		for _, a := range apps[1:] {
			a.set(cause.ConnectionRefused)
		}
		p.members[0].MaxRequests = 1
		start(t, p)
		time.Sleep(time.Second)
		pick(p, new(Request)) // now it is full
		for range 100 {
			r := new(Request)
			r.Enter(p)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			p.Pick(ctx, r)
			cancel()
		}
		synctest.Wait()
		if got := len(apps[1].since(time.Now())); got > 10 {
			t.Errorf("it was checked %d times in 3 seconds", got)
		}
	})
}
