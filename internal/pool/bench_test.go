package pool

import (
	"context"
	"fmt"
	"testing"
)

// BenchmarkPick is the choice among upstreams that are up, as a request makes it.
func BenchmarkPick(b *testing.B) {
	for _, n := range []int{1, 3, 8, 100, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			p := pickable(n, n)
			b.ReportAllocs()
			for b.Loop() {
				pickOnce(p)
			}
		})
	}
	b.Run("100 of 10000", func(b *testing.B) {
		p := pickable(10_000, 100)
		b.ReportAllocs()
		for b.Loop() {
			pickOnce(p)
		}
	})
}

// pickable is a pool of n upstreams of which the first up are up.
func pickable(n, up int) *Pool {
	p, _, _ := newPool(options(), n)
	for i, u := range p.view.Load().members {
		u.standing.Store(uint32(healthy))
		if i >= up {
			u.standing.Store(uint32(hard))
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
