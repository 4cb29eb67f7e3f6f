package healthpool_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// authThen returns a forward_auth to the pool "auth", followed by main.
func authThen(policy, main string, auth ...*backend) string {
	to := ""
	for _, b := range auth {
		to += " " + b.addr
	}
	return fmt.Sprintf(`no_healthy_upstream
	route {
		forward_auth {
			uri /auth
			dynamic healthpool%s {
				name auth
				health_down_interval 10ms
			}
			lb_policy %s
			lb_retries 5
		}
		%s
	}`, to, policy, main)
}

// mainPool returns a proxy to the pool "main".
func mainPool(upstreams, options string) string {
	return "reverse_proxy {\ndynamic healthpool " + upstreams + " {\nname main\nhealth_down_interval 10ms\n" + options + "\n}\nlb_policy health_aware\n}"
}

// poolNamed returns one of several pools.
func (s *site) poolNamed(name string) poolStatus {
	s.t.Helper()
	for _, p := range s.pools() {
		if p.Name == name {
			return p
		}
	}
	s.t.Fatalf("no pool %s", name)
	return poolStatus{}
}

func (s *site) awaitNamed(name, state string) {
	s.t.Helper()
	await(s.t, "the pool "+name+" is "+state, func() bool { return s.poolNamed(name).State == state })
}

// TestEachProxyCountsItsOwnRequests checks that a request through two proxies is no longer
// counted as in flight at either: otherwise it would repel requests forever, and with
// max_requests block the upstream in the end.
func TestEachProxyCountsItsOwnRequests(t *testing.T) {
	app := newBackend(t, "app")
	for _, policy := range []string{"health_aware", "round_robin"} {
		for name, main := range map[string]string{
			"plain":        "reverse_proxy " + app.addr,
			"health_aware": "reverse_proxy " + app.addr + " {\nlb_policy health_aware\n}",
			"pool":         mainPool(app.addr, ""),
		} {
			t.Run(policy+", "+name, func(t *testing.T) {
				s := run(t, authThen(policy, main, newBackend(t, "auth")))
				s.awaitNamed("auth", "up")
				for range 10 {
					if got := s.get("/"); got.body != "app" {
						t.Fatalf("got %d %q", got.status, got.body)
					}
				}
				await(t, "nothing is in flight", func() bool {
					for _, p := range s.pools() {
						if p.Upstreams[0].InFlight != 0 {
							return false
						}
					}
					return true
				})
			})
		}
	}
}

// TestPageIsOfTheProxyThatFailed checks that a visitor's page polls for the proxy that
// failed: polling for the other one, it would reload again and again.
func TestPageIsOfTheProxyThatFailed(t *testing.T) {
	for _, policy := range []string{"health_aware", "round_robin"} {
		for name, main := range map[string]func(addr string) string{
			"plain":        func(addr string) string { return "reverse_proxy " + addr },
			"health_aware": func(addr string) string { return "reverse_proxy " + addr + " {\nlb_policy health_aware\n}" },
			"pool":         func(addr string) string { return mainPool(addr, "hold off") },
		} {
			t.Run(policy+", "+name, func(t *testing.T) {
				auth, app := newBackend(t, "auth"), newStoppedBackend(t, delayed("app", 0))
				s := run(t, authThen(policy, main(app.addr), auth))
				s.awaitNamed("auth", "up")
				token := s.token("/")
				checkPoll(t, s.poll("/", token), http.StatusServiceUnavailable)
				app.start()
				await(t, "the page is to return", func() bool { return s.poll("/", token).status == http.StatusNoContent })
				if got := s.get("/"); got.body != "app" {
					t.Errorf("got %d %q", got.status, got.body)
				}
			})
		}
	}
}

// TestPageOfTheFirstProxy is the other case: the page polls for the pool of forward_auth
// while the app is up.
func TestPageOfTheFirstProxy(t *testing.T) {
	auth, app := newStoppedBackend(t, delayed("auth", 0)), newBackend(t, "app")
	s := run(t, authThen("health_aware", mainPool(app.addr, ""), auth))
	s.awaitNamed("auth", "down")
	s.awaitNamed("main", "up")
	token := s.token("/")
	checkPoll(t, s.poll("/", token), http.StatusServiceUnavailable)
	auth.start()
	s.awaitNamed("auth", "up")
	checkPoll(t, s.poll("/", token), http.StatusNoContent)
}

