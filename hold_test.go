package healthpool_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// echo answers with the request body.
func echo(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	fmt.Fprintf(w, "%s %s", r.Method, body)
}

// ask sends a request in the background.
func (s *site) ask(ctx context.Context, method, path, body string) <-chan response {
	answer := make(chan response, 1)
	go func() {
		got, err := s.try(ctx, method, path, body, acceptProblem...)
		if err != nil {
			got.body = err.Error()
		}
		answer <- got
	}()
	return answer
}

// awaitHeld waits until n requests are held.
func (s *site) awaitHeld(n int) {
	s.t.Helper()
	await(s.t, fmt.Sprintf("%d requests are held", n), func() bool { return s.pool().Held == n })
}

// TestRestartIsBridged has requests of every kind wait for the app and get their answers as
// soon as it is back.
func TestRestartIsBridged(t *testing.T) {
	for name, policy := range map[string]string{"health_aware": "health_aware", "another policy": "round_robin"} {
		t.Run(name, func(t *testing.T) {
			b := newBackendFunc(t, echo)
			s := run(t, "healthpool "+b.addr+" {\nlb_policy "+policy+"\n}")
			s.awaitPool("up")
			b.stop()
			body := strings.Repeat("payload ", 1<<14)
			answers := map[string]<-chan response{
				"GET ":         s.ask(t.Context(), "GET", "/", ""),
				"POST " + body: s.ask(t.Context(), "POST", "/", body),
				"PUT x":        s.ask(t.Context(), "PUT", "/", "x"),
				"DELETE ":      s.ask(t.Context(), "DELETE", "/", ""),
			}
			s.awaitPool("down")
			s.awaitHeld(len(answers))
			b.start()
			back := time.Now()
			for want, answer := range answers {
				if got := <-answer; got.status != http.StatusOK || got.body != want {
					t.Errorf("got %d, %d bytes, want %d bytes", got.status, len(got.body), len(want))
				}
			}
			if late := time.Since(back); late > time.Second {
				t.Errorf("the answers came %v after the app was back", late)
			}
			if n := b.hits.Load(); n != int64(len(answers)) {
				t.Errorf("the app got %d requests, want %d", n, len(answers))
			}
			if errs := s.logged(said("no healthy upstream")); len(errs) > 0 {
				t.Errorf("nobody saw the restart, but the log says %v", errs)
			}
		})
	}
}

// TestHoldIsBounded checks how many may wait.
func TestHoldIsBounded(t *testing.T) {
	b := newBackend(t, "hello")
	s := run(t, "healthpool "+b.addr+" {\nhold 5s 3\n}")
	s.awaitPool("up")
	b.stop()
	held := make([]<-chan response, 3)
	for i := range held {
		held[i] = s.ask(t.Context(), "GET", "/", "")
	}
	s.awaitPool("down")
	s.awaitHeld(3)
	for range 3 {
		got := s.get("/", acceptProblem...)
		if p := got.problem(t); got.took > time.Second || p.RequestFate != "not_sent" || p.Cause != "destination_unavailable" {
			t.Errorf("after %v got %d %+v, want the page at once", got.took, got.status, p)
		}
	}
	b.start()
	for _, answer := range held {
		if got := <-answer; got.status != http.StatusOK {
			t.Errorf("a held request got %d %s", got.status, got.body)
		}
	}
}

