package healthpool_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestPollFloodDoesNotDelayVisitors checks that a client that polls all the time does not
// make visitors wait.
func TestPollFloodDoesNotDelayVisitors(t *testing.T) {
	b := newBackend(t, "hello")
	s := run(t, "healthpool "+b.addr)
	await(t, "the pool is up", func() bool { return s.poll("/", "x").status == http.StatusNoContent })
	for range 20_000 {
		s.poll("/", "x")
	}
	for range 10 {
		if after, _ := strconv.Atoi(s.poll("/", "x").header.Get("Retry-After")); after > 61 {
			t.Fatalf("a visitor is to wait for %d s", after)
		}
	}
}

// TestRetryAfterIsNotUptime checks that Retry-After of a request that fails on a pool that
// is up does not depend on how long the pool has been up.
func TestRetryAfterIsNotUptime(t *testing.T) {
	b := newBackendFunc(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	s := run(t, "healthpool "+b.addr)
	s.awaitPool("up")
	time.Sleep(4 * time.Second) // uptime, which must not count
	if got := s.do(http.MethodPost, "/", "{}", acceptProblem...).problem(t); got.RetryAfter != 1 {
		t.Errorf("retry_after %d, want 1", got.RetryAfter)
	}
}

// TestInterceptWithPass checks that intercepted responses reach the page in handle_errors.
func TestInterceptWithPass(t *testing.T) {
	b := newBackendFunc(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusServiceUnavailable) })
	s := run(t, "no_healthy_upstream {\nintercept 5xx\npass\n}\nreverse_proxy "+b.addr+"\nhandle_errors {\nno_healthy_upstream\n}")
	got := s.get("/", acceptProblem...)
	p := got.problem(t)
	expect(t, got, map[string]bool{
		"status": got.status == http.StatusServiceUnavailable, "cause": p.Cause == "destination_unavailable", "fate": p.RequestFate == "unknown",
	})
}

// TestPollInHandleErrors checks that a page from handle_errors polls more and more slowly,
// whatever the visitors' status.
func TestPollInHandleErrors(t *testing.T) {
	s := run(t, "reverse_proxy "+deadAddress(t)+"\nhandle_errors {\nno_healthy_upstream {\nstatus 500\n}\n}")
	s.get("/", "Accept", "text/html")
	await(t, "it is to ask more slowly", func() bool {
		got := s.poll("/", "direct")
		after, _ := strconv.Atoi(got.header.Get("Retry-After"))
		return got.status == http.StatusServiceUnavailable && after >= 2
	})
}

// TestFullInHandleErrors checks that the cause is the same in handle_errors.
func TestFullInHandleErrors(t *testing.T) {
	release := make(chan struct{})
	b := newBackendFunc(t, func(http.ResponseWriter, *http.Request) { <-release })
	defer close(release)
	s := run(t, "reverse_proxy {\ndynamic healthpool {\nupstream "+b.addr+" {\nmax_requests 1\n}\nhold off\n}\nlb_policy health_aware\n}\nhandle_errors {\nno_healthy_upstream\n}")
	s.awaitPool("up")
	go func() { _, _ = s.try(t.Context(), http.MethodGet, "/", "") }()
	await(t, "it is full", func() bool {
		return strings.Contains(s.adminDo(http.MethodGet, "/healthpool/pools").body, `"in_flight":1`)
	})
	if p := s.get("/", acceptProblem...).problem(t); p.Cause != "connection_limit_reached" {
		t.Errorf("cause %s", p.Cause)
	}
}

// TestPoolNames checks that no two pools have the same name, in whatever order and way they
// got theirs.
func TestPoolNames(t *testing.T) {
	a, b := deadAddress(t), deadAddress(t)
	named := fmt.Sprintf("handle /1* {\nhealthpool %s {\nname %s\n}\n}\n", b, a)
	derived := fmt.Sprintf("handle /2* {\nhealthpool %s\n}\n", a)
	for _, directives := range []string{named + derived, derived + named} {
		s := run(t, directives)
		body := s.adminDo(http.MethodGet, "/healthpool/pools").body
		if strings.Count(body, fmt.Sprintf(`"name":%q`, a)) != 1 || strings.Count(body, `"name":"`) != 2 {
			t.Errorf("pools: %s", body)
		}
		if got := s.adminDo(http.MethodGet, "/metrics"); got.status != http.StatusOK {
			t.Errorf("metrics: %d %s", got.status, got.body)
		}
	}
}

// TestAdmittedMeetsOutage checks that clients that are let through during maintenance are
// told about an outage, not about the maintenance.
func TestAdmittedMeetsOutage(t *testing.T) {
	b := newStoppedBackend(t, cookieApp)
	s := run(t, "healthpool "+b.addr+" {\nname shop\nhold off\nhealth_down_interval 10ms\n}")
	s.awaitPool("down")
	until := time.Now().Add(24 * time.Hour).UTC().Format(time.RFC3339)
	s.order(http.MethodPost, "shop/maintenance", fmt.Sprintf(`{"until":%q,"allow":["127.0.0.1"]}`, until))
	if p := s.get("/", acceptProblem...).problem(t); p.RetryAfter > 60 {
		t.Errorf("retry_after %d", p.RetryAfter)
	}
	token := s.token("/")
	checkPoll(t, s.poll("/", token), http.StatusServiceUnavailable)
	b.start()
	await(t, "the page is told", func() bool { return s.poll("/", token).status == http.StatusNoContent })
}

// TestWaitingVisitors checks that each visitor counts once, and only as long as the page
// waits.
func TestWaitingVisitors(t *testing.T) {
	s := downSite(t, "retry_after 1h")
	for range 3 {
		s.page()
	}
	waiting := func(n int) bool {
		return strings.Contains(s.adminDo(http.MethodGet, "/healthpool/pools").body, fmt.Sprintf(`"waiting":%d,`, n))
	}
	if !waiting(3) {
		t.Error("three visitors do not count three")
	}
	await(t, "they have left", func() bool { return waiting(0) })
}

// TestRefreshOffPassesHead checks that without polling pages, a HEAD is not taken for a
// poll.
func TestRefreshOffPassesHead(t *testing.T) {
	b := newBackendFunc(t, cookieApp)
	s := run(t, "healthpool "+b.addr+" {\npage {\nrefresh off\n}\n}")
	if got := s.poll("/", "x"); got.status != http.StatusFound {
		t.Errorf("got %d, want the app", got.status)
	}
}

// TestOneOutageOneReference checks that all clients in an outage of a pool get the same
// reference, whatever their failures, and that it is logged once.
func TestOneOutageOneReference(t *testing.T) {
	b := newBackend(t, "hello")
	s := run(t, "healthpool "+b.addr+" {\nhold off\nhealth_interval 1h\n}")
	await(t, "the pool is up", func() bool { return s.get("/").status == http.StatusOK })
	b.stop()
	references := make(map[string]bool)
	for range 5 {
		references[s.get("/", acceptProblem...).problem(t).Reference] = true
		s.awaitPool("down")
	}
	if len(references) > 2 { // the pool was still up for the first request
		t.Errorf("references: %v", references)
	}
}
