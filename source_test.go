package healthpool_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

func init() { caddy.RegisterModule(listSource{}) }

// listSource is a third-party upstream source that reads a list of the test.
type listSource struct {
	Name string `json:"name,omitempty"`
}

func (listSource) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.reverse_proxy.upstreams.test_list",
		New: func() caddy.Module { return new(listSource) },
	}
}

func (l *listSource) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if !d.Args(&l.Name) {
		return d.ArgErr()
	}
	return nil
}

func (l *listSource) GetUpstreams(r *http.Request) ([]*reverseproxy.Upstream, error) {
	found, _ := lists.Load(l.Name)
	return found.(*list).read(r)
}

// lists has the tests' lists by name.
var lists sync.Map

// list is what a source lists.
type list struct {
	name string

	mu     sync.Mutex
	reads  int
	reader func(r *http.Request) ([]*reverseproxy.Upstream, error)
}

// newList returns a list of these backends.
func newList(t *testing.T, backends ...*backend) *list {
	t.Helper()
	l := &list{name: fmt.Sprintf("%s-%d", t.Name(), freePort(t))}
	l.set(backends...)
	lists.Store(l.name, l)
	return l
}

func (l *list) read(r *http.Request) ([]*reverseproxy.Upstream, error) {
	l.mu.Lock()
	l.reads++
	read := l.reader
	l.mu.Unlock()
	return read(r)
}

func (l *list) answer(read func(r *http.Request) ([]*reverseproxy.Upstream, error)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reader = read
}

// set replaces the list.
func (l *list) set(backends ...*backend) {
	l.answer(func(*http.Request) ([]*reverseproxy.Upstream, error) {
		upstreams := make([]*reverseproxy.Upstream, len(backends))
		for i, b := range backends {
			upstreams[i] = &reverseproxy.Upstream{Dial: b.addr}
		}
		return upstreams, nil
	})
}

func (l *list) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reads
}

// awaitReads waits until the list has been read twice, so that its state at the time of the
// call is in effect.
func (l *list) awaitReads(t *testing.T) {
	t.Helper()
	was := l.count()
	await(t, "the list is read again", func() bool { return l.count() >= was+2 })
}

// pool returns the config of a pool with this source.
func (l *list) pool(options string) string {
	return "healthpool {\nsource test_list " + l.name + "\nrefresh 20ms\nhealth_uri " + checkPath +
		"\nhealth_interval 20ms\nhealth_edge_interval 10ms\nhealth_down_interval 10ms\n" + options + "\n}"
}

// addresses returns the addresses of the only pool's upstreams.
func (s *site) addresses() string {
	s.t.Helper()
	upstreams := s.pool().Upstreams
	all := make([]string, len(upstreams))
	for i, u := range upstreams {
		all[i] = u.Address
	}
	return strings.Join(all, " ")
}

// TestSource checks that a newly listed upstream passes a check before its first request.
func TestSource(t *testing.T) {
	a, b := newBackend(t, "a"), newBackend(t, "b")
	l := newList(t, a)
	s := run(t, l.pool("lb_policy round_robin"))
	s.awaitPool("up")
	if got := s.get("/"); got.body != "a" || s.pool().Name != "test_list" {
		t.Errorf("got %d %q of the pool %s", got.status, got.body, s.pool().Name)
	}
	b.failChecks.Store(true)
	l.set(b, a)
	await(t, "b is there", func() bool { return s.addresses() == b.addr+" "+a.addr })
	for range 20 {
		if got := s.get("/"); got.body != "a" {
			t.Errorf("got %d %q", got.status, got.body)
		}
	}
	await(t, "b is checked", func() bool { return b.checks.Load() > 1 })
	if n := b.hits.Load(); n > 0 {
		t.Errorf("b got %d requests before it passed a check", n)
	}
	b.failChecks.Store(false)
	s.awaitPool("up")
	await(t, "b is used", func() bool { return s.get("/").body == "b" })
}

