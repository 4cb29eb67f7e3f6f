package healthpool_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestCorePolicies checks that every policy of Caddy works on a healthpool, with the
// upstreams in config order.
func TestCorePolicies(t *testing.T) {
	backends := make(map[string]*backend)
	var addresses string
	for _, name := range []string{"a", "b", "c"} {
		backends[name] = newBackend(t, name)
		addresses += " " + backends[name].addr
	}
	start := func(t *testing.T, policy string) *site {
		t.Helper()
		s := run(t, fmt.Sprintf("healthpool%s {\nlb_policy %s\nhealth_interval 50ms\n}", addresses, policy))
		s.awaitPool("up")
		return s
	}
	count := func(s *site, headers ...string) string {
		n := make(map[string]int)
		for range 30 {
			n[s.get("/", headers...).body]++
		}
		return fmt.Sprint(n)
	}
	t.Run("round_robin", func(t *testing.T) {
		if got := count(start(t, "round_robin")); got != "map[a:10 b:10 c:10]" {
			t.Errorf("got %s", got)
		}
	})
	for _, policy := range []string{"ip_hash", "client_ip_hash", "uri_hash", "header X-Key"} {
		t.Run(policy, func(t *testing.T) {
			if got := count(start(t, policy), "X-Key", "k"); !strings.Contains(got, ":30") {
				t.Errorf("not always the same upstream: %s", got)
			}
		})
	}
	t.Run("first", func(t *testing.T) {
		s := start(t, "first")
		if got := count(s); got != "map[a:30]" {
			t.Errorf("got %s", got)
		}
		backends["a"].stop()
		if got := count(s); got != "map[b:30]" {
			t.Errorf("with the first stopped, got %s", got)
		}
		backends["a"].start()
		await(t, "the first is used again", func() bool { return s.get("/").body == "a" })
		if got := count(s); got != "map[a:30]" {
			t.Errorf("with the first back, got %s", got)
		}
	})
	t.Run("cookie", func(t *testing.T) {
		s := start(t, "cookie lb")
		first := s.get("/")
		cookie, _, _ := strings.Cut(first.header.Get("Set-Cookie"), ";")
		if got := count(s, "Cookie", cookie); got != fmt.Sprintf("map[%s:30]", first.body) {
			t.Errorf("the cookie of %s led to %s", first.body, got)
		}
		backends[first.body].stop()
		if got := count(s, "Cookie", cookie); strings.Contains(got, first.body+":") || strings.Contains(got, "title") {
			t.Errorf("with %s stopped, its cookie led to %s", first.body, got)
		}
		backends[first.body].start()
	})
}

// TestHealthAwareOnStaticUpstreams checks that the policy helps without a pool: it skips
// what is down and spreads concurrent requests.
func TestHealthAwareOnStaticUpstreams(t *testing.T) {
	const atOnce = 20
	for name, page := range map[string]string{"alone": "", "with the page": "no_healthy_upstream\n"} {
		t.Run(name, func(t *testing.T) {
			var arrived atomic.Int64
			all := make(chan struct{})
			answer := func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/together" {
					if arrived.Add(1) == atOnce {
						close(all)
					}
					<-all
				} else {
					time.Sleep(10 * time.Millisecond) // much longer than the scheduler takes
				}
			}
			a, b := newBackendFunc(t, answer), newBackendFunc(t, answer)
			s := run(t, page+fmt.Sprintf("reverse_proxy %s %s %s {\nlb_policy health_aware\nlb_retries 3\nfail_duration 1m\n}", a.addr, deadAddress(t), b.addr))
			for range 40 {
				if got := s.get("/"); got.status != http.StatusOK {
					t.Errorf("got %d", got.status)
				}
			}
			wasA, wasB := a.hits.Load(), b.hits.Load()
			answers := make([]<-chan response, atOnce)
			for i := range answers {
				answers[i] = s.ask(t.Context(), "GET", "/together", "")
			}
			for _, answer := range answers {
				if got := <-answer; got.status != http.StatusOK {
					t.Errorf("got %d", got.status)
				}
			}
			if toA, toB := a.hits.Load()-wasA, b.hits.Load()-wasB; toA < 3 || toB < 3 {
				t.Errorf("of %d requests at once, %d and %d went to each", atOnce, toA, toB)
			}
		})
	}
}

