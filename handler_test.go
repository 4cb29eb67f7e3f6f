package healthpool_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPlacement checks that the handler wraps the proxy wherever it is placed, without an
// order line.
func TestPlacement(t *testing.T) {
	dead := deadAddress(t)
	for _, tt := range []struct{ name, site string }{
		{"site", "no_healthy_upstream\nreverse_proxy DEAD"},
		{"site, written after the proxy", "reverse_proxy DEAD\nno_healthy_upstream"},
		{"around handle", "no_healthy_upstream\nhandle {\nreverse_proxy DEAD\n}"},
		{"around nested handles", "no_healthy_upstream\nhandle {\nhandle_path /a/* {\nreverse_proxy DEAD\n}\n}"},
		{"around route", "route {\nreverse_proxy DEAD\n}\nno_healthy_upstream"},
		{"in handle", "handle {\nno_healthy_upstream\nreverse_proxy DEAD\n}"},
		{"in handle_path", "handle_path /a/* {\nreverse_proxy DEAD\nno_healthy_upstream\n}"},
		{"in route", "route {\nno_healthy_upstream\nreverse_proxy DEAD\n}"},
		{"in handle_errors", "reverse_proxy DEAD\nhandle_errors {\nno_healthy_upstream\n}"},
		{"in handle_errors of a status", "reverse_proxy DEAD\nhandle_errors 502 {\nno_healthy_upstream\n}"},
		{"after pass, in handle_errors", "no_healthy_upstream {\npass\n}\nreverse_proxy DEAD\nhandle_errors {\nno_healthy_upstream\n}"},
		{"with a matcher that matches", "no_healthy_upstream /a/*\nreverse_proxy DEAD"},
		{"twice", "no_healthy_upstream\nhandle {\nno_healthy_upstream\nreverse_proxy DEAD\n}"},
		{"short form", "healthpool DEAD"},
		{"short form with a matcher", "healthpool /a/* DEAD"},
		{"short form in handle", "handle {\nhealthpool DEAD\n}"},
		{"short form in route", "route {\nhealthpool DEAD\n}"},
		{"source without the short form", "no_healthy_upstream\nreverse_proxy {\ndynamic healthpool DEAD\n}"},
		{"forward_auth in handle", "no_healthy_upstream\nhandle {\nforward_auth DEAD {\nuri /auth\n}\nrespond secret\n}"},
		{"forward_auth in route", "route {\nno_healthy_upstream\nforward_auth DEAD {\nuri /auth\n}\nrespond secret\n}"},
		{"forward_auth, in handle_errors", "forward_auth DEAD {\nuri /auth\n}\nrespond secret\nhandle_errors {\nno_healthy_upstream\n}"},
		{"php_fastcgi", "no_healthy_upstream\nphp_fastcgi DEAD"},
		{"with encode, header and log", "log\nencode\nheader A b\nno_healthy_upstream\nreverse_proxy DEAD"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := run(t, strings.ReplaceAll(tt.site, "DEAD", dead))
			got := s.get("/a/index.php", acceptProblem...)
			p := got.problem(t)
			if !got.isOurs() || got.status != 502 && got.status != 503 || p.RequestFate != "not_sent" || p.Reference == "" {
				t.Errorf("got %d %v %+v", got.status, got.header, p)
			}
			checkSecrets(t, got, dead)
		})
	}
}

func TestMatcherThatDoesNotMatch(t *testing.T) {
	dead := deadAddress(t)
	s := run(t, "no_healthy_upstream /shop/*\nreverse_proxy "+dead)
	if got := s.get("/other"); got.isOurs() || got.status != 502 || got.body != "" {
		t.Errorf("outside of the matcher, got %d %v %q, want Caddy's own", got.status, got.header, got.body)
	}
	if got := s.get("/shop/1"); !got.isOurs() {
		t.Errorf("inside of the matcher, got %d %v", got.status, got.header)
	}
}

