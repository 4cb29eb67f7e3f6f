package pool

import (
	"context"
	"sync"

	"github.com/healthpool/caddy-healthpool/internal/health"
)

// Check checks one upstream once. It must return soon after ctx is done.
type Check func(ctx context.Context) health.Result

// Prober runs the checks of one running config: as many at once as allowed, and
// none after Stop has returned.
type Prober struct {
	slots chan struct{}

	// mu guards what follows; it orders each new check before or after Stop.
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

// Stop cuts the checks under way short and waits for them. A second call does
// nothing.
func (p *Prober) Stop() {
	p.mu.Lock()
	p.cancel()
	p.mu.Unlock()
	p.checks.Wait()
}

// run runs f until Stop, which ends its context and waits for it.
func (p *Prober) run(f func(context.Context)) {
	if p.register() {
		go func() {
			defer p.checks.Done()
			f(p.ctx)
		}()
	}
}

// enter announces a check; false means that none may begin any more.
func (p *Prober) register() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() != nil {
		return false
	}
	p.checks.Add(1)
	return true
}

// do runs a check that was announced, once there is room for it. A check that
// was cut short is no result.
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
