package healthpool_test

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// answering starts an app that answers requests with status and passes its checks.
func answering(t *testing.T, status int) *backend {
	t.Helper()
	return newBackendFunc(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
}

// ejecting returns the config of a pool that checks its upstreams often, so that only
// requests can count against them. All get the same number of requests.
func ejecting(options string, upstreams ...*backend) string {
	config := "healthpool"
	for _, b := range upstreams {
		config += " " + b.addr
	}
	return config + " {\nhealth_uri " + checkPath + "\nhealth_interval 20ms\nlb_policy round_robin\n" + options + "\n}"
}

// states counts the upstreams of the only pool by their state.
func (s *site) states() string {
	s.t.Helper()
	n := make(map[string]int)
	for _, u := range s.pool().Upstreams {
		n[u.State]++
	}
	return fmt.Sprint(n)
}

// TestEjection checks which answers count as failed, and how many eject.
func TestEjection(t *testing.T) {
	for _, tt := range []struct {
		options string
		status  int
		// after is the number of requests until the ejection; 0 for never.
		after int64
	}{
		{"", 500, 5},
		{"", 503, 5},
		{"", 429, 0},
		{"max_fails 3", 500, 3},
		{"max_fails 1", 500, 1},
		{"max_fails 3\nunhealthy_status 503 429", 429, 3},
		{"max_fails 3\nunhealthy_status 4xx", 404, 3},
		{"max_fails 3\nunhealthy_status 429", 500, 0},
	} {
		t.Run(fmt.Sprint(tt.options, " ", tt.status), func(t *testing.T) {
			good, bad := newBackend(t, "good"), answering(t, tt.status)
			s := run(t, ejecting(tt.options, good, bad))
			s.awaitPool("up")
			for range 40 {
				s.get("/")
			}
			u := s.upstream(bad.addr)
			if tt.after == 0 {
				if u.State != "healthy" || bad.hits.Load() < 15 {
					t.Errorf("after %d requests: %+v", bad.hits.Load(), u)
				}
				return
			}
			checkEjected(t, s, bad, tt.after, tt.status)
		})
	}
}

// checkEjected checks the status of an upstream that was ejected after so many answers with
// that status.
func checkEjected(t *testing.T, s *site, bad *backend, after int64, status int) {
	t.Helper()
	u := s.upstream(bad.addr)
	detail := fmt.Sprintf("%d requests in a row failed, the last with status %d", after, status)
	expect(t, u, map[string]bool{
		"state": u.State == "ejected", "cause": u.Cause == "unexpected_status", "detail": u.Detail == detail,
		"advice": u.Advice != "", "its checks": u.LastCheck.Passed && !strings.Contains(u.History, "F"),
	})
	if n := bad.hits.Load(); n != after {
		t.Errorf("it got %d requests, want %d", n, after)
	}
	if lines := s.logged(said("upstream is ejected")); len(lines) != 1 || lines[0]["upstream"] != bad.addr || lines[0]["detail"] != detail {
		t.Errorf("the log says %v", lines)
	}
	if p := s.pool(); p.State != "degraded" || p.Healthy != 1 {
		t.Errorf("the pool is %+v", p)
	}
}

// TestEjectionNeedsConsecutiveFailures has an app fail four requests in five.
func TestEjectionNeedsConsecutiveFailures(t *testing.T) {
	n := 0
	bad := newBackendFunc(t, func(w http.ResponseWriter, _ *http.Request) {
		if n++; n%5 != 0 {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	s := run(t, ejecting("", newBackend(t, "good"), bad))
	s.awaitPool("up")
	for range 60 {
		s.get("/")
	}
	if u := s.upstream(bad.addr); u.State != "healthy" || n < 25 {
		t.Errorf("after %d requests: %+v", n, u)
	}
}

// TestEjectionForLatency checks unhealthy_latency, which is off by default.
func TestEjectionForLatency(t *testing.T) {
	for option, want := range map[string]string{"unhealthy_latency 15ms": "ejected", "unhealthy_latency off": "healthy", "": "healthy", "unhealthy_latency 5s": "healthy"} {
		t.Run(option, func(t *testing.T) {
			good, slow := newBackend(t, "good"), newBackendFunc(t, delayed("slow", 20*time.Millisecond))
			s := run(t, ejecting("max_fails 2\n"+option, good, slow))
			s.awaitPool("up")
			for range 8 {
				s.get("/")
			}
			u := s.upstream(slow.addr)
			if u.State != want || want == "ejected" && !strings.HasPrefix(u.Detail, "2 requests in a row failed, the last took ") {
				t.Errorf("got %+v", u)
			}
		})
	}
}

// TestEjectionForNoAnswer has an app accept requests and never answer. Requests that it
// cannot have received, and those whose client left, do not count.
func TestEjectionForNoAnswer(t *testing.T) {
	addr := rawBackend(t, func(conn net.Conn) {
		line := make([]byte, 4096)
		if n, _ := conn.Read(line); strings.HasPrefix(string(line[:n]), "GET "+checkPath) {
			_, _ = fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		}
	})
	s := run(t, ejecting("max_fails 2", newBackend(t, "good"), &backend{addr: addr}))
	s.awaitPool("up")
	await(t, "it is ejected", func() bool {
		if got := s.get("/"); got.body != "good" {
			t.Fatalf("a client saw it: %d %s", got.status, got.body)
		}
		return s.upstream(addr).State == "ejected"
	})
	if u := s.upstream(addr); u.Detail != "2 requests in a row failed" || u.Cause == "" {
		t.Errorf("got %+v", u)
	}
}

// TestFailDuration checks that an ejection ends, and the upstream is used again.
func TestFailDuration(t *testing.T) {
	const d = 200 * time.Millisecond
	good, bad := newBackend(t, "good"), answering(t, 500)
	s := run(t, ejecting(fmt.Sprintf("max_fails 1\nfail_duration %v\nslow_start off", d), good, bad))
	s.awaitPool("up")
	await(t, "it is ejected", func() bool { s.get("/"); return s.upstream(bad.addr).State == "ejected" })
	start, was := s.upstream(bad.addr).Since, bad.hits.Load()
	still := func() bool { u := s.upstream(bad.addr); return u.State == "ejected" && u.Since.Equal(start) }
	for still() && time.Since(start) < patience {
		if got := s.get("/"); got.body != "good" && still() {
			t.Errorf("while it was ejected, got %d", got.status)
		}
	}
	// The time is jittered by 50 %, and a check follows.
	if took := time.Since(start); took < d/2 || took > 10*d {
		t.Errorf("the ejection took %v, want %v", took, d)
	}
	await(t, "it is used again", func() bool { s.get("/"); return bad.hits.Load() > was })
}

// TestMaxEjected has three of four fail.
func TestMaxEjected(t *testing.T) {
	for option, want := range map[string]string{
		"max_ejected 1%":   "map[ejected:1 healthy:3]",
		"max_ejected 25%":  "map[ejected:1 healthy:3]",
		"":                 "map[ejected:2 healthy:2]",
		"max_ejected 100%": "map[ejected:3 healthy:1]",
	} {
		t.Run(option, func(t *testing.T) {
			s := run(t, ejecting("max_fails 1\nfail_duration 1m\n"+option, answering(t, 500), answering(t, 500), answering(t, 500), answering(t, 500)))
			s.awaitPool("up")
			for range 40 {
				s.get("/")
			}
			if got := s.states(); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

// TestSlowStart checks the status and share of a recovered upstream.
func TestSlowStart(t *testing.T) {
	const requests = 60
	for _, tt := range []struct {
		option string
		// warming is whether it is still warming after the requests, most how many of them
		// it may get beside a warm one.
		warming bool
		most    int64
	}{
		{"slow_start 4s", true, requests / 3},
		{"slow_start 30ms", false, requests},
		{"slow_start off", false, requests},
		{"", true, requests},
	} {
		t.Run(tt.option, func(t *testing.T) {
			a, b := newBackendFunc(t, delayed("a", 5*time.Millisecond)), newBackendFunc(t, delayed("b", 5*time.Millisecond))
			s := run(t, fmt.Sprintf("healthpool %s %s {\nhealth_interval 20ms\nhealth_down_interval 10ms\nhealth_passes 1\n%s\n}", a.addr, b.addr, tt.option))
			s.awaitPool("up")
			if tt.option != "" { // 10s
				await(t, "the other one is warm", func() bool { return !s.upstream(a.addr).Warming })
			}
			b.stop()
			s.awaitUpstream(b.addr, "unhealthy")
			b.start()
			s.awaitUpstream(b.addr, "healthy")
			was := b.hits.Load()
			for range requests {
				s.get("/")
			}
			if n := b.hits.Load() - was; n > tt.most {
				t.Errorf("it got %d of %d requests", n, requests)
			}
			if !tt.warming {
				await(t, "it is warm", func() bool { return !s.upstream(b.addr).Warming })
			} else if !s.upstream(b.addr).Warming {
				t.Error("it is not warming")
			}
		})
	}
}
