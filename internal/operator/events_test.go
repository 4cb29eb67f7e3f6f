package operator

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"

	"github.com/healthpool/caddy-healthpool/internal/pool"
)

// handlerFunc is a handler of events.
type handlerFunc func(caddy.Event)

// Handle implements caddyevents.Handler.
func (f handlerFunc) Handle(_ context.Context, e caddy.Event) error {
	f(e)
	return nil
}

// handled returns what emits events of pools to handle, once Caddy has started.
func handled(t *testing.T, handle handlerFunc) *Events {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	t.Cleanup(cancel)
	app := new(caddyevents.App)
	if err := app.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"pool_up", "pool_down"} {
		if err := app.On(name, handle); err != nil {
			t.Fatal(err)
		}
	}
	return &Events{app: app, ctx: ctx}
}

// begin tells e that Caddy has started.
func begin(e *Events) { _ = e.Handle(context.Background(), caddy.Event{}) }

// TestEventsBeforeTheStart: subscriptions must not be read before all apps have started;
// changes until then are emitted afterwards.
func TestEventsBeforeTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		e := handled(t, func(caddy.Event) { n++ })
		var early sync.WaitGroup
		early.Go(func() { e.state("shop", pool.Down) })
		if err := e.app.Start(); err != nil {
			t.Fatal(err)
		}
		early.Wait()
		synctest.Wait()
		if n != 0 {
			t.Errorf("%d events were emitted before the start", n)
		}
		begin(e)
		synctest.Wait()
		if n != 1 {
			t.Errorf("%d events were emitted, want 1", n)
		}
	})
}

// TestEventsStop: Stop waits for a quick handler, but only for a moment for one that hangs,
// and drops the events that wait behind it.
func TestEventsStop(t *testing.T) {
	for name, tt := range map[string]struct{ takes, stop time.Duration }{
		"quick": {stopTimeout / 2, stopTimeout / 2},
		"hangs": {time.Hour, stopTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := 0
				e := handled(t, func(caddy.Event) { n++; time.Sleep(tt.takes) })
				begin(e)
				e.state("shop", pool.Down)
				e.state("shop", pool.Up)
				synctest.Wait()
				begun := time.Now()
				e.Stop()
				if took := time.Since(begun); took != tt.stop {
					t.Errorf("it took %v, want %v", took, tt.stop)
				}
				time.Sleep(tt.takes)
				synctest.Wait()
				if n != 1 {
					t.Errorf("%d events were emitted, want 1", n)
				}
			})
		})
	}
}

// TestEventsStopInHandler: a handler may call Stop, as one does that reloads Caddy.
func TestEventsStopInHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e *Events
		over := make(chan bool)
		e = handled(t, func(caddy.Event) { e.Stop(); close(over) })
		begin(e)
		e.state("shop", pool.Down)
		<-over
		synctest.Wait()
		e.Stop()
	})
}

// TestEventsAfterStop: changes after Stop, which requests may still report, are not emitted.
func TestEventsAfterStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		e := handled(t, func(caddy.Event) { n++ })
		begin(e)
		e.Stop()
		e.state("shop", pool.Down)
		synctest.Wait()
		if n != 0 {
			t.Errorf("%d events were emitted", n)
		}
		e.Stop()
	})
}
