package pool

import (
	"context"
	"time"
)

// breath is how long requests are held after the first upstream came back, so
// that the others have the time to, and it does not get all of them.
const breath = 10 * time.Millisecond

// Pick returns the best upstream for r and the one to have when that is not to
// be had; nil stands for none. While there is none to pick, the request waits, as
// the pool's Hold allows.
func (p *Pool) Pick(ctx context.Context, r *Request) (best, second *Upstream) {
	v := p.view.Load()
	if best, second = v.choose(r); best != nil {
		return best, second
	}
	if !p.wait(ctx, v, r, func(v *view) bool {
		best, second = v.choose(r)
		return best != nil
	}) {
		best, second = p.view.Load().chooseAny(r)
	}
	return best, second
}

// Usable returns every upstream that r may be given, in the order of the config.
// It waits like Pick.
func (p *Pool) Usable(ctx context.Context, r *Request) []*Upstream {
	v := p.view.Load()
	if !v.ready() {
		p.wait(ctx, v, r, (*view).ready)
		v = p.view.Load()
	}
	return v.candidates(r)
}

// wait holds r until ready says yes to a view, and reports whether it did. It
// gives up when the client leaves, the time is over, or too many wait.
func (p *Pool) wait(ctx context.Context, v *view, r *Request, ready func(*view) bool) bool {
	until, ok := p.patience(v, r)
	if !ok || !p.queue(r) {
		return false
	}
	defer p.unqueue()
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	for ok {
		select {
		case <-v.changed:
		case <-timer.C:
		case <-ctx.Done():
			r.spent = true
			return false
		}
		if wasDown := v.down(); wasDown && !p.view.Load().down() {
			pause(ctx, breath)
		}
		if v = p.view.Load(); ready(v) {
			return true
		}
		until, ok = p.patience(v, r)
		timer.Reset(time.Until(until))
	}
	return false
}

// queue counts r among those who wait, if there is room.
func (p *Pool) queue(r *Request) bool {
	n := p.held.Add(1)
	if n > int64(p.HoldMax) {
		p.held.Add(-1)
		r.spent = true
		return false
	}
	if n == 1 {
		p.hold(1)
	}
	return true
}

func (p *Pool) unqueue() {
	if p.held.Add(-1) == 0 {
		p.hold(-1)
	}
}

// patience is until when r may wait; false means not at all. All the waiting of
// one request counts together, and an outage is waited for only from its
// beginning on: later requests are told at once.
func (p *Pool) patience(v *view, r *Request) (until time.Time, ok bool) {
	if p.Hold <= 0 || r.spent {
		return until, false
	}
	now := time.Now()
	if r.patience.IsZero() {
		r.patience = now.Add(p.Hold)
	}
	until = r.patience
	if v.down() {
		if end := v.outage.Add(p.Hold); end.Before(until) {
			until = end
		}
	}
	r.spent = !until.After(now)
	return until, !r.spent
}

// pause waits for d; false means that ctx was done before.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
