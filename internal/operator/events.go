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

// Events emits changes as reverse_proxy does for the upstreams that it checks itself:
// healthy and unhealthy with the data host, and here also pool and cause; and pool_up and
// pool_down. Handlers of events may be slow, and a change may be noticed by a request: so
// a goroutine, which exists only while there are events, emits one after the other.
type Events struct {
	app *caddyevents.App
	ctx caddy.Context

	// mu guards what follows.
	mu    sync.Mutex
	queue []event
	// idle is closed when the goroutine ends; nil while none is running.
	idle chan struct{}
	// started is set once all apps of the config have started, and stopped by Stop.
	started, stopped bool
}

type event struct {
	name string
	data map[string]any
}

// maxEvents is how many events may wait. Further ones are dropped: a handler that hangs
// must not fill the memory.
const maxEvents = 1000

// stopTimeout is how long Stop waits for a handler. A quick one may finish before its
// config is gone; but one that reloads Caddy itself waits for Stop, so there is a limit.
const stopTimeout = time.Second

// NewEvents returns an emitter of events in the name of ctx.
func NewEvents(ctx caddy.Context) (*Events, error) {
	app, err := ctx.App("events")
	if err != nil {
		return nil, err
	}
	e := &Events{app: app.(*caddyevents.App), ctx: ctx}
	return e, e.app.On("started", e)
}

// Handle implements caddyevents.Handler for the event that all apps have started. Apps
// start in any order, and until now the events app may still have been adding
// subscriptions, which is not safe to do while events are emitted.
func (e *Events) Handle(context.Context, caddy.Event) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.started = true
	e.wakeLocked()
	return nil
}

// Stop waits a moment for the event that is being emitted. Events that still wait, and
// those that come later, are dropped.
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
	case <-time.After(stopTimeout):
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
	e.wakeLocked()
}

// wakeLocked starts the goroutine if there is something to emit and it is not running.
// Caller must hold e.mu.
func (e *Events) wakeLocked() {
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

// next takes an event from the queue. If there is none, the goroutine must end.
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
