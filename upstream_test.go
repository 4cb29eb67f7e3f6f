package healthpool_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// delayed answers with name after d, so that tests control the latency.
func delayed(name string, d time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(d)
		fmt.Fprint(w, name)
	}
}

// TestWeight gives the slower of two upstreams ten times the weight of the other, which
// would otherwise get all requests.
func TestWeight(t *testing.T) {
	heavy, light := newBackendFunc(t, delayed("heavy", 30*time.Millisecond)), newBackendFunc(t, delayed("light", 10*time.Millisecond))
	s := run(t, fmt.Sprintf("healthpool {\nupstream %s {\nweight 10\n}\nto %s\nslow_start off\n}", heavy.addr, light.addr))
	s.awaitPool("up")
	if a, b := s.upstream(heavy.addr).Weight, s.upstream(light.addr).Weight; a != 10 || b != 1 {
		t.Errorf("the weights are shown as %d and %d", a, b)
	}
	for range 60 {
		s.get("/")
	}
	if n := heavy.hits.Load(); n < 38 {
		t.Errorf("the heavy one got %d of 60 requests", n)
	}
}

// blockingApp is an app that keeps its requests until they are released.
type blockingApp struct {
	*backend
	release chan struct{}
	// inFlight is the current number of requests, most the highest.
	inFlight, most atomic.Int64
}

func newBlockingApp(t *testing.T) *blockingApp {
	t.Helper()
	app := &blockingApp{release: make(chan struct{})}
	app.backend = newBackendFunc(t, func(_ http.ResponseWriter, r *http.Request) {
		n := app.inFlight.Add(1)
		defer app.inFlight.Add(-1)
		for most := app.most.Load(); n > most && !app.most.CompareAndSwap(most, n); most = app.most.Load() {
		}
		select {
		case <-app.release:
		case <-r.Context().Done():
		}
	})
	return app
}

// TestMaxRequests checks that requests beyond the limit wait their turn.
func TestMaxRequests(t *testing.T) {
	for _, policy := range []string{"health_aware", "round_robin"} {
		t.Run(policy, func(t *testing.T) {
			app := newBlockingApp(t)
			s := run(t, "healthpool {\nupstream "+app.addr+" {\nmax_requests 2\n}\nlb_policy "+policy+"\n}")
			s.awaitPool("up")
			answers := make([]<-chan response, 6)
			for i := range answers {
				answers[i] = s.ask(t.Context(), "POST", "/", "body")
			}
			s.awaitHeld(4)
			await(t, "the app has two requests", func() bool { return app.inFlight.Load() == 2 })
			if u := s.upstream(app.addr); policy == "health_aware" && u.InFlight != 2 {
				t.Errorf("got %d in flight, want 2: %+v", u.InFlight, u)
			}
			close(app.release)
			for _, answer := range answers {
				if got := <-answer; got.status != http.StatusOK {
					t.Errorf("got %d %s", got.status, got.body)
				}
			}
			if n := app.most.Load(); n != 2 {
				t.Errorf("the app had %d requests at once, want 2", n)
			}
		})
	}
}

// TestFullForTooLong checks the answer to requests that waited in vain for an app that
// works but is full.
func TestFullForTooLong(t *testing.T) {
	for _, policy := range []string{"health_aware", "round_robin"} {
		t.Run(policy, func(t *testing.T) {
			app := newBlockingApp(t)
			const hold = 150 * time.Millisecond
			s := run(t, fmt.Sprintf("healthpool {\nupstream %s {\nmax_requests 1\n}\nhold %v\nlb_policy %s\n}", app.addr, hold, policy))
			s.awaitPool("up")
			answer := s.ask(t.Context(), "GET", "/", "")
			await(t, "the app is busy", func() bool { return app.inFlight.Load() == 1 })
			for range 2 { // being full is no outage: each request gets the whole time
				got := s.get("/", acceptProblem...)
				p := got.problem(t)
				expect(t, got, map[string]bool{
					"status": got.status == http.StatusServiceUnavailable, "cause": p.Cause == "connection_limit_reached",
					"request_fate": p.RequestFate == "not_sent", "took": got.took >= hold && got.took < 10*hold,
				})
			}
			if state := s.pool().State; state != "up" {
				t.Errorf("the pool is %s", state)
			}
			close(app.release)
			if got := <-answer; got.status != http.StatusOK {
				t.Errorf("got %d %s", got.status, got.body)
			}
		})
	}
}

// TestBackup checks that backups are used only while no primary is usable, and no longer
// once one is back.
func TestBackup(t *testing.T) {
	for name, option := range map[string]string{"backup": "backup %s", "in upstream": "upstream %s {\nbackup\n}"} {
		for _, policy := range []string{"health_aware", "round_robin"} {
			t.Run(name+" "+policy, func(t *testing.T) {
				primary, backup := newBackend(t, "primary"), newBackend(t, "backup")
				s := run(t, fmt.Sprintf("healthpool "+primary.addr+" {\n"+option+"\nhealth_down_interval 10ms\nhealth_passes 1\nlb_policy %s\n}", backup.addr, policy))
				s.awaitPool("up")
				if a, b := s.upstream(primary.addr).Tier, s.upstream(backup.addr).Tier; a != "primary" || b != "backup" {
					t.Errorf("the tiers are %q and %q", a, b)
				}
				all := func(want string) {
					t.Helper()
					for range 20 {
						if got := s.get("/"); got.body != want {
							t.Fatalf("got %d %q, want the %s", got.status, got.body, want)
						}
					}
				}
				all("primary")
				primary.stop()
				all("backup")
				primary.start()
				s.awaitPool("up")
				all("primary")
			})
		}
	}
}

// TestChecksOfOneUpstream has upstreams that pass only with their own check options, beside
// one with the pool's.
func TestChecksOfOneUpstream(t *testing.T) {
	app := func() *backend {
		return newBackendFunc(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/own" {
				w.WriteHeader(http.StatusInternalServerError)
			}
		})
	}
	uri, port, upstream, pool := app(), deadAddress(t), deadAddress(t), app()
	health := newBackend(t, "well")
	_, healthPort, _ := strings.Cut(health.addr, ":")
	options := fmt.Sprintf("upstream %s {\nhealth_uri /own\n}\nupstream %s {\nhealth_port %s\n}\nupstream %s {\nhealth_upstream %s\n}\nto %s",
		uri.addr, port, healthPort, upstream, health.addr, pool.addr)
	t.Run("with checks of the pool", func(t *testing.T) {
		s := run(t, "healthpool {\n"+options+"\nhealth_uri /\n}")
		await(t, "all are known", func() bool { return s.pool().Healthy == 3 && s.upstream(pool.addr).LastCheck != nil })
		checkStates(t, s.pool().Upstreams, "healthy", "healthy", "healthy", "unexpected_status")
	})
	t.Run("alone", func(t *testing.T) { // the others pass a tcp check
		asked, was := uri.hits.Load(), pool.hits.Load()
		s := run(t, "healthpool {\n"+options+"\nhealth_interval 20ms\n}")
		s.awaitPool("up")
		await(t, "one is asked for its URI", func() bool { return uri.hits.Load() > asked+2 })
		if n := pool.hits.Load() - was; n > 0 {
			t.Errorf("the one that has no URI was sent %d requests", n)
		}
	})
}
