package balance

import "math"

// outlier is how many times the best latency makes an upstream an outlier.
const outlier = 10

// candidate is an upstream at the time of a pick.
type candidate struct {
	index    int
	share    float64
	latency  float64 // zero while unknown, until prepared
	failing  bool    // its latest answer was a failure
	age      float64
	inFlight float64
}

// candidates are the upstreams that a pick compares.
type candidates struct {
	list [fullScan]candidate
	n    int
	// drawn is whether they were drawn by share, so that cost ignores the share.
	drawn bool
	// least is the lowest latency, most the largest share, busiest the most requests in
	// flight among them.
	least, most, busiest float64
	// anyWorking is whether at least one of them is not failing.
	anyWorking bool
}

// add adds the upstream i. There must be room for it.
func (c *candidates) add(i int, now int64, l *Load, share float64) {
	latency, failing := l.expected(now)
	c.list[c.n] = candidate{
		index:    i,
		share:    share,
		latency:  latency,
		failing:  failing,
		age:      l.age(now),
		inFlight: float64(max(l.inFlight.Load(), 0)),
	}
	c.n++
}

// gather adds the upstreams that are not left out, beginning at start, until there is no
// more room.
func (c *candidates) gather(n, start int, now int64, of func(i int) Choice) {
	c.n = 0
	for k, i := 0, start; k < n && c.n < fullScan; k, i = k+1, i+1 {
		if i == n {
			i = 0
		}
		if choice := of(i); choice.Load != nil {
			c.add(i, now, choice.Load, choice.share())
		}
	}
}

// prepare fills in the latency to compare for candidates whose latency is unknown, that are
// failing, or that let requests wait.
//
// An unknown latency counts as the mean of the others, so that a new upstream is not
// flooded. For the favourite it counts as the lowest: otherwise a new upstream would not
// get its first request while there is little traffic.
func (c *candidates) prepare(favourite int) {
	mean, least := c.knownLatency()
	// A failure must be far from the usual latency, whatever that is.
	failure := max(1, outlier*mean/float64(errorLatency))
	c.least = math.Inf(1)
	for i := range c.n {
		o := &c.list[i]
		switch {
		case o.failing:
			o.latency *= failure
		case o.latency > 0:
		case i == favourite:
			o.latency = least
		default:
			o.latency = mean
		}
		o.latency = max(o.latency, o.age)
		c.least = min(c.least, o.latency)
		c.most = max(c.most, o.share)
		c.busiest = max(c.busiest, o.inFlight)
	}
}

// knownLatency returns the mean and the lowest known latency of the candidates that are not
// failing; if none is known, the mean age of their waiting requests.
func (c *candidates) knownLatency() (mean, least float64) {
	var sum, ages, n, waiting float64
	least = math.Inf(1)
	for i := range c.n {
		o := &c.list[i]
		switch {
		case o.failing:
			continue
		case o.latency > 0:
			sum += o.latency
			least = min(least, o.latency)
			n++
		case o.age > 0:
			ages += o.age
			waiting++
		}
		c.anyWorking = true
	}
	switch {
	case n > 0:
		return sum / n, least
	case waiting > 0:
		return ages / waiting, ages / waiting
	}
	return 1, 1
}

// cost estimates how long one more request would take at candidate i: its latency times the
// requests it would then have in flight, relative to its share.
//
// A candidate that is failing, hanging or far too slow counts as if it were as busy as the
// busiest. Otherwise it would look idle under high load and keep attracting requests.
func (c *candidates) cost(i, favourite int) float64 {
	o := &c.list[i]
	inFlight := o.inFlight
	if o.failing && c.anyWorking || o.latency > outlier*c.least {
		inFlight = c.busiest
	}
	share := o.share / c.most
	if i == favourite || c.drawn {
		return o.latency * (inFlight/share + 1)
	}
	return o.latency * (inFlight + 1) / share
}

// upstream returns the index of the upstream of candidate i.
func (c *candidates) upstream(i int) int {
	if i < 0 {
		return -1
	}
	return c.list[i].index
}
