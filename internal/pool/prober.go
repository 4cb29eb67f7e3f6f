package pool

import (
	"context"
	"sync"

	"github.com/healthpool/caddy-healthpool/internal/health"
)

// Check checks one upstream once. It must return soon after ctx is done.
type Check func(ctx context.Context) health.Result

// Prober runs the checks of one running config: a bounded number at once, and none after
// Stop has returned.
type Prober struct {
	slots chan struct{}

	// mu guards the fields below and orders each new check before or after Stop.
	mu     sync.Mutex
	ctx    context.Context
	cancel context.CancelFunc
	checks sync.WaitGroup
}

// NewProber returns a Prober that runs up to maxProbes checks at once.
func NewProber(maxProbes int) *Prober {
	p := &Prober{slots: make(chan struct{}, maxProbes)}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// Stop cancels the running checks and waits for them. Further calls do nothing.
func (p *Prober) Stop() {
	p.mu.Lock()
	p.cancel()
	p.mu.Unlock()
	p.checks.Wait()
}

// run runs f in a goroutine that Stop cancels and waits for.
func (p *Prober) run(f func(context.Context)) {
	if p.register() {
		go func() {
			defer p.checks.Done()
			f(p.ctx)
		}()
	}
}

// register registers a check that is about to run; false means the Prober has stopped.
func (p *Prober) register() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() != nil {
		return false
	}
	p.checks.Add(1)
	return true
}

// do runs a registered check once there is a free slot. A canceled check has no result.
func (p *Prober) do(check Check) (r health.Result, ok bool) {
	defer p.checks.Done()
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-p.ctx.Done():
		return r, false
	}
	r = check(p.ctx)
	return r, p.ctx.Err() == nil
}
