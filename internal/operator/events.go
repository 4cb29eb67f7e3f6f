package operator

import (
	"context"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"

	"github.com/healthpool/caddy-healthpool/internal/health"
	"github.com/healthpool/caddy-healthpool/internal/pool"
)

// Events emits what changes, as reverse_proxy does for the upstreams that it checks
// itself: healthy and unhealthy with the data host, and here also pool and cause; and
// pool_up and pool_down. Handlers of events may take their time, and what changes may
// be told by a request: so the events are emitted one after the other by a goroutine
// that is there only while there are any.
type Events struct {
	app *caddyevents.App
	ctx caddy.Context

	mu    sync.Mutex
	queue []event
	// idle is closed when the goroutine ends; nil while there is none.
	idle chan struct{}
	// started is set once all apps of the config have started, and stopped by Stop.
	started, stopped bool
}

type event struct {
	name string
	data map[string]any
}

// maxEvents is how many events may wait. What comes on top is left out: a handler that
// hangs must not fill the memory.
const maxEvents = 1000

// stopPatience is how long Stop waits for a handler. One that reloads Caddy waits for
// Stop itself, so this must come to an end; and one that is quick is let finish before
// the config that it belongs to is gone.
const stopPatience = time.Second

// NewEvents returns what emits events in the name of ctx.
func NewEvents(ctx caddy.Context) (*Events, error) {
	app, err := ctx.App("events")
	if err != nil {
		return nil, err
	}
	e := &Events{app: app.(*caddyevents.App), ctx: ctx}
	return e, e.app.On("started", e)
}

// Handle implements caddyevents.Handler: Caddy tells that all apps have started. Apps
// start in any order, and until now the one for events may still have been noting who
// has subscribed, which must not be looked at meanwhile.
func (e *Events) Handle(context.Context, caddy.Event) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.started = true
	e.wake()
	return nil
}

// Stop lets the event that is being emitted end, if that does not take long. Those that
// wait, and those that come later, are left out.
func (e *Events) Stop() {
	e.mu.Lock()
	e.stopped, e.queue = true, nil
	idle := e.idle
	e.mu.Unlock()
	if idle == nil {
		return
	}
	select {
	case <-idle:
	case <-time.After(stopPatience):
	}
}

func (e *Events) transition(poolName string, t pool.Transition) {
	data := map[string]any{"host": t.Upstream, "pool": poolName, "cause": string(t.Cause)}
	if t.To == health.Healthy {
		e.emit(event{"healthy", data})
	} else {
		e.emit(event{"unhealthy", data})
	}
}

func (e *Events) state(poolName string, s pool.State) {
	name := "pool_up"
	if s == pool.Down {
		name = "pool_down"
	}
	e.emit(event{name, map[string]any{"pool": poolName, "state": string(s)}})
}

func (e *Events) emit(v event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stopped || len(e.queue) >= maxEvents || e.started && !e.app.ShouldEmit(v.name) {
		return
	}
	e.queue = append(e.queue, v)
	e.wake()
}

// wake has the goroutine run if there is something to emit. Caller must hold e.mu.
func (e *Events) wake() {
	if e.started && e.idle == nil && len(e.queue) > 0 {
		e.idle = make(chan struct{})
		go e.drain()
	}
}

func (e *Events) drain() {
	for v, ok := e.next(); ok; v, ok = e.next() {
		e.app.Emit(e.ctx, v.name, v.data)
	}
}

// next takes an event from the queue, or tells that the goroutine ends.
func (e *Events) next() (v event, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.queue) == 0 {
		close(e.idle)
		e.idle = nil
		return v, false
	}
	v, e.queue = e.queue[0], e.queue[1:]
	return v, true
}
