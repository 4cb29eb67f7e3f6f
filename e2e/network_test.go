package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// What a way to an app is given, by the config, before the proxy gives it up.
const wayTimeout = 500 * time.Millisecond

// trouble is something that happens on the way to one of three apps, and what that is to be called.
type trouble struct {
	name       string
	begin, end func()
	state      string // or unhealthy
	causes     string // separated by spaces
	breaks     bool   // answers that have begun break off, which no proxy can make good
}

// front is a Caddy in front of two apps that are always well, and say no more than that, and a third one, which echoes.
type front struct {
	*peer
	third string
}

// newFront starts it. Unless the policy is a bad one, hardly any request meets the trouble.
func newFront(t *testing.T, third, policy string) *front {
	t.Helper()
	upstreams := make([]string, 0, 3)
	for range 2 {
		a := newApp(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len("/healthz")))
			fmt.Fprint(w, "/healthz")
		})
		a.start(t)
		upstreams = append(upstreams, a.address)
	}
	upstreams = append(upstreams, third)
	f := &front{newCaddy(t, "", toPool(upstreams, fmt.Sprintf(`
		health_uri /healthz
		health_body /healthz
		health_interval 200ms
		health_edge_interval 100ms
		health_down_interval 100ms
		health_timeout %[1]v
		fail_duration 200ms
		slow_start off
		lb_policy %[2]s
		transport http {
			dial_timeout %[1]v
			response_header_timeout %[1]v
			read_timeout %[1]v
		}`, wayTimeout, policy))), third}
	f.start()
	return f
}

// survives checks that a trouble is seen and called by its name; that the others carry the load meanwhile, so that no
// client sees an error or waits for longer than the config says; and that all is well again by itself.
func (f *front) survives(t *testing.T, path string, x trouble) {
	t.Helper()
	page := getting("http://" + f.site + path)
	load := newTraffic(t, 100, page)
	await(t, "the third is used", func() bool { return load.served(path) > 0 })
	heal := sync.OnceFunc(x.end)
	defer heal()
	x.begin()
	if x.state == "" {
		x.state = "unhealthy"
	}
	var u upstreamStatus
	await(t, "the trouble is seen", func() bool {
		u = f.upstream(f.third)
		return u.State == x.state && slices.Contains(strings.Fields(x.causes), u.Cause)
	})
	t.Logf("%s: %s", u.Cause, u.Detail)
	if x.breaks {
		load.wantOnly(t, "unexpected EOF")
		load = newTraffic(t, 100, page)
	}
	load.goesOn(50)
	heal()
	f.awaitUpstream(f.third, "healthy")
	was := load.served(path)
	await(t, "the third is used again", func() bool { return load.served(path) > was })
	load.stop()
	// One try waits for a connection and for an answer; another one may meet the same before it is known.
	const machine = time.Second
	if limit := 4*wayTimeout + machine; load.slowest > limit {
		t.Errorf("a request took %v, which is more than %v", load.slowest, limit)
	}
}

// TestWire: whatever becomes of what one of three apps says, on its way.
func TestWire(t *testing.T) {
	third := newApp(t, echo)
	third.start(t)
	w := newWire(t, third.address)
	f := newFront(t, w.address, "round_robin")
	relisten := func() {
		_ = w.listener.Close()
		w.listen()
	}
	for _, x := range []trouble{
		{name: "refused", begin: w.refuse, end: w.listen, causes: "connection_refused"},
		{name: "not taken", begin: w.fill, end: relisten, causes: "connection_timeout"},
		{name: "nothing comes", causes: "http_response_timeout"},
		{name: "it comes byte by byte", causes: "http_response_timeout"},
		{name: "it is cut in the header", causes: "connection_terminated"},
		{name: "it is cut in the body", causes: "connection_terminated", breaks: true},
		{name: "it is reset", causes: "connection_terminated"},
		{name: "it is garbled", causes: "http_protocol_error"},
	} {
		if faults[x.name] != nil {
			x.begin, x.end = func() { w.set(x.name) }, func() { w.set("") }
		}
		t.Run(x.name, func(t *testing.T) { f.survives(t, "/third", x) })
	}
}

// TestLateWire: an app that is far away is as healthy as others, and gets what it can take without making clients wait.
func TestLateWire(t *testing.T) {
	third := newApp(t, echo)
	third.start(t)
	w := newWire(t, third.address)
	w.set("it comes late")
	f := newFront(t, w.address, "health_aware")
	load := newTraffic(t, 100, getting("http://"+f.site+"/third"))
	load.goesOn(300)
	load.stop()
	served := load.served("/third")
	if served == 0 || served > load.total()/4 || f.upstream(f.third).State != "healthy" {
		t.Errorf("%d of %d requests went the long way; it is %+v", served, load.total(), f.upstream(f.third))
	}
}
