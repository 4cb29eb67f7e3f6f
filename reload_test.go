package healthpool_test

import (
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// TestReloadUnderLoad checks that no request fails while configs change.
func TestReloadUnderLoad(t *testing.T) {
	a, b, dead := newBackend(t, "a"), newBackend(t, "b"), deadAddress(t)
	config := func(i int) string {
		return fmt.Sprintf("header X-Config %d\nhealthpool %s %s %s {\nheader_up X-Config %d\n}", i, a.addr, dead, b.addr, i)
	}
	s := run(t, config(0))
	await(t, "the pool is known", func() bool { return s.pool().Healthy == 2 })
	var over atomic.Bool
	var clients sync.WaitGroup
	for range 2 {
		clients.Go(func() {
			for !over.Load() {
				// Caddy itself may reset a connection that was not accepted yet.
				if got, err := s.try(t.Context(), "POST", "/", "body"); err == nil && got.status != http.StatusOK {
					t.Errorf("a request failed: %d %s", got.status, got.body)
					return
				}
			}
		})
	}
	for i := range 10 {
		if err := s.load("", config(i+1)); err != nil {
			t.Errorf("reload %d: %v", i, err)
		}
	}
	over.Store(true)
	clients.Wait()
}

// TestReloadForgetsNothing checks that the upstreams keep their state, and that a reload
// causes no checks, nor more of them afterwards.
func TestReloadForgetsNothing(t *testing.T) {
	a, b := newBackend(t, "a"), newBackend(t, "b")
	b.failChecks.Store(true)
	config := func(i int) string {
		return fmt.Sprintf("header X-Config %d\nhealthpool %s %s {\nhealth_uri /healthz\nhealth_interval 1h\nhealth_down_interval 1h\n}", i, a.addr, b.addr)
	}
	s := run(t, config(0))
	await(t, "both are known", func() bool { p := s.pool(); return p.Healthy == 1 && p.Upstreams[1].LastCheck != nil })
	was := s.pool()
	for i := range 5 {
		if err := s.load("", config(i+1)); err != nil {
			t.Fatal(err)
		}
		now := s.pool()
		expect(t, now, map[string]bool{
			"state": now.State == was.State, "state of b": now.Upstreams[1].State == "unhealthy",
			"history of b": now.Upstreams[1].History == was.Upstreams[1].History,
			"since of b":   now.Upstreams[1].Since.Equal(was.Upstreams[1].Since),
		})
		for range 10 {
			if got := s.get("/"); got.body != "a" {
				t.Errorf("got %d %q", got.status, got.body)
			}
		}
	}
	if na, nb := a.checks.Load(), b.checks.Load(); na != 1 || nb != 1 {
		t.Errorf("there were %d and %d checks, want 1 of each", na, nb)
	}
	if lines := s.logged(func(e entry) bool { return e["logger"] == "healthpool" && e["upstream"] != nil }); len(lines) != 2 {
		t.Errorf("want one line for each upstream, got %v", lines)
	}
}

// TestReloadKeepsTheSchedule reloads much more often than the check interval: the schedule
// must not change.
func TestReloadKeepsTheSchedule(t *testing.T) {
	b := newBackend(t, "hello")
	const interval = 100 * time.Millisecond
	config := func(i int) string {
		return fmt.Sprintf("header X-Config %d\nhealthpool %s {\nhealth_uri /healthz\nhealth_interval %v\n}", i, b.addr, interval)
	}
	s := run(t, config(0))
	s.awaitPool("up")
	start, was := time.Now(), b.checks.Load()
	for i := 1; time.Since(start) < 10*interval; i++ {
		if err := s.load("", config(i)); err != nil {
			t.Fatal(err)
		}
	}
	intervals := float64(time.Since(start)) / float64(interval)
	if n := float64(b.checks.Load() - was); n < intervals/2 || n > intervals*1.5+2 {
		t.Errorf("in %.1f intervals there were %v checks", intervals, n)
	}
}

// TestReloadInAnOutage checks that an outage continues across a reload: held requests stay
// held or are answered, and the hold does not start again.
func TestReloadInAnOutage(t *testing.T) {
	b := newBackend(t, "hello")
	const hold = time.Second
	config := func(i int) string {
		return fmt.Sprintf("header X-Config %d\nhealthpool %s {\nhold %v\n}", i, b.addr, hold)
	}
	s := run(t, config(0))
	s.awaitPool("up")
	b.stop()
	if first := s.get("/"); !first.isOurs() {
		t.Fatalf("got %d %q", first.status, first.body)
	}
	if err := s.load("", config(1)); err != nil {
		t.Fatal(err)
	}
	if got := s.get("/"); !got.isOurs() || got.took > hold/2 {
		t.Errorf("after the reload, got %d after %v, want the page at once", got.status, got.took)
	}
	b.start()
	await(t, "the app is used again", func() bool { return s.get("/").status == http.StatusOK })
}

// TestReloadWhileHeld checks that a reload does not harm held requests, whether or not
// their upstreams are the same afterwards: a changed check makes them different ones.
func TestReloadWhileHeld(t *testing.T) {
	for name, changed := range map[string]string{
		"unchanged":        "",
		"another check":    "health_uri " + checkPath,
		"another upstream": "to " + deadAddress(t),
		"another policy":   "lb_policy round_robin",
	} {
		t.Run(name, func(t *testing.T) {
			b := newBackendFunc(t, echo)
			config := func(i int, options string) string {
				return fmt.Sprintf("header X-Config %d\nhealthpool %s {\nhold 2s\n%s\n}", i, b.addr, options)
			}
			s := run(t, config(0, ""))
			s.awaitPool("up")
			b.stop()
			answers := make([]<-chan response, 5)
			for i := range answers {
				answers[i] = s.ask(t.Context(), "POST", "/", "body")
			}
			s.awaitPool("down")
			s.awaitHeld(len(answers))
			if err := s.load("", config(1, changed)); err != nil {
				t.Fatal(err)
			}
			b.start()
			for _, answer := range answers {
				if got := <-answer; got.status != http.StatusOK || got.body != "POST body" {
					t.Errorf("got %d %q after %v", got.status, got.body, got.took)
				}
			}
			if n := b.hits.Load(); n != int64(len(answers)) {
				t.Errorf("the app got %d requests, want %d", n, len(answers))
			}
			await(t, "new requests are served", func() bool { return s.get("/").status == http.StatusOK })
		})
	}
}

// TestFailedReload checks that a refused config changes nothing.
func TestFailedReload(t *testing.T) {
	a, b := newBackend(t, "a"), newBackend(t, "b")
	good := fmt.Sprintf("healthpool %s %s {\nhealth_uri /healthz\nhealth_interval 30ms\nhealth_down_interval 30ms\n}", a.addr, b.addr)
	s := run(t, good)
	s.awaitPool("up")
	taken := rawBackend(t, hang)
	for name, bad := range map[string]string{
		"its own pool is wrong":     good + "\nhandle /x {\nhealthpool " + a.addr + " {\nhealth_uri nonsense\n}\n}",
		"its template is not there": good + "\nhandle /x {\nhealthpool " + a.addr + " {\npage {\ntemplate /nowhere.html\n}\n}\n}",
		"another app fails":         good + "\n}\nhttp://" + taken + " {\nrespond x",
	} {
		if err := s.load("", bad); err == nil {
			t.Errorf("%s, yet it was loaded", name)
		}
		was := a.checks.Load()
		await(t, "checks go on", func() bool { return a.checks.Load() > was+2 })
		if got := s.get("/"); got.status != http.StatusOK || s.pool().State != "up" {
			t.Errorf("%s: got %d %q, pool %+v", name, got.status, got.body, s.pool())
		}
	}
	b.failChecks.Store(true)
	s.awaitUpstream(b.addr, "unhealthy")
}

// ours returns the stacks of goroutines that run code of this module.
func ours() string {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	var found []string
	for stack := range strings.SplitSeq(string(stacks), "\n\n") {
		if strings.Contains(stack, "caddy-healthpool/internal/") || strings.Contains(stack, "caddy-healthpool.(") {
			found = append(found, stack)
		}
	}
	return strings.Join(found, "\n\n")
}

// TestNothingLeaks checks that no goroutine and no check outlives Caddy.
func TestNothingLeaks(t *testing.T) {
	b := newBackend(t, "hello")
	s := run(t, fmt.Sprintf("healthpool %s %s {\nhealth_uri /healthz\nhealth_interval 5ms\nhealth_down_interval 5ms\n}\nhandle /x {\nhealthpool %s {\nhealth_uri /\nhealth_interval 5ms\n}\n}",
		b.addr, deadAddress(t), rawBackend(t, hang)))
	for i := range 3 {
		s.get("/")
		if err := s.load("", fmt.Sprintf("header A %d\nhealthpool %s {\nhealth_uri /healthz\nhealth_interval 5ms\n}", i, b.addr)); err != nil {
			t.Fatal(err)
		}
	}
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	was := b.checks.Load()
	await(t, "no goroutine of ours is left", func() bool { return ours() == "" })
	if n := b.checks.Load(); n > was+1 {
		t.Errorf("%d checks after the stop", n-was)
	}
}

// TestReloadKeepsNames checks that pools with the same first upstream keep their names
// across reloads, though Caddy provisions servers in random order: dashboards, alerts and
// scripts depend on the names.
func TestReloadKeepsNames(t *testing.T) {
	b, other := newBackend(t, "hello"), freePort(t)
	config := fmt.Sprintf("healthpool %s {\nmax_fails 3\n}\n}\nhttp://:%d {\nhealthpool %s {\nmax_fails 4\n}", b.addr, other, b.addr)
	s := run(t, config)
	names := func() string {
		p := s.pools()
		return p[0].Name + " " + p[1].Name
	}
	first := names()
	for i := range 40 {
		if err := s.load("", config); err != nil {
			t.Fatal(err)
		}
		if got := names(); got != first {
			t.Fatalf("after %d reloads, the names are %s, not %s", i+1, got, first)
		}
	}
}
