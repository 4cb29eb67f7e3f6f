package balance

import (
	"fmt"
	"math"
	"testing"
	"time"
)

func TestWeightsShareExactly(t *testing.T) {
	for _, weights := range [][]float64{
		{1, 1. / 3},
		{1, 0.01},
		{1, 1, 0.2},
		{1, 0.5, 0.25, 0.125},
		{3, 1},
		{0.3, 0.1},
		{0, 0.5}, // 0 means 1
	} {
		n, picks := len(weights), 30_000
		l := loads(n)
		of := func(i int) Choice { return Choice{Load: l[i], Weight: weights[i]} }
		var sum float64
		for i := range n {
			sum += of(i).share()
		}
		for i, share := range shares(n, at(0), picks, of) {
			wantShare(t, fmt.Sprint(weights, i), share, of(i).share()/sum, picks)
		}
	}
}

func TestWeightsShareBeyondTheScan(t *testing.T) {
	for _, light := range []float64{1. / 3, 0.1} {
		const n, picks = 40, 50_000
		l := loads(n)
		got := shares(n, at(0), picks, func(i int) Choice {
			return Choice{Load: l[i], Weight: []float64{1, light}[i%2]}
		})
		var heavy float64
		for i := 0; i < n; i += 2 {
			heavy += got[i]
		}
		// Drawing two distinct ones takes a little from the heavy one; scanning after too
		// many failed draws adds a little.
		if want := 1 / (1 + light); math.Abs(heavy-want) > 0.015 {
			t.Errorf("weight 1 to %.2f: the heavy half has a share of %.4f, want %.4f", light, heavy, want)
		}
	}
}

// TestWeightCountsOnceBeyondTheScan: once drawn, an upstream with a small weight is as good
// as any other. Half of the upstreams are lighter and a little faster: one of them is
// picked whenever it is drawn.
func TestWeightCountsOnceBeyondTheScan(t *testing.T) {
	const n, picks = 1000, 50_000
	l := loads(n)
	for i := 0; i < n; i += 2 {
		l[i].Observe(at(0), 11*time.Millisecond)
	}
	got := shares(n, at(0), picks, func(i int) Choice {
		return Choice{Load: l[i], Weight: []float64{1, 0.5}[i%2]}
	})
	var light float64
	for i := 1; i < n; i += 2 {
		light += got[i]
	}
	wantShare(t, "the lighter", light, 1-2./3*2/3, picks)
}

// TestWeightsYield: a large weight does not keep requests at an upstream that is slow.
func TestWeightsYield(t *testing.T) {
	for _, n := range []int{2, 8} {
		l := loads(n)
		l[0].Observe(at(0), time.Second)
		got := shares(n, at(0), 1000, func(i int) Choice {
			return Choice{Load: l[i], Weight: []float64{1, 0.05}[min(i, 1)]}
		})
		if got[0] != 0 {
			t.Errorf("the slow one of %d has a share of %.4f", n, got[0])
		}
	}
}
