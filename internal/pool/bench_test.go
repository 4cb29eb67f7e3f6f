package pool

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/cause"
	"github.com/healthpool/caddy-healthpool/internal/health"
)

// BenchmarkPick measures a pick among upstreams that are up.
func BenchmarkPick(b *testing.B) {
	for _, n := range []int{1, 3, 8, 100, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			p := benchPool(n, n)
			b.ReportAllocs()
			for b.Loop() {
				pickOnce(p)
			}
		})
	}
	b.Run("100 of 10000", func(b *testing.B) {
		p := benchPool(10_000, 100)
		b.ReportAllocs()
		for b.Loop() {
			pickOnce(p)
		}
	})
}

// benchPool returns a pool of n upstreams, of which the first up are up.
func benchPool(n, up int) *Pool {
	p, _, _ := newPool(options(), n)
	for i, u := range p.view.Load().members {
		u.eligibility.Store(uint32(healthy))
		if i >= up {
			u.eligibility.Store(uint32(hard))
		}
	}
	p.refresh()
	return p
}

func pickOnce(p *Pool) {
	var r Request
	r.Watched = true
	r.Enter(p)
	u, _ := p.Pick(context.Background(), &r)
	r.BeginAt(context.Background(), u)
	r.Answered(200)
	r.Done("")
}

// BenchmarkFailing measures a request whose connection breaks.
func BenchmarkFailing(b *testing.B) {
	p := benchPool(3, 3)
	b.ReportAllocs()
	for b.Loop() {
		var r Request
		r.Watched = true
		pick(p, &r)
		r.Done(cause.ConnectionTerminated)
	}
}

// BenchmarkCheck measures the overhead of a passed check, and scheduling the next.
func BenchmarkCheck(b *testing.B) {
	passed := func(context.Context) health.Result { return health.Result{At: time.Now()} }
	p := New(options(), []Member{{Key: Key{Address: b.Name()}, Check: passed, Weight: 1}})
	prober := NewProber(1)
	p.Start(prober)
	b.Cleanup(func() {
		p.Stop()
		prober.Stop()
		p.Release()
	})
	u := p.view.Load().members[0].Upstream
	b.ReportAllocs()
	for b.Loop() {
		u.probe()
	}
}

// BenchmarkRetryAfter measures computing Retry-After in an outage.
func BenchmarkRetryAfter(b *testing.B) {
	p, now := benchPool(100, 0), time.Now()
	for i := range 8 {
		p.visitors.outageEnded(time.Duration(i) * time.Minute)
	}
	b.ReportAllocs()
	for b.Loop() {
		p.RetryAfter(now, false)
	}
}

// BenchmarkStatus measures the status that the admin API, metrics and details use.
func BenchmarkStatus(b *testing.B) {
	p := benchPool(big, big)
	b.ReportAllocs()
	for b.Loop() {
		p.Status()
	}
}
