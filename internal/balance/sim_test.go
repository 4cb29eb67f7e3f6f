package balance

import (
	"container/heap"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// sim simulates a proxy with its backends: requests arrive at random (a Poisson process),
// wait for a worker of the picked backend, and are answered.
type sim struct {
	rate     float64 // requests a second
	duration time.Duration
	backends []*backend
	// pick picks a backend; default: the best.
	pick func(now int64) int
	// weight and warm are a backend's; default: 1.
	weight func(i int) float64
	warm   func(i int, now int64) float64
	// present is whether a backend exists; default: it does.
	present func(i int, now int64) bool

	rand   *rand.Rand
	now    int64
	events events
	done   []request
}

// backend serves as many requests at once as it has workers.
type backend struct {
	load    Load
	workers int
	busy    int
	queue   []request
	serve   server
}

// server returns how long a request takes at that time, and whether it fails.
type server func(now time.Duration, r *rand.Rand) (d time.Duration, failed bool)

// request is one request; its times count from the start.
type request struct {
	start, latency time.Duration
	backend        int
	failed         bool
}

// event is the arrival of a request or, with a backend, its answer.
type event struct {
	at      int64
	request request
}

type events []event

func (e events) Len() int           { return len(e) }
func (e events) Less(i, k int) bool { return e[i].at < e[k].at }
func (e events) Swap(i, k int)      { e[i], e[k] = e[k], e[i] }
func (e *events) Push(x any)        { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := len(*e) - 1
	x := (*e)[last]
	*e = (*e)[:last]
	return x
}

// run runs the simulation until the last answer.
func (s *sim) run() outcome {
	s.rand = rand.New(rand.NewPCG(3, 4))
	if s.pick == nil {
		p := seeded()
		s.pick = func(now int64) int {
			best, _ := p.pick(len(s.backends), at(0)+now, s.choice)
			return best
		}
	}
	s.arrive()
	for len(s.events) > 0 {
		e := heap.Pop(&s.events).(event)
		s.now = e.at
		if e.request.backend >= 0 {
			s.answer(e.request)
			continue
		}
		s.arrive()
		s.send(e.request)
	}
	return outcome(s.done)
}

func (s *sim) choice(i int) Choice {
	if s.present != nil && !s.present(i, s.now) {
		return Choice{}
	}
	c := Choice{Load: &s.backends[i].load}
	if s.weight != nil {
		c.Weight = s.weight(i)
	}
	if s.warm != nil {
		c.Warm = s.warm(i, s.now)
	}
	return c
}

// arrive schedules the next arrival.
func (s *sim) arrive() {
	next := s.now + int64(s.rand.ExpFloat64()/s.rate*float64(time.Second))
	if next < int64(s.duration) {
		heap.Push(&s.events, event{next, request{start: time.Duration(next), backend: -1}})
	}
}

func (s *sim) send(r request) {
	r.backend = s.pick(s.now)
	b := s.backends[r.backend]
	b.load.Begin(at(0) + s.now)
	if b.busy == b.workers {
		b.queue = append(b.queue, r)
		return
	}
	b.busy++
	s.serve(b, r)
}

func (s *sim) serve(b *backend, r request) {
	var d time.Duration
	d, r.failed = b.serve(time.Duration(s.now), s.rand)
	heap.Push(&s.events, event{s.now + int64(d), r})
}

func (s *sim) answer(r request) {
	b := s.backends[r.backend]
	r.latency = time.Duration(s.now) - r.start
	if r.failed {
		b.load.Fail(at(0)+s.now, r.latency)
	} else {
		b.load.Observe(at(0)+s.now, r.latency)
	}
	b.load.Answered(at(0) + int64(r.start))
	b.load.End()
	s.done = append(s.done, r)
	if len(b.queue) == 0 {
		b.busy--
		return
	}
	next := b.queue[0]
	b.queue = b.queue[1:]
	s.serve(b, next)
}

// roundRobin makes it pick the backends in turn, for comparison.
func (s *sim) roundRobin() {
	next := -1
	s.pick = func(int64) int {
		next = (next + 1) % len(s.backends)
		return next
	}
}

// outcome has the answered requests of a simulation.
type outcome []request

// between returns the requests that arrived in an interval.
func (o outcome) between(from, to time.Duration) outcome {
	var out outcome
	for _, r := range o {
		if r.start >= from && r.start < to {
			out = append(out, r)
		}
	}
	return out
}

// count counts matching requests.
func (o outcome) count(is func(request) bool) int {
	var n int
	for _, r := range o {
		if is(r) {
			n++
		}
	}
	return n
}

// at counts the requests sent to the backend i.
func (o outcome) at(i int) int {
	return o.count(func(r request) bool { return r.backend == i })
}

// share returns the fraction sent to the backend i.
func (o outcome) share(i int) float64 { return float64(o.at(i)) / float64(len(o)) }

// within returns the fraction that was answered within d without an error.
func (o outcome) within(d time.Duration) float64 {
	return float64(o.count(func(r request) bool { return !r.failed && r.latency <= d })) / float64(len(o))
}

// quantile returns the latency that the fraction q did not exceed.
func (o outcome) quantile(q float64) time.Duration {
	l := make([]time.Duration, len(o))
	for i, r := range o {
		l[i] = r.latency
	}
	slices.Sort(l)
	return l[max(int(math.Ceil(q*float64(len(l))))-1, 0)]
}

// service takes a time between least and most, usually near the least, as apps do.
func service(least, most time.Duration) server {
	return func(_ time.Duration, r *rand.Rand) (time.Duration, bool) {
		d := least + time.Duration(r.ExpFloat64()*float64(most-least)/5)
		return min(d, most), false
	}
}

// fleet returns n backends with that service.
func fleet(n, workers int, serve server) []*backend {
	out := make([]*backend, n)
	for i := range out {
		out[i] = &backend{workers: workers, serve: serve}
	}
	return out
}

// during replaces a backend's service for an interval.
func (b *backend) during(from, to time.Duration, serve server) {
	usually := b.serve
	b.serve = func(now time.Duration, r *rand.Rand) (time.Duration, bool) {
		if now >= from && now < to {
			return serve(now, r)
		}
		return usually(now, r)
	}
}

// slower returns a service that takes factor times longer.
func slower(factor int, serve server) server {
	return func(now time.Duration, r *rand.Rand) (time.Duration, bool) {
		d, failed := serve(now, r)
		return d * time.Duration(factor), failed
	}
}
