package outage

import (
	"testing"
	"time"
)

// BenchmarkFailed measures another failed request in an outage.
func BenchmarkFailed(b *testing.B) {
	l, _ := collect()
	b.Cleanup(l.Close)
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		l.Failed(key, "7QX4M2KDP", now)
	}
}

// BenchmarkEstimate measures estimating when clients should come back.
func BenchmarkEstimate(b *testing.B) {
	earlier := []time.Duration{9 * time.Second, 2 * time.Minute, 3 * time.Second, time.Hour, 40 * time.Second, 5 * time.Second, 8 * time.Second, time.Second}
	b.ReportAllocs()
	for b.Loop() {
		Estimate(4*time.Second, earlier, time.Second)
		IsLong(4*time.Second, earlier)
		PollAfter(4*time.Second, 100)
	}
}
