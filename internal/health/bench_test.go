package health

import (
	"testing"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/cause"
)

// BenchmarkObserve measures checks that pass, and checks that keep changing the status.
func BenchmarkObserve(b *testing.B) {
	results := []Result{{}, {}, {Cause: cause.ConnectionRefused, Decisive: true}}
	for name, n := range map[string]int{"passing": 1, "changing": len(results)} {
		b.Run(name, func(b *testing.B) {
			var s State
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				now := time.Unix(int64(i), 0)
				s.Observe(policy, now, results[i%n], false)
				s.Delay(policy, now)
				i++
			}
		})
	}
}