// TestSourceBesideOthers checks that no address is there twice, that the config's options
// win over the list's, and that a source's limit works.
func TestSourceBesideOthers(t *testing.T) {
	a, backup, busy := newBackend(t, "a"), newBackend(t, "backup"), newBlockingApp(t)
	l := newList(t)
	l.answer(func(*http.Request) ([]*reverseproxy.Upstream, error) {
		return []*reverseproxy.Upstream{{Dial: busy.addr, MaxRequests: 2}, {Dial: a.addr}, {Dial: busy.addr}}, nil
	})
	s := run(t, l.pool("upstream "+a.addr+" {\nbackup\n}\nbackup "+backup.addr))
	await(t, "all are there", func() bool { return s.addresses() == a.addr+" "+backup.addr+" "+busy.addr && s.pool().State == "up" })
	for range 4 {
		s.ask(t.Context(), "GET", "/", "")
	}
	await(t, "two wait", func() bool { return s.pool().Held == 2 && busy.inFlight.Load() == 2 })
	close(busy.release)
	await(t, "nobody waits", func() bool { return s.pool().Held == 0 && busy.inFlight.Load() == 0 })
	if s.upstream(a.addr).Tier != "backup" || a.hits.Load() > 0 {
		t.Errorf("a is %+v", s.upstream(a.addr))
	}
}

// TestGracePeriod checks how long an unlisted upstream stays.
func TestGracePeriod(t *testing.T) {
	a, b := newBackend(t, "a"), newBackend(t, "b")
	both, only := a.addr+" "+b.addr, a.addr
	t.Run("it passes its checks", func(t *testing.T) {
		l := newList(t, a, b)
		s := run(t, l.pool("grace_period 1m\nlb_policy round_robin"))
		s.awaitPool("up")
		l.set(a)
		l.awaitReads(t)
		if got := s.addresses(); got != both {
			t.Errorf("the upstreams are %s", got)
		}
		await(t, "b is still used", func() bool { return s.get("/").body == "b" })
		b.failChecks.Store(true)
		await(t, "b is gone, as it fails", func() bool { return s.addresses() == only })
		b.failChecks.Store(false)
		l.set(a, b)
		await(t, "b is there again", func() bool { return s.pool().State == "up" && s.addresses() == both })
	})
	t.Run("it passes them for too long", func(t *testing.T) {
		l := newList(t, a, b)
		s := run(t, l.pool("grace_period 150ms"))
		s.awaitPool("up")
		start := time.Now()
		l.set(a)
		await(t, "b is gone", func() bool { return s.addresses() == only })
		if took := time.Since(start); took < 150*time.Millisecond {
			t.Errorf("it was gone after %v", took)
		}
	})
}

