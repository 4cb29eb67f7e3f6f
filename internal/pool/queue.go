package pool

import (
	"container/list"
	"sync"
	"sync/atomic"
)

// queue holds the requests that wait for an upstream, first come, first served. Only the
// first has the turn: it looks for an upstream and, if there is one, leaves and passes the
// turn on.
type queue struct {
	size atomic.Int64

	// mu guards the list.
	mu      sync.Mutex
	waiting list.List // of *waiter
}

// waiter is one request in the queue.
type waiter struct {
	turn  chan struct{}
	place *list.Element
}

// join appends a waiter, unless limit requests are waiting. first is true if it is the only
// one.
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
		w.giveTurn() // the view may have changed since it looked
	}
	return w, first
}

// leave removes w and gives the turn to the new first.
func (q *queue) leave(w *waiter) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting.Remove(w.place)
	q.size.Add(-1)
	q.giveFirstTurn()
}

// advance gives the turn to the first because something changed. It is cheap when nobody
// waits.
func (q *queue) advance() {
	if q.size.Load() == 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.giveFirstTurn()
}

// giveFirstTurn gives the turn to the first. Caller must hold q.mu.
func (q *queue) giveFirstTurn() {
	if front := q.waiting.Front(); front != nil {
		front.Value.(*waiter).giveTurn()
	}
}

// giveTurn gives w the turn, unless it has it already.
func (w *waiter) giveTurn() {
	select {
	case w.turn <- struct{}{}:
	default:
	}
}
