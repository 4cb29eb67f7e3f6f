package health

import (
	"testing"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/cause"
)

// BenchmarkObserve takes in checks that pass, and such as change the state again and
// again.
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
