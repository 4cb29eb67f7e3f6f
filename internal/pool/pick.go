package pool

import (
	"context"
	"math"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/balance"
)

const (
	// releaseDelay is how long requests stay held after the first upstream came back, so
	// that the others can come back too and it does not get all of them.
	releaseDelay = 10 * time.Millisecond

	// firstReleaseWindow is how many held requests a recovered upstream gets at once. Each
	// answer makes room for two more (as in TCP's slow start), so that they are released as
	// fast as it answers.
	firstReleaseWindow = 8
	noReleaseWindow    = math.MaxInt64
)

// Pick returns the best upstream for r, and a second in case the proxy rejects the best;
// nil means none. While there is none to pick, the request waits, as Hold allows.
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

// Usable returns every upstream that r may use, in config order. It waits like Pick.
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

// wait holds r until it has the turn and try accepts the view, and reports whether that
// happened. It gives up when the client leaves, the time is up, or too many are waiting.
func (p *Pool) wait(ctx context.Context, r *Request, try func(*view) bool) bool {
	until, ok := p.holdDeadline(r)
	if !ok {
		return false
	}
	waiter, first := p.queue.join(p.HoldMax)
	if waiter == nil {
		r.holdSpent = true
		p.reportHold(Overflow)
		return false
	}
	outcome := TimedOut
	defer func() {
		p.queue.leave(waiter)
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
		case <-waiter.turn:
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

// checkForHeld checks every unhealthy upstream at once, because a request started to wait.
// All checks of a big pool together are limited to a thousand a second.
func (p *Pool) checkForHeld() {
	v, now, last := p.view.Load(), balance.Now(), p.heldCheckAt.Load()
	if last != 0 && now-last < int64(v.interval(minCheckGap)) {
		return
	}
	if p.heldCheckAt.CompareAndSwap(last, now|1) { // 0 means never
		v.checkUnhealthy()
	}
}

// holdDeadline returns until when r may wait; false means not at all. All waits of one
// request count together, and in an outage the time counts from its beginning: later
// requests fail at once.
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

// pause waits for d; it returns false if ctx is done first.
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
