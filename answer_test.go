package healthpool_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// checkHeaders checks the headers that every response with a language has.
func checkHeaders(t *testing.T, r response) {
	t.Helper()
	for name, want := range map[string]string{
		"Cache-Control":          "no-store",
		"Content-Language":       "en",
		"X-Robots-Tag":           "noindex",
		"X-Content-Type-Options": "nosniff",
		"Vary":                   "Accept, Accept-Language, Sec-Fetch-Dest",
	} {
		if got := r.header.Values(name); !slices.Equal(got, []string{want}) {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if after, err := strconv.Atoi(r.header.Get("Retry-After")); err != nil || after < 1 || after > 30 {
		t.Errorf("Retry-After: got %q, want 1 to 30 seconds", r.header.Get("Retry-After"))
	}
	for _, name := range []string{"Etag", "Last-Modified", "Accept-Ranges", "Content-Range", "Expires", "Set-Cookie", "Age", "Location"} {
		if got := r.header.Values(name); len(got) > 0 {
			t.Errorf("%s is there: %q", name, got)
		}
	}
}

const (
	typeHTML    = "text/html; charset=utf-8"
	typeText    = "text/plain; charset=utf-8"
	typeProblem = "application/problem+json"
	typeJSON    = "application/json"
	typeNone    = ""
)

// TestFormats checks which clients get which format.
func TestFormats(t *testing.T) {
	const browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
	dead := deadAddress(t)
	s := run(t, "no_healthy_upstream\nreverse_proxy "+dead)
	for _, tt := range []struct {
		name, method, body string
		headers            []string
		want               string
	}{
		{"a browser", "GET", "", []string{"Accept", browser, "Sec-Fetch-Dest", "document", "Sec-Fetch-Mode", "navigate"}, typeHTML},
		{"an old browser", "GET", "", []string{"Accept", browser}, typeHTML},
		{"an iframe", "GET", "", []string{"Accept", browser, "Sec-Fetch-Dest", "iframe"}, typeHTML},
		{"a form", "POST", "a=b", []string{"Accept", browser, "Content-Type", "application/x-www-form-urlencoded"}, typeHTML},
		{"curl", "GET", "", []string{"Accept", "*/*", "User-Agent", "curl/8"}, typeText},
		{"nothing said", "GET", "", nil, typeText},
		{"text", "GET", "", []string{"Accept", "text/plain"}, typeText},
		{"problem", "GET", "", []string{"Accept", "application/problem+json"}, typeProblem},
		{"JSON", "GET", "", []string{"Accept", "application/json"}, typeJSON},
		{"JSON preferred", "GET", "", []string{"Accept", "text/html;q=0.5, application/json"}, typeJSON},
		{"HTML preferred", "GET", "", []string{"Accept", "application/json;q=0.5, text/html"}, typeHTML},
		{"vendor JSON", "GET", "", []string{"Accept", "application/vnd.api+json"}, typeProblem},
		{"fetch", "GET", "", []string{"Accept", "*/*", "Sec-Fetch-Dest", "empty", "Sec-Fetch-Mode", "cors"}, typeProblem},
		{"XHR", "GET", "", []string{"Accept", "*/*", "X-Requested-With", "XMLHttpRequest"}, typeProblem},
		{"a JSON body", "POST", "{}", []string{"Accept", "*/*", "Content-Type", "application/json"}, typeProblem},
		{"an image tag", "GET", "", []string{"Accept", "image/avif,image/webp,image/*,*/*;q=0.8", "Sec-Fetch-Dest", "image"}, typeNone},
		{"an image tag of an old browser", "GET", "", []string{"Accept", "image/png,image/*;q=0.8,*/*;q=0.5"}, typeNone},
		{"a script", "GET", "", []string{"Accept", "*/*", "Sec-Fetch-Dest", "script"}, typeNone},
		{"a style sheet", "GET", "", []string{"Accept", "text/css,*/*;q=0.1"}, typeNone},
		{"a font", "GET", "", []string{"Sec-Fetch-Dest", "font"}, typeNone},
		{"a worker", "GET", "", []string{"Sec-Fetch-Dest", "serviceworker"}, typeNone},
		{"a websocket", "GET", "", []string{"Connection", "Upgrade", "Upgrade", "websocket", "Sec-Websocket-Version", "13", "Sec-Websocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="}, typeNone},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := s.do(tt.method, "/", tt.body, tt.headers...)
			if contentType := got.header.Get("Content-Type"); got.status != 502 || contentType != tt.want {
				t.Fatalf("got %d %q, want 502 %q", got.status, contentType, tt.want)
			}
			checkHeaders(t, got)
			checkSecrets(t, got, dead)
			checkBody(t, got, tt.want)
			if head := s.do(http.MethodHead, "/", "", tt.headers...); tt.method == http.MethodGet {
				checkHeaders(t, head)
				if head.status != 502 || head.body != "" || head.header.Get("Content-Type") != tt.want {
					t.Errorf("HEAD: got %d %v %q", head.status, head.header, head.body)
				}
			}
		})
	}
}

