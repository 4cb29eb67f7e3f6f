package balance

import (
	"fmt"
	"testing"
	"time"
)

func BenchmarkPick(b *testing.B) {
	for _, n := range []int{3, 8, 100, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			benchmarkPick(b, n, func(int) float64 { return 1 }, 1)
		})
	}
	b.Run("8 weighted", func(b *testing.B) {
		benchmarkPick(b, 8, func(i int) float64 { return 1 / float64(1+i%3) }, 1)
	})
	b.Run("10000 weighted", func(b *testing.B) {
		benchmarkPick(b, 10_000, func(i int) float64 { return 1 / float64(1+i%3) }, 1)
	})
	b.Run("10000 cold", func(b *testing.B) {
		benchmarkPick(b, 10_000, func(int) float64 { return 1 }, minWarmth)
	})
}

func benchmarkPick(b *testing.B, n int, weight func(int) float64, warm float64) {
	l := make([]Load, n)
	for i := range l {
		l[i].Observe(at(int64(i)), time.Duration(i+1)*time.Millisecond)
	}
	now := at(20_000)
	b.ReportAllocs()
	for b.Loop() {
		best, _ := Pick(n, now, func(i int) Choice {
			return Choice{Load: &l[i], Weight: weight(i), Warm: warm}
		})
		if best < 0 {
			b.Fatal("none")
		}
	}
}

func BenchmarkObserve(b *testing.B) {
	var l Load
	b.ReportAllocs()
	for b.Loop() {
		l.Observe(Now(), time.Millisecond)
	}
}