// TestEachProxyIsJudgedByItsOwnAnswers checks that errors of the app behind forward_auth do
// not count against the auth servers: they would be ejected for nothing.
func TestEachProxyIsJudgedByItsOwnAnswers(t *testing.T) {
	bad := answering(t, http.StatusInternalServerError)
	twoBad := bad.addr + " " + answering(t, http.StatusInternalServerError).addr
	for _, policy := range []string{"health_aware", "round_robin"} {
		for name, main := range map[string]string{
			"plain":        "reverse_proxy " + bad.addr,
			"health_aware": "reverse_proxy " + bad.addr + " {\nlb_policy health_aware\n}",
			"pool":         mainPool(twoBad, ""),
			"no proxy":     "respond 500",
		} {
			t.Run(policy+", "+name, func(t *testing.T) {
				s := run(t, authThen(policy, main, newBackend(t, "auth"), newBackend(t, "auth")))
				s.awaitNamed("auth", "up")
				for range 40 {
					if got := s.get("/"); got.status != http.StatusInternalServerError {
						t.Fatalf("got %d %q", got.status, got.body)
					}
				}
				if p := s.poolNamed("auth"); p.State != "up" {
					t.Errorf("the answers of others count: %+v", p)
				}
				if name == "pool" && s.poolNamed("main").Healthy != 1 {
					t.Errorf("its own answers do not count: %+v", s.poolNamed("main"))
				}
			})
		}
	}
}

// TestHandleResponseStatusDoesNotCount checks that the response of a handle_response route
// is not taken for the upstream's.
func TestHandleResponseStatusDoesNotCount(t *testing.T) {
	for _, policy := range []string{"health_aware", "round_robin"} {
		t.Run(policy, func(t *testing.T) {
			a, b := newBackend(t, "a"), newBackend(t, "b")
			s := run(t, fmt.Sprintf("healthpool %s %s {\nlb_policy %s\n@found status 200\nhandle_response @found {\nrespond 503\n}\n}", a.addr, b.addr, policy))
			s.awaitPool("up")
			for range 40 {
				if got := s.get("/"); got.status != http.StatusServiceUnavailable {
					t.Fatalf("got %d %q", got.status, got.body)
				}
			}
			if p := s.pool(); p.State != "up" {
				t.Errorf("the upstreams answered 200: %+v", p)
			}
		})
	}
}

// TestRestartBehindAnotherProxy has requests wait for forward_auth, on their way to another
// pool: the second must not slow down the release of the first.
func TestRestartBehindAnotherProxy(t *testing.T) {
	auth, app := newBackend(t, "auth"), newBackend(t, "app")
	s := run(t, authThen("health_aware", mainPool(app.addr, ""), auth))
	s.awaitNamed("auth", "up")
	s.awaitNamed("main", "up")
	auth.stop()
	answers := make([]<-chan response, 60)
	for i := range answers {
		answers[i] = s.ask(t.Context(), "GET", "/", "")
	}
	await(t, "all are held", func() bool { return s.poolNamed("auth").Held == len(answers) })
	auth.start()
	back := time.Now()
	for _, answer := range answers {
		if got := <-answer; got.body != "app" {
			t.Errorf("got %d %q", got.status, got.body)
		}
	}
	if late := time.Since(back); late > 3*time.Second {
		t.Errorf("the last answer came %v after the server was back", late)
	}
}

// plainError is a handler that returns an error without a status.
type plainError struct{}

func (plainError) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.test_plain_error", New: func() caddy.Module { return new(plainError) }}
}

func (plainError) ServeHTTP(http.ResponseWriter, *http.Request, caddyhttp.Handler) error {
	return errors.New("out of cheese")
}