func checkBody(t *testing.T, r response, contentType string) {
	t.Helper()
	switch contentType {
	case typeHTML:
		csp := r.header.Get("Content-Security-Policy")
		expect(t, r, map[string]bool{
			"doctype": strings.HasPrefix(r.body, "<!doctype html>"), "heading": strings.Contains(r.body, "<h1>Sorry, "),
			"name": strings.Contains(r.body, siteName), "policy": strings.Contains(csp, "default-src 'none'"),
			"strictness of the policy": !strings.Contains(csp, "unsafe"),
		})
	case typeText:
		if !strings.HasPrefix(r.body, "no healthy upstream\n") {
			t.Errorf("text: %q", r.body)
		}
	case typeProblem, typeJSON:
		p := r.problem(t)
		expect(t, p, map[string]bool{
			"type": strings.HasPrefix(p.Type, "https://"), "title": p.Title != "", "detail": p.Detail != "",
			"reference": p.Reference != "", "status": p.Status == r.status, "instance": strings.Contains(p.Instance, p.Reference),
			"retry_after": strconv.Itoa(p.RetryAfter) == r.header.Get("Retry-After"), "retryable": *p.Retryable,
		})
	default:
		if r.body != "" {
			t.Errorf("got a body: %q", r.body)
		}
	}
}

// TestEveryMethod checks that every method gets the true status, and is told whether
// repeating it is safe.
func TestEveryMethod(t *testing.T) {
	s := run(t, fmt.Sprintf("no_healthy_upstream\nhandle /refused {\nreverse_proxy %s\n}\nhandle /closed {\nreverse_proxy %s\n}",
		deadAddress(t), rawBackend(t, request)))
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY", "PURGE"} {
		t.Run(method, func(t *testing.T) {
			body := ""
			if method != http.MethodGet && method != http.MethodHead {
				body = "something"
			}
			refused, closed := s.do(method, "/refused", body, acceptProblem...), s.do(method, "/closed", body, acceptProblem...)
			checkHeaders(t, refused)
			checkHeaders(t, closed)
			if refused.status != 502 || closed.status != 502 {
				t.Errorf("got %d and %d, want 502", refused.status, closed.status)
			}
			if method == http.MethodHead {
				return
			}
			safe := slices.Contains([]string{"GET", "OPTIONS", "QUERY"}, method)
			if p := refused.problem(t); p.RequestFate != "not_sent" || !*p.Retryable {
				t.Errorf("refused: %+v", p)
			}
			if p := closed.problem(t); p.RequestFate != "unknown" || *p.Retryable != safe {
				t.Errorf("closed: %+v", p)
			}
		})
	}
}

// TestPollHeaders checks that answers to polls are not cached or indexed either.
func TestPollHeaders(t *testing.T) {
	b := newStoppedBackend(t, cookieApp)
	s := run(t, "no_healthy_upstream\nreverse_proxy "+b.addr)
	token := s.token("/")
	for _, status := range []int{http.StatusServiceUnavailable, http.StatusNoContent} {
		if status == http.StatusNoContent {
			b.start()
		}
		got := s.poll("/", token)
		checkPoll(t, got, status)
		for name, want := range map[string]string{
			"Vary": "Accept, Accept-Language, Sec-Fetch-Dest", "X-Robots-Tag": "noindex", "X-Content-Type-Options": "nosniff", "Content-Language": "",
		} {
			if value := got.header.Get(name); value != want {
				t.Errorf("%d: %s: got %q, want %q", status, name, value, want)
			}
		}
	}
}

// TestConditionsAndRanges checks that conditional and range headers are ignored: a browser
// that reloads must not get 304.
func TestConditionsAndRanges(t *testing.T) {
	s := run(t, "header {\nEtag `\"x\"`\nLast-Modified \"Mon, 01 Jan 2024 00:00:00 GMT\"\nCache-Control max-age=600\nAccept-Ranges bytes\n}\n"+
		"no_healthy_upstream\nreverse_proxy "+deadAddress(t))
	for name, value := range map[string]string{
		"If-None-Match":       `"x"`,
		"If-Modified-Since":   "Tue, 01 Jan 2036 00:00:00 GMT",
		"If-Match":            `"y"`,
		"If-Unmodified-Since": "Mon, 01 Jan 2001 00:00:00 GMT",
		"Range":               "bytes=0-3",
		"If-Range":            `"x"`,
	} {
		t.Run(name, func(t *testing.T) {
			got := s.get("/", "Accept", "text/html", name, value)
			checkHeaders(t, got)
			checkBody(t, got, typeHTML)
			if got.status != 502 || got.header.Get("Content-Length") != strconv.Itoa(len(got.body)) {
				t.Errorf("got %d %v", got.status, got.header)
			}
		})
	}
}