// TestSourceFails breaks sources in every way at the same time: their last good lists are
// kept, also across a reload, and each failure is logged once.
func TestSourceFails(t *testing.T) {
	b := newBackend(t, "b")
	block := make(chan struct{})
	t.Cleanup(func() { close(block) })
	answers := func(upstreams []*reverseproxy.Upstream, err error) func(*http.Request) ([]*reverseproxy.Upstream, error) {
		return func(*http.Request) ([]*reverseproxy.Upstream, error) { return upstreams, err }
	}
	modes := []struct {
		name, logged string
		read         func(*http.Request) ([]*reverseproxy.Upstream, error)
	}{
		{"fails", "lookup failed", answers(nil, errors.New("lookup failed"))},
		{"panics", "panic: oops", func(*http.Request) ([]*reverseproxy.Upstream, error) { panic("oops") }},
		{"blocks", "it does not answer", func(*http.Request) ([]*reverseproxy.Upstream, error) { <-block; return nil, nil }},
		{"lists nothing", "it lists no upstream", answers(nil, nil)},
		{"lists nil", `source: must be an address such as app:8080 or unix//run/app.sock, got ""`, answers([]*reverseproxy.Upstream{nil}, nil)},
		{"lists nonsense", `source: must have one port, not a range, got "app:1-9"; list each address`, answers([]*reverseproxy.Upstream{{Dial: "app:1-9"}}, nil)},
	}
	config, all := "", make([]*list, len(modes))
	for i, m := range modes {
		all[i] = newList(t, b)
		config += fmt.Sprintf("handle /%d {\n%s\n}\n", i, all[i].pool("name "+strings.ReplaceAll(m.name, " ", "-")))
	}
	s := run(t, config)
	served := func(when string) {
		t.Helper()
		for i, m := range modes {
			if got := s.get(fmt.Sprintf("/%d", i)); got.body != "b" || got.took > time.Second {
				t.Errorf("%s, a source that %s: got %d %q after %v", when, m.name, got.status, got.body, got.took)
			}
		}
	}
	served("at first")
	for i, m := range modes {
		all[i].answer(m.read)
	}
	said := func(message, name string) (found []entry) {
		return s.logged(func(e entry) bool { return e["msg"] == message && e["pool"] == strings.ReplaceAll(name, " ", "-") })
	}
	for _, m := range modes {
		const failed = "source failed; its last good list stands"
		await(t, "the log says that a source "+m.name, func() bool { return len(said(failed, m.name)) > 0 })
		if lines := said(failed, m.name); len(lines) != 1 || !strings.Contains(fmt.Sprint(lines[0]["error"]), m.logged) {
			t.Errorf("a source that %s: %v", m.name, lines)
		}
	}
	served("broken")
	if err := s.load("", "header X-Config 1\n"+config); err != nil {
		t.Fatal(err)
	}
	served("after a reload")
	all[0].set(b)
	await(t, "a source is good again", func() bool { return len(said("source is good again", modes[0].name)) > 0 })
}

// TestSourceListsInvalidAddresses checks that the valid part of a list is used, and that
// placeholders in a list are not replaced.
func TestSourceListsInvalidAddresses(t *testing.T) {
	t.Setenv("SECRET", "127.0.0.1")
	b := newBackend(t, "b")
	l := newList(t)
	l.answer(func(*http.Request) ([]*reverseproxy.Upstream, error) {
		return []*reverseproxy.Upstream{nil, {Dial: "http://app"}, {Dial: b.addr}, {Dial: ""}, {Dial: "{http.request.host}:80"}, {Dial: "{env.SECRET}:80"}}, nil
	})
	s := run(t, l.pool(""))
	s.awaitPool("up")
	if got := s.get("/"); got.body != "b" || s.addresses() != b.addr {
		t.Errorf("got %d %q of %s", got.status, got.body, s.addresses())
	}
}

// TestSourceThatNeverWorked checks that requests do not wait long for a source that has
// failed from the start, and that it is used once it works.
func TestSourceThatNeverWorked(t *testing.T) {
	b := newBackend(t, "b")
	l := newList(t)
	l.answer(func(*http.Request) ([]*reverseproxy.Upstream, error) { return nil, errors.New("no such name") })
	const hold = time.Second
	s := run(t, l.pool(fmt.Sprintf("hold %v", hold)))
	s.awaitPool("down")
	s.get("/") // held until the time is over
	if got := s.get("/"); got.took > hold/2 || !got.isOurs() {
		t.Errorf("got %d after %v", got.status, got.took)
	}
	l.set(b)
	await(t, "it is used", func() bool { return s.get("/").body == "b" })
}

// TestRequestsWaitForSource checks that requests before the first read of a source are
// held.
func TestRequestsWaitForSource(t *testing.T) {
	b := newBackend(t, "b")
	l := newList(t)
	read := make(chan struct{})
	l.answer(func(*http.Request) ([]*reverseproxy.Upstream, error) {
		<-read
		return []*reverseproxy.Upstream{{Dial: b.addr}}, nil
	})
	s := run(t, l.pool(""))
	answer := s.ask(t.Context(), "GET", "/", "")
	s.awaitHeld(1)
	close(read)
	if got := <-answer; got.body != "b" {
		t.Errorf("got %d %q", got.status, got.body)
	}
}
