package operator

import (
	"sync"

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

	mu     sync.Mutex
	queue  []event
	active bool
	done   sync.WaitGroup
}

type event struct {
	name string
	data map[string]any
}

// maxEvents is how many events may wait. What comes on top is left out: a handler that
// hangs must not fill the memory.
const maxEvents = 1000

// NewEvents returns what emits events in the name of ctx.
func NewEvents(ctx caddy.Context) (*Events, error) {
	app, err := ctx.App("events")
	if err != nil {
		return nil, err
	}
	return &Events{app: app.(*caddyevents.App), ctx: ctx}, nil
}

// Stop waits for the events that are being emitted; those that wait are left out.
func (e *Events) Stop() {
	e.mu.Lock()
	e.queue = nil
	e.mu.Unlock()
	e.done.Wait()
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
	if !e.app.ShouldEmit(v.name) {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.queue) >= maxEvents {
		return
	}
	e.queue = append(e.queue, v)
	if !e.active {
		e.active = true
		e.done.Go(e.drain)
	}
}

func (e *Events) drain() {
	for {
		e.mu.Lock()
		if len(e.queue) == 0 {
			e.active = false
			e.mu.Unlock()
			return
		}
		v := e.queue[0]
		e.queue = e.queue[1:]
		e.mu.Unlock()
		e.app.Emit(e.ctx, v.name, v.data)
	}
}