// TestOptions checks the effect of each option of the page.
func TestOptions(t *testing.T) {
	template := filepath.Join(t.TempDir(), "page.html")
	const text = `<p>{{.Title}}|{{.Status}}|{{.Cause}}|{{.Fate}}|{{.Reference}}|{{.RetryAfter}}|{{.Service}}|{{.Message}}|{{range .Links}}{{.Label}}={{.URL}}{{end}}|{{.Lang}}|{{.Dir}}|{{.Poll}}</p>`
	if err := os.WriteFile(template, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var sites strings.Builder
	for i, options := range []string{
		"service \"The <Shop>\"\nmessage \"We & they are moving.\"\nlink Status https://status.example/?a=b\nlink Call tel:+15550100",
		"status 503", "retry_after 90s", "retry_after off", "refresh off",
		"template " + template + "\nservice Shop\nmessage Moving\nlink Status https://status.example/",
	} {
		fmt.Fprintf(&sites, "handle /%d {\nno_healthy_upstream {\n%s\n}\nreverse_proxy %s\n}\n", i, options, deadAddress(t))
	}
	s := run(t, sites.String())
	page := func(i int) response { return s.get(fmt.Sprintf("/%d", i), "Accept", "text/html") }
	contains := func(t *testing.T, body string, wants ...string) {
		t.Helper()
		for _, want := range wants {
			if !strings.Contains(body, want) {
				t.Errorf("there is no %q in %s", want, body)
			}
		}
	}
	t.Run("service, message, link", func(t *testing.T) {
		contains(t, page(0).body, "The &lt;Shop&gt;", "We &amp; they are moving.", `href="https://status.example/?a=b"`, ">Status<", `href="tel:`)
		contains(t, s.get("/0").body, "The <Shop> is not answering", "We & they are moving.", "Status: https://status.example/?a=b")
		contains(t, s.get("/0", acceptProblem...).problem(t).Detail, "We & they are moving.")
	})
	t.Run("status", func(t *testing.T) {
		got := s.get("/1", acceptProblem...)
		p := got.problem(t)
		expect(t, got, map[string]bool{"status": got.status == 503, "member": p.Status == 503, "cause": p.Cause == "connection_refused"})
	})
	t.Run("retry_after", func(t *testing.T) {
		got := s.get("/2", acceptProblem...)
		expect(t, got, map[string]bool{"header": got.header.Get("Retry-After") == "90", "member": got.problem(t).RetryAfter == 90})
	})
	t.Run("retry_after off", func(t *testing.T) {
		got := s.get("/3", acceptProblem...)
		expect(t, got, map[string]bool{"header": got.header.Get("Retry-After") == "", "member": !strings.Contains(got.body, "retry_after")})
	})
	t.Run("refresh off", func(t *testing.T) {
		for i := range 5 {
			if got := page(i); strings.Contains(got.body, "<script") == (i == 4) || strings.Contains(got.body, "data-poll=") == (i == 4) {
				t.Errorf("page %d: %s", i, got.body)
			}
		}
	})
	t.Run("template", func(t *testing.T) {
		got := page(5)
		reference := s.get("/5", acceptProblem...).problem(t).Reference
		contains(t, got.body, "Sorry", "|502|connection_refused|not_sent|"+reference+"|1|Shop|Moving|Status=https://status.example/|en|ltr|")
		checkHeaders(t, got)
	})
}

// TestHostIsNotTrusted checks that a Host header is shown as text.
func TestHostIsNotTrusted(t *testing.T) {
	s := run(t, "no_healthy_upstream\nreverse_proxy "+deadAddress(t))
	conn := s.dial()
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a'b&c:80\r\nAccept: text/html\r\nConnection: close\r\n\r\n")
	answer, err := io.ReadAll(conn)
	if err != nil || strings.Contains(string(answer), "a'b&c") {
		t.Errorf("%v: %s", err, answer)
	}
	if body, err := json.Marshal(s.get("/", "Accept", "application/json").problem(t)); err != nil || strings.Contains(string(body), "127.0.0.1") {
		t.Errorf("%s %v", body, err)
	}
}
