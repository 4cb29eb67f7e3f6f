package healthpool_test

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var pollAttribute = regexp.MustCompile(`data-poll="([^"]*)"`)

// token returns the poll token of the page at path.
func (s *site) token(path string) string {
	s.t.Helper()
	page := s.get(path, "Accept", "text/html")
	found := pollAttribute.FindStringSubmatch(page.body)
	if found == nil {
		s.t.Fatalf("no token in the page: %d %s", page.status, page.body)
	}
	return found[1]
}

func (s *site) poll(path, token string) response {
	s.t.Helper()
	return s.do(http.MethodHead, path, "", "Recovery-Poll", token)
}

// checkPoll checks an answer to a poll: no body, and the time of the next poll.
func checkPoll(t *testing.T, r response, status int) {
	t.Helper()
	least := 1
	if status == http.StatusNoContent {
		least = 0
	}
	after, err := strconv.Atoi(r.header.Get("Retry-After"))
	if r.status != status || err != nil || after < least || after > 30 || r.header.Get("Cache-Control") != "no-store" {
		t.Errorf("got %d %v, want %d with Retry-After", r.status, r.header, status)
	}
	for _, name := range []string{"Set-Cookie", "X-App", "Content-Type", "Etag", "Location"} {
		if r.header.Get(name) != "" {
			t.Errorf("the answer has %s: %q", name, r.header.Values(name))
		}
	}
}

// cookieApp sets a cookie in every answer.
func cookieApp(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Set-Cookie", "session=secret")
	w.Header().Set("X-App", "yes")
	w.Header().Set("Location", "/login")
	w.WriteHeader(http.StatusFound)
	fmt.Fprint(w, "the app")
}

// TestPollOfPool checks that a pool answers from memory: with any token, up or down, no
// poll reaches the app.
func TestPollOfPool(t *testing.T) {
	for name, policy := range map[string]string{"health_aware": "health_aware", "another policy": "first"} {
		t.Run(name, func(t *testing.T) {
			b := newStoppedBackend(t, cookieApp)
			s := run(t, "healthpool "+b.addr+" {\nlb_policy "+policy+"\nhealth_uri "+checkPath+"\nhealth_down_interval 10ms\nhold off\n}")
			token := s.token("/some/page")
			if token == "-" || strings.Contains(token, b.addr) {
				t.Errorf("token: %q", token)
			}
			tokens := []string{token, "", "-", "unknown", strings.Repeat("x", 5000), "../../etc/passwd"}
			for _, token := range tokens {
				checkPoll(t, s.poll("/some/page", token), http.StatusServiceUnavailable)
			}
			b.start()
			await(t, "the pool is up", func() bool { return s.poll("/some/page", token).status != http.StatusServiceUnavailable })
			for _, token := range tokens {
				checkPoll(t, s.poll("/some/page", token), http.StatusNoContent)
			}
			if n := b.hits.Load(); n > 0 {
				t.Errorf("polls brought %d requests to the app", n)
			}
			b.stop()
			await(t, "the pool is down again", func() bool {
				s.get("/")
				return s.poll("/", token).status == http.StatusServiceUnavailable
			})
			if text := s.logText(); strings.Contains(text, `"method":"HEAD"`) {
				t.Error("polls are in the log")
			}
		})
	}
}

// TestPollIsSpread checks that waiting visitors do not all return at once.
func TestPollIsSpread(t *testing.T) {
	b := newBackend(t, "hello")
	s := run(t, "healthpool "+b.addr)
	await(t, "the pool is up", func() bool { return s.poll("/", "-").status == http.StatusNoContent })
	seen := make([]string, 50)
	for i := range seen {
		seen[i] = s.poll("/", "-").header.Get("Retry-After")
	}
	slices.Sort(seen)
	if len(slices.Compact(seen)) < 2 {
		t.Errorf("all were told to return after %s s", seen[0])
	}
}

// TestPollOfStaticProxy checks that polling works for a proxy without a pool.
func TestPollOfStaticProxy(t *testing.T) {
	b := newStoppedBackend(t, cookieApp)
	s := run(t, "no_healthy_upstream\nreverse_proxy "+b.addr)
	token := s.token("/")
	checkPoll(t, s.poll("/", token), http.StatusServiceUnavailable)
	b.start()
	checkPoll(t, s.poll("/", token), http.StatusNoContent)
	checkPoll(t, s.poll("/", "unknown"), http.StatusNoContent)
	b.stop()
	checkPoll(t, s.poll("/", token), http.StatusServiceUnavailable)
}

// TestPollOfHandledError checks that polling works from handle_errors.
func TestPollOfHandledError(t *testing.T) {
	b := newStoppedBackend(t, cookieApp)
	s := run(t, "reverse_proxy "+b.addr+"\nhandle_errors {\nno_healthy_upstream\n}")
	if got := s.poll("/", s.token("/")); got.status != 503 || got.header.Get("Retry-After") == "" {
		t.Errorf("while down, got %d %v", got.status, got.header)
	}
	b.start()
	if got := s.poll("/", "-"); got.status != http.StatusFound {
		t.Errorf("while up, got %d %v", got.status, got.header)
	}
}

// TestHeadIsNoPoll checks that only a HEAD with the header is a poll.
func TestHeadIsNoPoll(t *testing.T) {
	b := newBackendFunc(t, cookieApp)
	s := run(t, "healthpool "+b.addr)
	for _, r := range []response{s.do("HEAD", "/", ""), s.get("/", "Recovery-Poll", "x"), s.do("POST", "/", "", "Recovery-Poll", "x")} {
		if r.status != http.StatusFound || r.header.Get("X-App") != "yes" {
			t.Errorf("got %d %v, want the app", r.status, r.header)
		}
	}
}

// TestPollOfTwoPools checks that each page polls for its own pool.
func TestPollOfTwoPools(t *testing.T) {
	up := newBackend(t, "hello")
	s := run(t, fmt.Sprintf("handle /a* {\nhealthpool %s\n}\nhandle /b* {\nhealthpool %s {\nhold off\n}\n}", up.addr, deadAddress(t)))
	await(t, "the first pool is up", func() bool { return s.get("/a").status == http.StatusOK })
	token := s.token("/b")
	checkPoll(t, s.poll("/b", token), http.StatusServiceUnavailable)
	checkPoll(t, s.poll("/b", "unknown"), http.StatusServiceUnavailable)
	checkPoll(t, s.poll("/a", "unknown"), http.StatusNoContent)
	if n := up.hits.Load(); n != 1 {
		t.Errorf("polls brought %d requests to the app", n-1)
	}
}