// app answers as the path says.
func app(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-App", "yes")
	var status int
	_, _ = fmt.Sscanf(r.URL.Path, "/%d", &status)
	switch status {
	case http.StatusServiceUnavailable:
		h.Set("Retry-After", "7")
		h.Set("Cache-Control", "private")
	case http.StatusFound:
		h.Set("Location", "/elsewhere")
	case http.StatusOK:
		h.Add("Set-Cookie", "a=b")
		h.Add("Set-Cookie", "c=d")
	}
	w.WriteHeader(status)
	if status != http.StatusNoContent && status != http.StatusNotModified {
		fmt.Fprintf(w, "the app's own %d, dial tcp: connection refused", status)
	}
}

// TestAppIsUntouched compares an app's responses with those without the plugin.
func TestAppIsUntouched(t *testing.T) {
	b := newBackendFunc(t, app)
	s := run(t, strings.ReplaceAll(`
	handle_path /plain/* {
		reverse_proxy APP
	}
	handle_path /wrapped/* {
		no_healthy_upstream
		reverse_proxy APP
	}
	handle_path /short/* {
		healthpool APP
	}
	handle_path /first/* {
		no_healthy_upstream
		reverse_proxy {
			dynamic healthpool APP
			lb_policy first
		}
	}`, "APP", b.addr))
	for _, status := range []int{200, 204, 206, 302, 304, 400, 404, 429, 499, 500, 501, 502, 503, 504} {
		for _, method := range []string{"GET", "HEAD", "POST", "DELETE"} {
			path := fmt.Sprintf("/%d", status)
			want := s.do(method, "/plain"+path, "")
			for _, kind := range []string{"/wrapped", "/short", "/first"} {
				t.Run(method+kind+path, func(t *testing.T) {
					checkSame(t, s.do(method, kind+path, ""), want)
				})
			}
		}
	}
	if errs := s.logged(isError); len(errs) > 0 {
		t.Errorf("the log has errors: %v", errs)
	}
}

func checkSame(t *testing.T, got, want response) {
	t.Helper()
	for _, r := range []response{got, want} {
		r.header.Del("Date")
	}
	if got.status != want.status || got.body != want.body || !maps.EqualFunc(got.header, want.header, equalValues) {
		t.Errorf("got  %d %v %q\nwant %d %v %q", got.status, got.header, got.body, want.status, want.header, want.body)
	}
}

func equalValues(a, b []string) bool { return strings.Join(a, "\n") == strings.Join(b, "\n") }

// TestOtherErrorsAreUntouched checks that only errors of proxies are answered.
func TestOtherErrorsAreUntouched(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "there.txt"), []byte("there"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, site string
		status     int
	}{
		{"file_server 404", "root " + root + "\nfile_server", 404},
		{"basic_auth 401", "basic_auth {\nbob $2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG\n}\nrespond hi", 401},
		{"error 502", "error 502", 502},
		{"error 503", `error "reverseproxy.no upstreams available" 503`, 503},
		{"error 504", "error 504", 504},
		{"respond 503", "respond down 503", 503},
		{"request_body too large", "request_body {\nmax_size 1\n}\nreverse_proxy " + newBackend(t, "x").addr, 413},
		{"handle_response of the app", "reverse_proxy " + newBackend(t, "x").addr + " {\nhandle_response {\nerror 502\n}\n}", 502},
	} {
		t.Run(tt.name, func(t *testing.T) {
			const ownPage = "\nhandle_errors {\nrespond \"own page for {err.status_code}\"\n}"
			ask := func(site string) response {
				s := run(t, site)
				defer s.stop()
				return s.do("POST", "/missing", "a body")
			}
			plain, wrapped := ask(tt.site), ask("no_healthy_upstream\n"+tt.site)
			if plain.status != tt.status {
				t.Fatalf("without the plugin, got %d, want %d", plain.status, tt.status)
			}
			checkSame(t, wrapped, plain)
			checkSame(t, ask("no_healthy_upstream\n"+tt.site+ownPage), ask(tt.site+ownPage))
			checkSame(t, ask(tt.site+"\nhandle_errors {\nno_healthy_upstream\nrespond \"own page\"\n}"),
				ask(tt.site+"\nhandle_errors {\nrespond \"own page\"\n}"))
		})
	}
}

