package balance

import "math"

// outlier is how many times the latency of the best it takes to be left alone.
const outlier = 10

// candidate is an upstream as it stands at the time of a pick.
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
	// drawn is whether they were drawn by share, so that share counts no more.
	drawn bool
	// least is the least latency, most the largest share, busiest the most
	// requests in flight there are among them.
	least, most, busiest float64
	// sound is whether there is one that does not fail.
	anyWorking bool
}

// add puts the upstream i in. There must be room for it.
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

// gather puts in all that are not left out, as many as there is room for, from
// the upstream start on.
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

// prepare makes the candidates ready to be compared: it works out the latency to
// expect of those of which it is unknown, that fail, or that let requests wait.
//
// What is not known counts as the mean of its peers, so that a newcomer is not
// flooded. The favourite counts as the least of them: while there is little
// traffic, a newcomer would not get its first request otherwise.
func (c *candidates) prepare(favourite int) {
	mean, least := c.knownLatency()
	// Whatever is usual here, a failure is far from it.
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

// known returns the mean and the least of the latencies that are known of those
// that do not fail; if there is none, the mean age of what waits there.
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

// cost is how long a further request is to be expected to take at the candidate
// i: its latency times what would be in flight then for each share.
//
// One that fails, hangs, or is far too slow counts as if it was as busy as the
// busiest. Where many requests are in flight everywhere, it would look idle and
// attract some again and again otherwise.
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

// upstream is the index of the upstream that is the candidate i.
func (c *candidates) upstream(i int) int {
	if i < 0 {
		return -1
	}
	return c.list[i].index
}
