package balance

import "math/rand/v2"

// fullScan is the number of upstreams up to which all are compared. Beyond it,
// the better of two distinct random ones is nearly as good and costs the same
// for any number (Mitzenmacher, The Power of Two Choices).
const fullScan = 8

// Pick chooses the two best of n upstreams and returns their indexes, the best
// first; -1 stands for none. Load returns the load of the upstream i, or nil to
// leave it out.
func Pick(n int, now int64, load func(i int) *Load) (best, second int) {
	if n <= fullScan {
		return scan(n, now, load)
	}
	const draws = 4 // pairs, before the slow way that cannot miss
	for range draws {
		a := rand.IntN(n)
		b := rand.IntN(n - 1)
		if b >= a {
			b++
		}
		switch la, lb := load(a), load(b); {
		case la == nil && lb == nil:
			continue
		case lb == nil:
			return a, -1
		case la == nil:
			return b, -1
		case less(la, lb, now):
			return a, b
		default:
			return b, a
		}
	}
	return scan(n, now, load)
}

// less compares two upstreams; one without a latency borrows the other's.
func less(a, b *Load, now int64) bool {
	return a.Cost(now, b.expected(now)) < b.Cost(now, a.expected(now))
}

// scan compares all, from a random one on, so that equals share alike.
func scan(n int, now int64, load func(i int) *Load) (best, second int) {
	best, second = -1, -1
	if n == 0 {
		return best, second
	}
	unknown := meanLatency(n, now, load)
	var bestCost, secondCost float64
	for k, i := 0, rand.IntN(n); k < n; k, i = k+1, i+1 {
		if i == n {
			i = 0
		}
		l := load(i)
		if l == nil {
			continue
		}
		switch cost := l.Cost(now, unknown); {
		case best < 0 || cost < bestCost:
			best, second, bestCost, secondCost = i, best, cost, bestCost
		case second < 0 || cost < secondCost:
			second, secondCost = i, cost
		}
	}
	return best, second
}

// meanLatency is what a newcomer is taken to need: the mean of its peers.
func meanLatency(n int, now int64, load func(i int) *Load) float64 {
	var sum float64
	var known int
	for i := range n {
		if l := load(i); l != nil {
			if e := l.expected(now); e > 0 {
				sum += e
				known++
			}
		}
	}
	if known == 0 {
		return 1
	}
	return sum / float64(known)
}