func init() {
	caddy.RegisterModule(plainError{})
	httpcaddyfile.RegisterHandlerDirective("test_plain_error", func(httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		return plainError{}, nil
	})
}

// TestPlainErrorBehindAProxy checks that the error of a handler after a proxy is not taken
// for the proxy's: visitors would be told of an outage that does not exist.
func TestPlainErrorBehindAProxy(t *testing.T) {
	auth := newBackend(t, "auth")
	for name, site := range map[string]string{
		"pool":  authThen("health_aware", "test_plain_error", auth),
		"plain": "no_healthy_upstream\nroute {\nforward_auth " + auth.addr + " {\nuri /auth\n}\ntest_plain_error\n}",
		"in handle_errors": "route {\nforward_auth " + auth.addr + " {\nuri /auth\n}\ntest_plain_error\n}\n" +
			"handle_errors {\nno_healthy_upstream\n}",
	} {
		t.Run(name, func(t *testing.T) {
			s := run(t, site)
			if got := s.get("/"); got.isOurs() || got.status != http.StatusBadGateway {
				t.Errorf("got %d %q, want Caddy's own answer", got.status, got.body)
			}
			if lines := s.logged(said("no healthy upstream")); len(lines) > 0 {
				t.Errorf("the log says %v", lines)
			}
		})
	}
}

// TestPollThroughTwoPages checks that a poll through two pages gets the truth: if the inner
// one answered it, the outer one would conclude that the site is up.
func TestPollThroughTwoPages(t *testing.T) {
	for name, proxy := range map[string]string{
		"static": "reverse_proxy %s",
		"pool":   "reverse_proxy {\ndynamic healthpool %s {\nhealth_down_interval 10ms\nhold off\n}\nlb_policy health_aware\n}",
	} {
		t.Run(name, func(t *testing.T) {
			b := newStoppedBackend(t, cookieApp)
			s := run(t, "no_healthy_upstream\nroute {\nno_healthy_upstream\n"+fmt.Sprintf(proxy, b.addr)+"\n}")
			tokens := []string{s.token("/"), "-", "unknown"}
			for _, token := range tokens {
				checkPoll(t, s.poll("/", token), http.StatusServiceUnavailable)
			}
			b.start()
			await(t, "the page is to return", func() bool { return s.poll("/", tokens[0]).status == http.StatusNoContent })
			for _, token := range tokens {
				checkPoll(t, s.poll("/", token), http.StatusNoContent)
			}
		})
	}
}

// TestProxyInHandleErrors checks that requests to the fallback of a site do not stay in
// flight: with max_requests it would soon be full.
func TestProxyInHandleErrors(t *testing.T) {
	fallback := newBackend(t, "fallback")
	s := run(t, "no_healthy_upstream {\npass\n}\nreverse_proxy "+deadAddress(t)+`
	handle_errors {
		reverse_proxy {
			dynamic healthpool {
				upstream `+fallback.addr+` {
					max_requests 2
				}
			}
			lb_policy health_aware
		}
	}`)
	s.awaitPool("up")
	for range 5 {
		if got := s.get("/"); got.body != "fallback" {
			t.Fatalf("got %d %q", got.status, got.body)
		}
	}
	await(t, "nothing is in flight", func() bool { return s.pool().Upstreams[0].InFlight == 0 })
}

// TestPoolWithinMulti has a multi source with a pool and other upstreams, some of which
// reverse_proxy considers down.
func TestPoolWithinMulti(t *testing.T) {
	bad, good := answering(t, http.StatusInternalServerError), newBackend(t, "good")
	_, port, _ := strings.Cut(good.addr, ":")
	s := run(t, fmt.Sprintf(`reverse_proxy {
		dynamic multi {
			healthpool %s
			a 127.0.0.1 %s
		}
		lb_policy health_aware
		fail_duration 1m
		unhealthy_status 5xx
	}`, bad.addr, port))
	s.awaitPool("up")
	failed := 0
	for range 20 {
		if got := s.get("/"); got.status == http.StatusInternalServerError {
			failed++
		}
	}
	if failed > 1 {
		t.Errorf("%d requests were given to the bad one", failed)
	}
}