// TestStaticUpstreamsAreReported checks the warning about upstreams configured in two
// places.
func TestStaticUpstreamsAreReported(t *testing.T) {
	a, b := newBackend(t, "a"), newBackend(t, "b")
	s := run(t, "reverse_proxy {\nto "+b.addr+"\ndynamic healthpool "+a.addr+"\n}")
	s.awaitPool("up")
	for range 5 {
		if got := s.get("/"); got.body != "a" {
			t.Errorf("got %d %q", got.status, got.body)
		}
	}
	if lines := s.logged(said("static upstreams beside dynamic healthpool are never used; move them into it")); len(lines) != 1 || lines[0]["level"] != "warn" {
		t.Errorf("the log says %v", lines)
	}
}

// TestTwoSitesOnePool checks that identically configured sources are one pool.
func TestTwoSitesOnePool(t *testing.T) {
	b := newBackend(t, "hello")
	s := run(t, "handle /a {\nhealthpool "+b.addr+"\n}\nhandle {\nhealthpool "+b.addr+" {\nlb_policy first\n}\n}")
	s.awaitPool("up")
	if got := s.get("/a").body + s.get("/b").body; got != "hellohello" {
		t.Errorf("got %q", got)
	}
}

// TestCorePassiveChecksDoNotBlockPool checks that reverse_proxy's own passive checks do not
// take down a pool that is up: visitors would get the page while all upstreams answer.
func TestCorePassiveChecksDoNotBlockPool(t *testing.T) {
	a, b, c := answering(t, 404), answering(t, 404), answering(t, 404)
	s := run(t, fmt.Sprintf("no_healthy_upstream\nreverse_proxy {\ndynamic healthpool %s %s %s\nlb_policy health_aware\nfail_duration 30s\nunhealthy_status 404\n}",
		a.addr, b.addr, c.addr))
	s.awaitPool("up")
	for i := range 12 { // more than there are upstreams to exclude
		if got := s.get("/"); got.status != http.StatusNotFound || got.isOurs() {
			t.Fatalf("request %d got %d %q", i, got.status, got.body)
		}
	}
}

// TestRetryGoesElsewhere checks that health_aware on static upstreams never retries one
// while there is another.
func TestRetryGoesElsewhere(t *testing.T) {
	app := newBackend(t, "app")
	for name, around := range map[string]string{"alone": "", "with the page": "no_healthy_upstream\n"} {
		t.Run(name, func(t *testing.T) {
			s := run(t, around+"reverse_proxy "+deadAddress(t)+" "+app.addr+" {\nlb_policy health_aware\nlb_retries 1\n}")
			for range 40 {
				if got := s.get("/"); got.body != "app" {
					t.Fatalf("got %d %q", got.status, got.body)
				}
			}
		})
	}
}

// TestWarnings checks the warnings about options that do not do what they seem to.
func TestWarnings(t *testing.T) {
	app := newBackend(t, "app")
	s := run(t, `reverse_proxy `+deadAddress(t)+` {
		dynamic healthpool `+app.addr+`
		lb_try_duration 3s
		transport http {
			network_proxy url http://`+app.addr+`
		}
	}`)
	s.awaitPool("up")
	for _, message := range []string{
		"static upstreams beside dynamic healthpool are never used; move them into it",
		"lb_try_duration delays every error page and maintenance page by as long; use hold and lb_retries instead",
		"requests go through a forward proxy, but checks that only connect do not; set health_uri",
	} {
		if lines := s.logged(said(message)); len(lines) != 1 {
			t.Errorf("%q was logged %d times", message, len(lines))
		}
	}
}
