package balance

import (
	"math/rand/v2"
	"time"
)

const (
	// fullScan is the number of upstreams up to which all are compared. Beyond
	// it, the better of two distinct random ones is nearly as good and costs the
	// same for any number (Mitzenmacher, The Power of Two Choices).
	fullScan = 8

	// draws is how often one is drawn for these two, before the slow way that
	// cannot miss.
	draws = 8

	// coldest is the least part of its share that a newcomer has.
	minWarmth = 0.1
)

// Choice is an upstream to choose among.
type Choice struct {
	// Load is what is seen of its load. Nil leaves the upstream out.
	Load *Load
	// Weight is its share among equals, as a part of the largest weight there
	// is: 0 < Weight ≤ 1. Zero stands for 1.
	Weight float64
	// Warm is the part of its share that it may have already, 0 < Warm ≤ 1, as
	// Warm tells. Zero stands for 1.
	Warm float64
}

// share is how much it may take among equals.
func (c Choice) share() float64 {
	share := 1.0
	if c.Weight > 0 {
		share = c.Weight
	}
	if c.Warm > 0 {
		share *= c.Warm
	}
	return share
}

// Warm is the part of its share that an upstream may have which came into use
// since ago, when it is to be warm after window: from 10 % to all of it.
func Warm(since, window time.Duration) float64 {
	if window <= 0 || since >= window {
		return 1
	}
	return max(minWarmth, float64(since)/float64(window))
}

// Pick chooses the two best of n upstreams and returns their indexes, the best
// first; -1 stands for none. It asks for each of them at most once or twice, and
// beyond 8 for some of them only.
//
// Up to 8 all are compared. One of them, drawn by share, is the favourite of
// this pick: it wins against equals, and so equals share exactly by weight and
// warmth. Who has less than the largest share is thinned out as long as it is
// not the favourite: its cost counts as many times as its share goes into the
// largest. So it takes no more than its share of upstreams that do well, is never
// starved, and yet is preferred at once to others that turned slow or hang. If
// all are new, none is.
//
// Beyond 8 two distinct ones are drawn, each as often as its share of the largest
// weight, and the better one is taken. (Drawing them evenly and leaving weights to
// the comparison cannot give any more than twice the mean, as it is in that many
// pairs only.)
func Pick(n int, now int64, of func(i int) Choice) (best, second int) {
	return picker{}.pick(n, now, of)
}

// picker picks with a source of chance that tests set, to get the same choices each
// time; such a one is for one goroutine. Default: that of math/rand/v2.
type picker struct{ rand *rand.Rand }

func (p picker) pick(n int, now int64, of func(i int) Choice) (best, second int) {
	var c candidates
	start := 0
	if n > fullScan {
		if p.draw(&c, n, now, of) {
			return p.best(&c, p.intN(2))
		}
		start = p.intN(n)
	}
	if c.gather(n, start, now, of); c.n == 0 {
		return -1, -1
	}
	return p.best(&c, p.byShare(&c))
}

// draw draws two distinct upstreams by share. It gives up after some draws: if
// many are left out, or all are cold.
func (p picker) draw(c *candidates, n int, now int64, of func(i int) Choice) bool {
	for range draws {
		i := p.intN(n)
		if c.n == 1 && c.list[0].index == i {
			continue
		}
		choice := of(i)
		share := choice.share()
		if choice.Load == nil || share < 1 && p.float64() >= share {
			continue
		}
		if c.add(i, now, choice.Load, share); c.n == 2 {
			c.drawn = true
			return true
		}
	}
	return false
}

// byShare draws one of the candidates by its share.
func (p picker) byShare(c *candidates) int {
	var sum float64
	for i := range c.n {
		sum += c.list[i].share
	}
	x := p.float64() * sum
	for i := range c.n - 1 {
		if x -= c.list[i].share; x < 0 {
			return i
		}
	}
	return c.n - 1
}

// best returns the two candidates of least cost, as indexes of upstreams. Among
// equals the favourite comes first, and the others share alike.
func (p picker) best(c *candidates, favourite int) (best, second int) {
	best, second = -1, -1
	var bestCost, secondCost float64
	c.prepare(favourite)
	for k, i, ties := 0, favourite, 1; k < c.n; k, i = k+1, i+1 {
		if i == c.n {
			i = 0
		}
		cost, better := c.cost(i, favourite), false
		switch {
		case best < 0 || cost < bestCost:
			better, ties = true, 1
		case cost == bestCost && best != favourite:
			ties++
			better = p.intN(ties) == 0
		}
		if better {
			best, second, bestCost, secondCost = i, best, cost, bestCost
		} else if second < 0 || cost < secondCost {
			second, secondCost = i, cost
		}
	}
	return c.upstream(best), c.upstream(second)
}

func (p picker) intN(n int) int {
	if p.rand != nil {
		return p.rand.IntN(n)
	}
	return rand.IntN(n)
}

func (p picker) float64() float64 {
	if p.rand != nil {
		return p.rand.Float64()
	}
	return rand.Float64()
}
