package healthpool_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// poolStatus is the status of a pool in the admin API (§3.5 of the design).
type poolStatus struct {
	Name      string           `json:"name"`
	State     string           `json:"state"`
	Since     time.Time        `json:"since"`
	Healthy   int              `json:"healthy"`
	Total     int              `json:"total"`
	Waiting   int              `json:"waiting"`
	Held      int              `json:"held"`
	Upstreams []upstreamStatus `json:"upstreams"`
}

type upstreamStatus struct {
	Address   string    `json:"address"`
	Tier      string    `json:"tier"`
	State     string    `json:"state"`
	Cause     string    `json:"cause"`
	Detail    string    `json:"detail"`
	Advice    string    `json:"advice"`
	Since     time.Time `json:"since"`
	LastCheck *struct {
		At         time.Time `json:"at"`
		DurationMS float64   `json:"duration_ms"`
		Passed     bool      `json:"passed"`
	} `json:"last_check"`
	History   string  `json:"history"`
	Passes    int     `json:"passes"`
	Fails     int     `json:"fails"`
	InFlight  int     `json:"in_flight"`
	LatencyMS float64 `json:"latency_ms"`
	Weight    int     `json:"weight"`
	Warming   bool    `json:"warming"`
}

// pools returns the pools from the admin API.
func (s *site) pools() []poolStatus {
	s.t.Helper()
	got := s.adminDo(http.MethodGet, "/healthpool/pools")
	var pools []poolStatus
	decoder := json.NewDecoder(strings.NewReader(got.body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&pools); err != nil || got.status != http.StatusOK {
		s.t.Fatalf("pools: %d %s: %v", got.status, got.body, err)
	}
	return pools
}

// pool returns the only pool.
func (s *site) pool() poolStatus {
	s.t.Helper()
	pools := s.pools()
	if len(pools) != 1 {
		s.t.Fatalf("want one pool, got %+v", pools)
	}
	return pools[0]
}

// upstream returns the status of one upstream of the only pool.
func (s *site) upstream(addr string) upstreamStatus {
	s.t.Helper()
	for _, u := range s.pool().Upstreams {
		if u.Address == addr {
			return u
		}
	}
	s.t.Fatalf("no upstream %s", addr)
	return upstreamStatus{}
}

func (s *site) awaitPool(state string) {
	s.t.Helper()
	await(s.t, "the pool is "+state, func() bool { return s.pool().State == state })
}

func (s *site) awaitUpstream(addr, state string) {
	s.t.Helper()
	await(s.t, addr+" is "+state, func() bool { return s.upstream(addr).State == state })
}

// TestRefusedIsUnhealthyAtOnce checks that one refused connection is enough, in a scheduled
// check and in one that a failed request triggers.
func TestRefusedIsUnhealthyAtOnce(t *testing.T) {
	for name, interval := range map[string]string{"found by a check": "30ms", "found by a request": "1h"} {
		t.Run(name, func(t *testing.T) {
			a, b := newBackend(t, "a"), newBackend(t, "b")
			s := run(t, fmt.Sprintf("healthpool %s %s {\nhealth_interval %s\nhealth_down_interval 1h\n}", a.addr, b.addr, interval))
			s.awaitPool("up")
			b.stop()
			await(t, "b is out", func() bool {
				if interval == "1h" {
					if got := s.get("/"); got.status != http.StatusOK {
						t.Fatalf("a client saw the failure: %d %s", got.status, got.body)
					}
				}
				return s.upstream(b.addr).State == "unhealthy"
			})
			await(t, "that is known and logged", func() bool {
				return s.pool().State == "degraded" && len(s.logged(said("upstream is unhealthy"))) > 0
			})
			u := s.upstream(b.addr)
			expect(t, u, map[string]bool{
				"cause": u.Cause == "connection_refused", "detail": strings.Contains(u.Detail, "refused"),
				"advice": u.Advice != "", "fails": u.Fails == 1, "history": strings.HasSuffix(u.History, "PF"),
				"last_check": !u.LastCheck.Passed,
			})
			p := s.pool()
			expect(t, p, map[string]bool{"healthy": p.Healthy == 1, "total": p.Total == 2})
			lines := s.logged(said("upstream is unhealthy"))
			expect(t, lines, map[string]bool{
				"number of lines": len(lines) == 1,
				"upstream":        lines[0]["upstream"] == b.addr, "cause": lines[0]["cause"] == "connection_refused",
			})
			for range 20 {
				if got := s.get("/"); got.body != "a" {
					t.Fatalf("got %d %q", got.status, got.body)
				}
			}
		})
	}
}

// TestThresholds checks that results count strictly in a row, up to the configured
// thresholds.
func TestThresholds(t *testing.T) {
	a, b := newBackend(t, "a"), newBackend(t, "b")
	s := run(t, fmt.Sprintf(`healthpool %s %s {
		health_uri /healthz
		health_interval 10ms
		health_edge_interval 10ms
		health_down_interval 10ms
		health_fails 4
		health_passes 5
	}`, a.addr, b.addr))
	s.awaitPool("up")
	b.failChecks.Store(true)
	s.awaitUpstream(b.addr, "unhealthy")
	b.failChecks.Store(false)
	s.awaitUpstream(b.addr, "healthy")
	transitions := func(message string) []entry {
		return s.logged(func(e entry) bool { return e["msg"] == message && e["upstream"] == b.addr && e["after"] != nil })
	}
	await(t, "it is logged", func() bool { return len(transitions("upstream is healthy")) > 0 })
	down, up := transitions("upstream is unhealthy"), transitions("upstream is healthy")
	if len(down) != 1 || down[0]["fails"] != 4.0 || down[0]["cause"] != "unexpected_status" {
		t.Errorf("want out after 4 failed checks, got %v", down)
	}
	if len(up) != 1 || up[0]["passes"] != 5.0 {
		t.Errorf("want in after 5 passed checks, got %v", up)
	}
}

func TestFlappingCheckIsNoFailure(t *testing.T) {
	var mu sync.Mutex
	n := 0
	b := newBackendFunc(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if n++; r.URL.Path == "/check" && n%2 == 0 {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	s := run(t, "healthpool "+b.addr+" {\nhealth_uri /check\nhealth_interval 5ms\nhealth_edge_interval 5ms\nhealth_fails 2\n}")
	var history string
	await(t, "it has been checked often", func() bool {
		history = s.upstream(b.addr).History
		return len(history) > 20
	})
	if lines := s.logged(said("upstream is unhealthy")); len(lines) > 0 {
		t.Errorf("it never failed twice in a row, but: %v", lines)
	}
	if !strings.Contains(history, "PFPFPF") {
		t.Errorf("history: %s", history)
	}
}

// TestNoUpstreamIsTriedTwice has two of three upstreams accept connections, pass their
// checks and answer no request.
func TestNoUpstreamIsTriedTwice(t *testing.T) {
	for _, policy := range []string{"health_aware", "round_robin", "random", "first"} {
		t.Run(policy, func(t *testing.T) {
			var mu sync.Mutex
			tries := make(map[string]int)
			broken := func(name string) string {
				return rawBackend(t, func(conn net.Conn) {
					line := make([]byte, 4096)
					n, _ := conn.Read(line)
					if path, _, ok := strings.Cut(strings.TrimPrefix(string(line[:n]), "GET "), " "); ok {
						mu.Lock()
						defer mu.Unlock()
						tries[name+path]++
					}
				})
			}
			good := newBackend(t, "good")
			s := run(t, fmt.Sprintf("healthpool %s %s %s {\nlb_policy %s\n}", broken("a"), broken("b"), good.addr, policy))
			s.awaitPool("up")
			for i := range 30 {
				if got := s.get(fmt.Sprintf("/%d", i)); got.body != "good" {
					t.Errorf("request %d got %d %q", i, got.status, got.body)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			if len(tries) == 0 {
				t.Error("the broken upstreams were never tried")
			}
			for request, n := range tries {
				if n > 1 {
					t.Errorf("request %s was sent there %d times", request, n)
				}
			}
		})
	}
}

// TestOneOfThreeKilled checks that no client notices.
func TestOneOfThreeKilled(t *testing.T) {
	backends := []*backend{newBackend(t, "a"), newBackend(t, "b"), newBackend(t, "c")}
	s := run(t, fmt.Sprintf("healthpool %s %s %s", backends[0].addr, backends[1].addr, backends[2].addr))
	s.awaitPool("up")
	errs := make(chan error, 400)
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for i := range 100 {
				method := []string{"GET", "POST"}[i%2]
				got, err := s.try(t.Context(), method, "/", "")
				if err == nil && got.status != http.StatusOK {
					err = fmt.Errorf("%s: %d %s", method, got.status, got.body)
				}
				if err != nil && (method == "GET" || got.status != 502) {
					errs <- err // a POST in progress when the app died may have been processed
				}
			}
		})
	}
	busy := func(b *backend) bool { return b.hits.Load() > 10 } // equal upstreams do not share equally at once
	await(t, "there is traffic", func() bool { return slices.ContainsFunc(backends, busy) })
	backends[slices.IndexFunc(backends, busy)].stop()
	clients.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
}

// TestAdminAPI checks the JSON of the admin API.
func TestAdminAPI(t *testing.T) {
	a, dead := newBackend(t, "a"), deadAddress(t)
	s := run(t, fmt.Sprintf("handle /x {\nhealthpool %s %s {\nname shop\n}\n}\nhandle {\nhealthpool %s\n}", a.addr, dead, dead))
	await(t, "all is known", func() bool {
		pools := s.pools()
		return fmt.Sprint(pools[0].State, pools[1].State) == "downdegraded" && pools[1].Upstreams[1].LastCheck != nil
	})
	if got := s.get("/x"); got.body != "a" {
		t.Fatalf("got %d %q", got.status, got.body)
	}
	checkFields(t, s)
	other, shop := s.pools()[0], s.pools()[1] // by name
	expect(t, shop, map[string]bool{"name": shop.Name == "shop", "healthy": shop.Healthy == 1, "total": shop.Total == 2, "since": !shop.Since.IsZero()})
	expect(t, other, map[string]bool{"name": other.Name == dead, "state": other.State == "down"})
	up, down := shop.Upstreams[0], shop.Upstreams[1]
	expect(t, up, map[string]bool{
		"state": up.State == "healthy", "cause": up.Cause == "", "advice": up.Advice == "", "tier": up.Tier == "primary",
		"latency_ms": up.LatencyMS > 0, "history": up.History == "P", "weight": up.Weight == 1, "passes": up.Passes == 1,
	})
	expect(t, down, map[string]bool{
		"state": down.State == "unhealthy", "cause": down.Cause == "connection_refused",
		"detail": strings.HasPrefix(down.Detail, "dial tcp "+dead), "fails": down.Fails >= 1,
	})
	checkAdminErrors(t, s, dead)
}

// checkFields checks that every field exists, even if it is empty.
func checkFields(t *testing.T, s *site) {
	t.Helper()
	var all []map[string]any
	raw := s.adminDo("GET", "/healthpool/pools")
	if err := json.Unmarshal([]byte(raw.body), &all); err != nil || raw.header.Get("Content-Type") != "application/json" {
		t.Fatalf("%v %v", raw.header, err)
	}
	for _, field := range []string{"name", "state", "since", "healthy", "total", "waiting", "held", "upstreams"} {
		if _, ok := all[0][field]; !ok {
			t.Errorf("no field %s: %v", field, all[0])
		}
	}
	for _, u := range all[0]["upstreams"].([]any) {
		for _, field := range []string{
			"address", "tier", "state", "cause", "detail", "advice", "since", "last_check", "history",
			"passes", "fails", "in_flight", "latency_ms", "weight", "warming",
		} {
			if _, ok := u.(map[string]any)[field]; !ok {
				t.Errorf("no field %s: %v", field, u)
			}
		}
	}
}

func checkAdminErrors(t *testing.T, s *site, name string) {
	t.Helper()
	for _, tt := range []struct {
		method, path string
		status       int
		body         string
	}{
		{"GET", "/healthpool/pools/shop", 200, `{"name":"shop",`},
		{"GET", "/healthpool/pools/" + name, 200, `{"name":"` + name + `",`},
		{"GET", "/healthpool/pools/none", 404, `{"error":"no pool is named \"none\"`},
		{"POST", "/healthpool/pools", 405, `{"error":"method POST is not allowed"}`},
		{"DELETE", "/healthpool/pools/shop", 405, `{"error":"method DELETE is not allowed"}`},
	} {
		got := s.adminDo(tt.method, tt.path)
		if got.status != tt.status || !strings.HasPrefix(got.body, tt.body) {
			t.Errorf("%s %s: got %d %s, want %d %s", tt.method, tt.path, got.status, got.body, tt.status, tt.body)
		}
		if tt.status == 405 && !strings.Contains(got.header.Get("Allow"), "GET") {
			t.Errorf("%s %s: no Allow: %v", tt.method, tt.path, got.header)
		}
	}
}

// TestAdminAPIWithoutPools checks that a config without pools works.
func TestAdminAPIWithoutPools(t *testing.T) {
	s := run(t, "respond hello")
	if got := s.adminDo("GET", "/healthpool/pools"); got.status != 200 || strings.TrimSpace(got.body) != "[]" {
		t.Errorf("got %d %q", got.status, got.body)
	}
}
