package healthpool_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestCheckOptions has an app that passes its check only if the option works. Without the
// option the check must fail, or the case would prove nothing.
func TestCheckOptions(t *testing.T) {
	status := func(ok bool) int {
		if ok {
			return http.StatusOK
		}
		return http.StatusInternalServerError
	}
	for _, tt := range []struct {
		name string
		// base is in both configs, options only in the one that must pass.
		base, options string
		check         func(w http.ResponseWriter, r *http.Request) int
	}{
		{"health_uri", "health_type http", "health_uri /up?deep=1", func(_ http.ResponseWriter, r *http.Request) int {
			return status(r.RequestURI == "/up?deep=1" && r.Method == "GET")
		}},
		{"health_method", "health_uri /up", "health_method HEAD", func(_ http.ResponseWriter, r *http.Request) int {
			return status(r.Method == "HEAD")
		}},
		{"health_headers", "health_uri /up", "health_headers {\nX-Check one two\nx-other {env.HEALTHPOOL_TEST}\n}", func(_ http.ResponseWriter, r *http.Request) int {
			return status(strings.Join(r.Header["X-Check"], " ") == "one two" && r.Header.Get("X-Other") == "from the environment")
		}},
		{"health_headers Host", "health_uri /up", "health_headers {\nHost check.example\n}", func(_ http.ResponseWriter, r *http.Request) int {
			return status(r.Host == "check.example")
		}},
		{"health_request_body", "health_uri /up\nhealth_method POST", "health_request_body ping", func(_ http.ResponseWriter, r *http.Request) int {
			body, _ := io.ReadAll(r.Body)
			return status(string(body) == "ping")
		}},
		{"health_status", "health_uri /up", "health_status 418", func(http.ResponseWriter, *http.Request) int { return 418 }},
		{"health_status class", "health_uri /up", "health_status 4xx", func(http.ResponseWriter, *http.Request) int { return 418 }},
		{"health_follow_redirects", "health_uri /up\nhealth_status 200", "health_follow_redirects", func(w http.ResponseWriter, r *http.Request) int {
			if r.URL.Path == "/up" {
				w.Header().Set("Location", "/elsewhere")
				return http.StatusFound
			}
			return http.StatusOK
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("HEALTHPOOL_TEST", "from the environment")
			b := newBackendFunc(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(tt.check(w, r)) })
			checkStates(t, states(t, b.addr, tt.base+"\n"+tt.options, tt.base), "healthy", "unexpected_status")
		})
	}
}

// states runs one pool per block of options, named by its index, and returns their
// upstreams once they have been checked.
func states(t *testing.T, addr string, options ...string) []upstreamStatus {
	t.Helper()
	var config strings.Builder
	for i, o := range options {
		fmt.Fprintf(&config, "handle {\nhealthpool %s {\nname %d\n%s\n}\n}\n", addr, i, o)
	}
	s := run(t, config.String())
	upstreams := make([]upstreamStatus, len(options))
	await(t, "all is known", func() bool {
		known := true
		for _, p := range s.pools() {
			var i int
			_, _ = fmt.Sscan(p.Name, &i)
			upstreams[i] = p.Upstreams[0]
			known = known && p.Upstreams[0].LastCheck != nil
		}
		return known
	})
	return upstreams
}

// checkStates compares each upstream's cause, or "healthy".
func checkStates(t *testing.T, got []upstreamStatus, want ...string) {
	t.Helper()
	for i, u := range got {
		state := u.State
		if state == "unhealthy" {
			state = u.Cause
		}
		if state != want[i] {
			t.Errorf("pool %d: got %s, want %s: %+v", i, state, want[i], u)
		}
	}
}

func TestCheckBody(t *testing.T) {
	b := newBackend(t, "all is well")
	checkStates(t, states(t, b.addr,
		"health_uri /\nhealth_body ^all.*l$",
		"health_uri /\nhealth_body ^well",
		"health_uri /\nhealth_status 204",
		"health_uri /\nhealth_status 2xx",
		"health_uri /",
	), "healthy", "unexpected_body", "unexpected_status", "healthy", "healthy")
}

// TestCheckPortAndUpstream checks health_port and health_upstream, with an app that does
// not accept checks itself.
func TestCheckPortAndUpstream(t *testing.T) {
	var asked atomic.Value
	health := newBackendFunc(t, func(_ http.ResponseWriter, r *http.Request) {
		if target := r.Header.Get("X-Target"); target != "" {
			asked.Store(target)
		}
	})
	_, port, _ := strings.Cut(health.addr, ":")
	dead := deadAddress(t)
	checkStates(t, states(t, dead, "health_port "+port, "health_uri /\nhealth_port "+port,
		"health_uri /\nhealth_upstream "+health.addr+"\nhealth_headers {\nX-Target {http.reverse_proxy.active.target_upstream}\n}",
		"health_upstream "+health.addr, "health_uri /"),
		"healthy", "healthy", "healthy", "healthy", "connection_refused")
	if got, _ := asked.Load().(string); !strings.HasSuffix(got, dead) {
		t.Errorf("the service was asked about %q, want %s", got, dead)
	}
}