// TestLongOutageAnswersAtOnce checks that hold counts from the beginning of the outage.
func TestLongOutageAnswersAtOnce(t *testing.T) {
	b := newBackend(t, "hello")
	const hold = time.Second
	s := run(t, fmt.Sprintf("healthpool %s {\nhold %v\n}", b.addr, hold))
	s.awaitPool("up")
	b.stop()
	first := s.get("/", acceptProblem...)
	if first.status != 503 && first.status != 502 || first.took < hold/2 || first.took > 3*hold {
		t.Errorf("the first got %d after %v, want it held for %v", first.status, first.took, hold)
	}
	for range 5 {
		later := s.get("/", acceptProblem...)
		if later.took > hold/2 || later.problem(t).RequestFate != "not_sent" {
			t.Errorf("a later one got %d after %v", later.status, later.took)
		}
	}
	b.start()
	await(t, "the app is used again", func() bool { return s.get("/").status == http.StatusOK })
	b.stop()
	if again := s.get("/"); again.took < hold/2 {
		t.Errorf("in a second outage, got %d after %v, want it held anew", again.status, again.took)
	}
}

// TestNoHoldIfNeverHealthy checks that no request waits for an app that was never healthy:
// it is not restarting.
func TestNoHoldIfNeverHealthy(t *testing.T) {
	s := run(t, "healthpool "+deadAddress(t))
	s.awaitPool("down")
	if got := s.get("/"); got.took > time.Second || !got.isOurs() {
		t.Errorf("got %d after %v", got.status, got.took)
	}
}

func TestHoldOff(t *testing.T) {
	b := newBackend(t, "hello")
	s := run(t, "healthpool "+b.addr+" {\nhold off\n}")
	s.awaitPool("up")
	b.stop()
	for range 3 {
		if got := s.get("/"); got.took > time.Second || !got.isOurs() {
			t.Errorf("got %d after %v", got.status, got.took)
		}
	}
}

// TestClientLeavingEndsHold checks that a client that leaves makes room for another.
func TestClientLeavingEndsHold(t *testing.T) {
	b := newBackend(t, "hello")
	s := run(t, "healthpool "+b.addr+" {\nhold 1m\n}")
	s.awaitPool("up")
	b.stop()
	ctx, leave := context.WithCancel(t.Context())
	gone := s.ask(ctx, "GET", "/", "")
	stays := s.ask(t.Context(), "GET", "/", "")
	s.awaitHeld(2)
	leave()
	<-gone
	s.awaitHeld(1)
	b.start()
	if got := <-stays; got.status != http.StatusOK {
		t.Errorf("the one who stayed got %d %s", got.status, got.body)
	}
	if n := b.hits.Load(); n != 1 {
		t.Errorf("the app got %d requests, want 1", n)
	}
	if errs := s.logged(said("no healthy upstream")); len(errs) > 0 {
		t.Errorf("the log has errors: %v", errs)
	}
}

// TestHoldWithoutThePage checks that the source works without the handler.
func TestHoldWithoutThePage(t *testing.T) {
	b := newBackendFunc(t, echo)
	s := run(t, "reverse_proxy {\ndynamic healthpool "+b.addr+"\nlb_retries 5\n}")
	s.awaitPool("up")
	b.stop()
	answer := s.ask(t.Context(), "POST", "/", "body")
	s.awaitHeld(1)
	b.start()
	if got := <-answer; got.status != http.StatusOK || got.body != "POST body" {
		t.Errorf("got %d %q", got.status, got.body)
	}
}

// TestRestartUnderLoad restarts the only app while clients keep coming: no client sees an
// error. A POST on a connection that is just being closed would be lost, so there are no
// connections that wait for one.
func TestRestartUnderLoad(t *testing.T) {
	b := newBackendFunc(t, echo)
	s := run(t, "healthpool "+b.addr+" {\ntransport http {\nkeepalive off\n}\n}")
	s.awaitPool("up")
	answers := make([]<-chan response, 100)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for i := range answers {
		switch i {
		case 30:
			if err := b.server.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
		case 70:
			b.start()
		}
		request := [][2]string{{"GET", ""}, {"POST", "body"}}[i%2]
		answers[i] = s.ask(t.Context(), request[0], "/", request[1])
		<-tick.C
	}
	for i, answer := range answers {
		if got := <-answer; got.status != http.StatusOK {
			t.Errorf("request %d got %d %s", i, got.status, got.body)
		}
	}
}
