package pool

import (
	"context"
	"math"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/balance"
)

const (
	// breath is how long requests are held after the first upstream came back,
	// so that the others have the time to, and it does not get all of them.
	releaseDelay = 10 * time.Millisecond

	// firstWindow is how many requests that waited an upstream is given at
	// once when it comes back. Each answer makes room for two more (as TCP's
	// slow start does), so that they go out as fast as it takes them.
	firstReleaseWindow = 8
	noReleaseWindow    = math.MaxInt64
)

// Pick returns the best upstream for r and the one to have when that is not to
// be had; nil stands for none. While there is none to pick, the request waits, as
// the pool's Hold allows.
func (p *Pool) Pick(ctx context.Context, r *Request) (best, second *Member) {
	if p.closedTo(r) {
		return nil, nil
	}
	if p.queue.size.Load() == 0 {
		if best, second = p.view.Load().reserveBest(r, false); best != nil {
			return best, second
		}
	}
	if !p.wait(ctx, r, func(v *view) bool {
		best, second = v.reserveBest(r, true)
		return best != nil
	}) && !p.closedTo(r) {
		best, second = p.view.Load().reserveAny(r)
	}
	return best, second
}

// Usable returns every upstream that r may be given, in the order of the config.
// It waits like Pick.
func (p *Pool) Usable(ctx context.Context, r *Request) []*Member {
	v := p.view.Load()
	if p.queue.size.Load() > 0 || !v.ready(false) {
		p.wait(ctx, r, func(v *view) bool { return v.ready(true) })
		v = p.view.Load()
	}
	if p.closedTo(r) {
		return nil
	}
	return v.candidates(r)
}

// wait holds r until it has the turn and try says yes to the view, and reports
// whether that came. It gives up when the client leaves, the time is over, or too
// many wait.
func (p *Pool) wait(ctx context.Context, r *Request, try func(*view) bool) bool {
	until, ok := p.holdDeadline(r)
	if !ok {
		return false
	}
	w, first := p.queue.join(p.HoldMax)
	if w == nil {
		r.holdSpent = true
		p.reportHold(Overflow)
		return false
	}
	outcome := TimedOut
	defer func() {
		p.queue.leave(w)
		if p.queue.size.Load() == 0 {
			p.stopHandover()
		}
		p.reportHold(outcome)
	}()
	if first {
		p.checkForHeld()
	}
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	for ok {
		select {
		case <-w.turn:
			if try(p.view.Load()) {
				outcome = Served
				return true
			}
		case <-timer.C:
		case <-ctx.Done():
			outcome, r.holdSpent = ClientLeft, true
			return false
		}
		until, ok = p.holdDeadline(r)
		timer.Reset(time.Until(until))
	}
	return false
}

// askForHeld has every upstream that is out checked at once, for a request that
// begins to wait; but those of a big pool together only a thousand times a second.
func (p *Pool) checkForHeld() {
	v, now, last := p.view.Load(), balance.Now(), p.heldCheckAt.Load()
	if last != 0 && now-last < int64(v.interval(minCheckGap)) {
		return
	}
	if p.heldCheckAt.CompareAndSwap(last, now|1) { // 0 stands for never
		v.checkUnhealthy()
	}
}

// patience is until when r may wait; false means not at all. All the waiting of
// one request counts together, and an outage is waited for only from its
// beginning on: later requests are told at once.
func (p *Pool) holdDeadline(r *Request) (until time.Time, ok bool) {
	if p.Hold <= 0 || r.holdSpent || r.NoHold || p.closedTo(r) {
		return until, false
	}
	now := time.Now()
	if r.holdUntil.IsZero() {
		r.holdUntil = now.Add(p.Hold)
	}
	until = r.holdUntil
	if v := p.view.Load(); v.down() {
		if end := v.outage.Add(p.Hold); end.Before(until) {
			until = end
		}
	}
	r.holdSpent = !until.After(now)
	return until, !r.holdSpent
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