// TestCheckTypes has an app that accepts connections and never answers.
func TestCheckTypes(t *testing.T) {
	checkStates(t, states(t, rawBackend(t, hang), "", "health_type tcp", "health_uri /\nhealth_timeout 500ms", "health_type http\nhealth_timeout 600ms"),
		"healthy", "healthy", "http_response_timeout", "http_response_timeout")
}

// TestCheckIntervals checks each interval; its default would be too slow.
func TestCheckIntervals(t *testing.T) {
	within := func(t *testing.T, limit time.Duration, what string, ok func() bool) {
		t.Helper()
		start := time.Now()
		await(t, what, ok)
		if took := time.Since(start); took > limit {
			t.Errorf("it took %v until %s", took, what)
		}
	}
	t.Run("health_interval", func(t *testing.T) {
		b := newBackend(t, "hello")
		run(t, "healthpool "+b.addr+" {\nhealth_uri "+checkPath+"\nhealth_interval 20ms\n}")
		within(t, 5*time.Second, "there were 8 checks", func() bool { return b.checks.Load() >= 8 })
	})
	t.Run("health_interval 1h", func(t *testing.T) {
		b := newBackend(t, "hello")
		s := run(t, "healthpool "+b.addr+" {\nhealth_uri "+checkPath+"\nhealth_interval 1h\nhealth_edge_interval 5ms\nhealth_down_interval 5ms\n}")
		s.awaitPool("up")
		for range 100 {
			s.get("/")
		}
		if n := b.checks.Load(); n != 1 {
			t.Errorf("there were %d checks of a healthy app, want 1", n)
		}
	})
	t.Run("health_edge_interval", func(t *testing.T) {
		b := newBackend(t, "hello")
		s := run(t, "healthpool "+b.addr+" {\nhealth_uri "+checkPath+"\nhealth_interval 500ms\nhealth_edge_interval 10ms\nhealth_fails 10\nfail_open never\n}")
		s.awaitPool("up")
		b.failChecks.Store(true)
		await(t, "a check has failed", func() bool { return s.pool().Upstreams[0].Fails > 0 })
		within(t, 3*time.Second, "10 checks have failed", func() bool { return s.pool().State == "down" })
	})
	t.Run("health_down_interval", func(t *testing.T) {
		b := newStoppedBackend(t, echo)
		s := run(t, "healthpool "+b.addr+" {\nhealth_down_interval 20ms\n}")
		s.awaitPool("down")
		b.start()
		within(t, 800*time.Millisecond, "it is up", func() bool { return s.pool().State == "up" })
	})
}

// TestChecksAreLogged checks that the log has transitions, not checks.
func TestChecksAreLogged(t *testing.T) {
	b := newStoppedBackend(t, echo)
	s := run(t, "healthpool "+b.addr+" {\nhealth_interval 5ms\nhealth_down_interval 5ms\nhold off\n}")
	more := func(n int) {
		t.Helper()
		await(t, "there are more checks", func() bool {
			u := s.pool().Upstreams[0]
			return u.Passes+u.Fails >= n // in a row
		})
	}
	more(8)
	b.start()
	s.awaitPool("up")
	more(8)
	b.stop()
	s.awaitPool("down")
	more(8)
	var got strings.Builder
	for _, e := range s.logged(func(e entry) bool { return e["logger"] == "healthpool" }) {
		fmt.Fprintf(&got, "%s: %s\n", e["level"], e["msg"])
	}
	want := `warn: upstream is unhealthy
error: pool is down: no upstream can answer
info: upstream is healthy
info: pool is up
warn: upstream is unhealthy
error: pool is down: no upstream can answer
`
	if got.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", got.String(), want)
	}
}

// TestFailOpen covers an app that fails its checks but answers requests.
func TestFailOpen(t *testing.T) {
	slow := newBackendFunc(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/check" {
			<-r.Context().Done()
		}
	})
	refusing := newBackendFunc(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/check" {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	for _, tt := range []struct {
		option string
		b      *backend
		status int
	}{
		{"", slow, 200},
		{"fail_open slow", slow, 200},
		{"fail_open never", slow, 503},
		{"fail_open always", slow, 200},
		{"", refusing, 503},
		{"fail_open slow", refusing, 503},
		{"fail_open never", refusing, 503},
		{"fail_open always", refusing, 200},
	} {
		name := "its check says no"
		if tt.b == slow {
			name = "slow"
		}
		t.Run(name+" "+tt.option, func(t *testing.T) {
			s := run(t, "healthpool "+tt.b.addr+" {\nhealth_uri /check\nhealth_timeout 400ms\nhold off\n"+tt.option+"\n}")
			want := map[int]string{200: "degraded", 503: "down"}[tt.status]
			await(t, "it is out, and the pool is "+want, func() bool {
				p := s.pool()
				return p.Upstreams[0].State == "unhealthy" && p.State == want
			})
			if got := s.get("/"); got.status != tt.status {
				t.Errorf("got %d, want %d", got.status, tt.status)
			}
		})
	}
}
