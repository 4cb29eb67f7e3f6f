package balance

import (
	"math/rand/v2"
	"time"
)

const (
	// fullScan is the number of upstreams up to which all are compared. Beyond it, the
	// better of two distinct random ones is nearly as good and costs the same for any
	// number (Mitzenmacher, The Power of Two Choices).
	fullScan = 8

	// draws is the maximum number of random draws for these two before a scan, which cannot
	// miss.
	draws = 8

	// minWarmth is the fraction of its share that a new upstream starts with.
	minWarmth = 0.1
)

// Choice is an upstream to pick from.
type Choice struct {
	// Load is its observed load. nil leaves the upstream out.
	Load *Load
	// Weight is relative to the largest weight: 0 < Weight ≤ 1. Zero means 1.
	Weight float64
	// Warm is the progress of its slow start, as Warm returns it: 0 < Warm ≤ 1. Zero means
	// 1.
	Warm float64
}

// share returns its share of the requests relative to the others.
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

// Warm returns the fraction of its share that an upstream gets that came into use since ago
// and has a slow start of window: from 10 % to all of it.
func Warm(since, window time.Duration) float64 {
	if window <= 0 || since >= window {
		return 1
	}
	return max(minWarmth, float64(since)/float64(window))
}

// Pick picks the two best of n upstreams and returns their indexes, best first; -1 means
// none. It calls of for each upstream at most twice and, beyond 8 upstreams, only for some
// of them.
//
// Up to 8 upstreams are all compared. One of them, drawn by share, is the favourite of this
// pick: it wins ties, so that equal upstreams get requests exactly by weight and warmth. A
// candidate below the largest share is penalized unless it is the favourite: its cost is
// multiplied by largest share ÷ its share. So it gets no more than its share while the
// others do well, is never starved, and is still preferred to others that became slow or
// hang. While all are new, their shares are equal.
//
// Beyond 8, two distinct ones are drawn, each in proportion to its weight, and the better
// one is picked. (Drawing them evenly and applying weights in the comparison could give
// none more than twice the mean, because each is in only that many pairs.)
func Pick(n int, now int64, of func(i int) Choice) (best, second int) {
	return picker{}.pick(n, now, of)
}

// picker picks with a random source that tests can set, for reproducible picks; then it
// must be used by one goroutine only. Default: math/rand/v2.
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

// draw draws two distinct upstreams by share. It gives up after some draws, if many are
// left out or all are cold.
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

// best returns the two candidates with the lowest cost, as indexes of upstreams. The
// favourite wins ties; other ties are broken at random.
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
