package pool

import (
	"container/list"
	"sync"
	"sync/atomic"
)

// queue has the requests that wait for an upstream, first come, first served.
// Only the first of them has the turn: it looks whether there is an upstream,
// leaves if so, and with that the turn is the next one's.
type queue struct {
	size atomic.Int64

	// mu guards what follows.
	mu      sync.Mutex
	waiting list.List // of *waiter
}

// waiter is one request in the queue.
type waiter struct {
	turn  chan struct{}
	place *list.Element
}

// join lines up, unless room requests wait already. First tells that nobody else
// does.
func (q *queue) join(limit int) (w *waiter, first bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.waiting.Len() >= limit {
		return nil, false
	}
	w = &waiter{turn: make(chan struct{}, 1)}
	w.place = q.waiting.PushBack(w)
	first = q.size.Add(1) == 1
	if first {
		w.giveTurn() // what it looked at before may have changed meanwhile
	}
	return w, first
}

// leave gives up the place, and the turn to the one behind.
func (q *queue) leave(w *waiter) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting.Remove(w.place)
	q.size.Add(-1)
	q.giveFirstTurn()
}

// advance gives the turn to the first: something has changed. It costs nothing
// while nobody waits.
func (q *queue) advance() {
	if q.size.Load() == 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.giveFirstTurn()
}

// next gives the turn to the first. Caller must hold q.mu.
func (q *queue) giveFirstTurn() {
	if front := q.waiting.Front(); front != nil {
		front.Value.(*waiter).giveTurn()
	}
}

// give gives w the turn, which it may have already.
func (w *waiter) giveTurn() {
	select {
	case w.turn <- struct{}{}:
	default:
	}
}