// TestLogOnce checks that an outage is logged once, with the reference that all its
// visitors get, and summarised.
func TestLogOnce(t *testing.T) {
	for name, site := range map[string]string{
		"static":     "no_healthy_upstream\nreverse_proxy " + deadAddress(t),
		"healthpool": "healthpool " + deadAddress(t),
	} {
		t.Run(name, func(t *testing.T) {
			s := run(t, site)
			first := s.get("/first", acceptProblem...).problem(t)
			for range 4 {
				if p := s.get("/", acceptProblem...).problem(t); p.Reference != first.Reference || p.Cause != first.Cause {
					t.Errorf("got reference %s (%s), the first visitor got %s (%s)", p.Reference, p.Cause, first.Reference, first.Cause)
				}
			}
			if got := s.logged(said("no healthy upstream")); len(got) != 1 || got[0]["err_id"] != first.Reference {
				t.Fatalf("want one line with reference %s, got %v", first.Reference, got)
			}
			s.stop()
			got := s.logged(said("no healthy upstream for more requests"))
			if len(got) != 1 || got[0]["err_id"] != first.Reference || got[0]["suppressed"] != 4.0 {
				t.Errorf("want one summary of 4 more, got %v", got)
			}
			if others := s.logged(func(e entry) bool { return isError(e) && e["logger"] == "http.log.error" }); len(others) > 0 {
				t.Errorf("Caddy logs the error, too: %v", others)
			}
		})
	}
}

// TestEachCauseIsLogged checks that one outage does not hide another.
func TestEachCauseIsLogged(t *testing.T) {
	s := run(t, fmt.Sprintf("no_healthy_upstream\nhandle /a {\nreverse_proxy %s\n}\nhandle /b {\nreverse_proxy %s\n}",
		deadAddress(t), rawBackend(t, request)))
	a, b := s.get("/a", acceptProblem...).problem(t), s.get("/b", acceptProblem...).problem(t)
	if a.Reference == b.Reference {
		t.Errorf("two outages have the reference %s", a.Reference)
	}
	checkLogged(t, s, a)
	checkLogged(t, s, b)
}

// TestClientGone checks that nothing is written, and no upstream blamed, when the client
// leaves.
func TestClientGone(t *testing.T) {
	for name, proxy := range map[string]string{
		"static":                   "no_healthy_upstream\nreverse_proxy APP",
		"short form":               "healthpool APP",
		"short form, other policy": "healthpool APP {\nlb_policy first\n}",
	} {
		t.Run(name, func(t *testing.T) {
			asked := make(chan struct{}, 1)
			b := newBackendFunc(t, func(_ http.ResponseWriter, r *http.Request) {
				asked <- struct{}{}
				<-r.Context().Done()
			})
			s := run(t, "log\n"+strings.ReplaceAll(proxy, "APP", b.addr))
			ctx, leave := context.WithCancel(t.Context())
			left := make(chan error, 1)
			go func() {
				_, err := s.try(ctx, "GET", "/", "")
				left <- err
			}()
			<-asked
			leave()
			if err := <-left; err == nil {
				t.Fatal("the client got an answer")
			}
			var access []entry
			await(t, "the request is in the access log", func() bool {
				access = s.logged(said("handled request"))
				return len(access) > 0
			})
			if access[0]["status"] != 499.0 || access[0]["size"] != 0.0 {
				t.Errorf("access log: %v", access[0])
			}
			if errs := s.logged(isError); len(errs) > 0 {
				t.Errorf("the log has errors: %v", errs)
			}
			if n := b.hits.Load(); n != 1 {
				t.Errorf("the app was asked %d times", n)
			}
		})
	}
}
