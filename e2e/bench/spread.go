package main

import (
	"math"
	"slices"
)

// spread tells where most of some values are: half of them are between Low and High.
type spread struct{ Low, Median, High float64 }

func spreadOf(values []float64) spread {
	sorted := slices.Sorted(slices.Values(values))
	quantile := func(q float64) float64 { return sorted[int(math.Round(q*float64(len(sorted)-1)))] }
	return spread{quantile(0.25), quantile(0.5), quantile(0.75)}
}
