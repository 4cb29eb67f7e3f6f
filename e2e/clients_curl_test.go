package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// curlVersions are the options that have curl speak a version of HTTP.
var curlVersions = []string{"--http1.1", "--http2-prior-knowledge"}

// curlCommand returns a curl to run. Without one the test is skipped, except in CI, where it must not be missing.
func curlCommand(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath("curl")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("no curl on this machine")
		}
		t.Skip("no curl on this machine")
	}
	args = append([]string{"--disable", "--silent", "--show-error", "--noproxy", "*", "--max-time", "30"}, args...)
	return exec.CommandContext(t.Context(), path, args...)
}

// curl runs curl, which must end well.
func curl(t *testing.T, args ...string) reply {
	t.Helper()
	cmd := curlCommand(t, append(args, "--include")...)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("curl %q: %v: %s", args, err, complaints.String())
	}
	head, body, _ := strings.Cut(string(out), "\r\n\r\n")
	for strings.Contains(head, " 100") { // Continue
		head, body, _ = strings.Cut(body, "\r\n\r\n")
	}
	lines := strings.Split(head, "\r\n")
	res := reply{header: make(http.Header), body: body}
	if _, err := fmt.Sscanf(lines[0], "HTTP/%s %d", new(string), &res.status); err != nil {
		t.Fatalf("curl %q: no status in %q", args, out)
	}
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ": ")
		res.header.Add(name, value)
	}
	return res
}

// newCurlSite runs Caddy with healthpool, and options of its page, in front of an app that is down.
func newCurlSite(t *testing.T, options string) (site string, a *app) {
	t.Helper()
	a = newApp(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Etag", `"v1"`)
		fmt.Fprint(w, "the app")
	})
	site = freeAddress(t)
	runCaddy(t, fmt.Sprintf("http://%s {\n\tvisits\n\thealthpool %s {\n\t\thold off\n\t\tpage {\n\t\t\t%s\n\t\t}\n\t}\n}\n",
		site, a.address, options), withH2C)
	return site, a
}

// stays is what curl's answers have in common, whenever they are asked for.
func (c reply) stays() http.Header {
	h := c.header.Clone()
	h.Del("Date")
	h.Del("Connection") // with a body that was not read
	// What allows a page to send the visitor's form again is said only where there was one.
	if policy := h.Get("Content-Security-Policy"); policy != "" {
		h.Set("Content-Security-Policy", strings.TrimSuffix(policy, "; form-action 'none'"))
	}
	return h
}

// wantNoValidators checks that nothing in the answer lets a client keep it, or ask for a part of it.
func (c reply) wantNoValidators(t *testing.T) {
	t.Helper()
	for _, name := range []string{"Etag", "Last-Modified", "Accept-Ranges", "Content-Range", "Expires", "Age"} {
		if c.header.Get(name) != "" {
			t.Errorf("the answer has %s: %s", name, c.header.Get(name))
		}
	}
	if got := c.header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control: %q", got)
	}
}

// TestCurlMethods checks that every method gets the same status and headers, and all but HEAD the body.
func TestCurlMethods(t *testing.T) {
	site, _ := newCurlSite(t, "service shop\n\t\t\tretry_after 30s")
	for _, version := range curlVersions {
		for _, accept := range []string{"*/*", "text/html", "application/json", "text/markdown", "application/xml"} {
			t.Run(version+" "+accept, func(t *testing.T) {
				url := []string{version, "-H", "Accept: " + accept, "http://" + site + "/shelf"}
				want := curl(t, url...)
				if want.status != http.StatusServiceUnavailable || want.header.Get("Retry-After") != "30" || want.header.Get("Vary") == "" {
					t.Fatalf("got %d %v, want 503 with Retry-After", want.status, want.header)
				}
				wantNoLeak(t, "the body", want.body)
				want.wantNoValidators(t)
				if accept == "*/*" && !strings.HasPrefix(want.body, "no healthy upstream\n") {
					t.Errorf("the text is %q", want.body)
				}
				if n := want.header.Get("Content-Length"); n != strconv.Itoa(len(want.body)) {
					t.Errorf("Content-Length %s, and %d bytes", n, len(want.body))
				}
				wantSameForAll(t, want, url, accept == "text/html")
			})
		}
	}
}

// wantSameForAll asks by other methods for what GET got. A page says to the sender of a form what became of it, and so
// may have another body.
func wantSameForAll(t *testing.T, want reply, url []string, isPage bool) {
	t.Helper()
	for _, method := range [][]string{
		{"--head"}, {"-X", "OPTIONS"}, {"-X", "DELETE"}, {"-X", "PROPFIND"}, {"-X", "POST"}, {"-X", "PUT"}, {"-X", "QUERY"},
	} {
		got := curl(t, slices.Concat(method, url)...)
		body := want.body
		if method[0] == "--head" {
			body = ""
		}
		gotHeader, wantHeader := got.stays(), want.stays()
		if isPage && method[0] != "--head" {
			gotHeader.Del("Content-Length")
			wantHeader.Del("Content-Length")
			body = got.body
		}
		if got.status != want.status || got.body != body || fmt.Sprint(gotHeader) != fmt.Sprint(wantHeader) {
			t.Errorf("%q:\ngot  %d %v %.80q,\nwant %d %v %.80q", method, got.status, gotHeader, got.body, want.status, wantHeader, body)
		}
	}
}

// TestCurlConditions checks that conditions and ranges, which ask about what the app has, change nothing about an
// outage.
func TestCurlConditions(t *testing.T) {
	site, _ := newCurlSite(t, "service shop\n\t\t\tretry_after 30s")
	for _, version := range curlVersions {
		want := curl(t, version, "http://"+site)
		for _, header := range []string{
			`If-None-Match: *`, `If-None-Match: "v1"`, `If-Match: "v1"`, `If-Modified-Since: Sat, 29 Oct 2044 19:43:31 GMT`,
			`If-Unmodified-Since: Sat, 29 Oct 1994 19:43:31 GMT`, `Range: bytes=0-4`, `Range: bytes=99999-`, `Range: bytes=-1`,
			"Range: bytes=0-1,3-4", "If-Range: \"v1\"\r\nRange: bytes=0-4", "Expect: 100-continue", "Cache-Control: only-if-cached",
		} {
			t.Run(version+" "+header, func(t *testing.T) {
				args := []string{version, "http://" + site}
				for line := range strings.SplitSeq(header, "\r\n") {
					args = append(args, "-H", line)
				}
				got := curl(t, args...)
				if got.status != want.status || got.body != want.body || fmt.Sprint(got.stays()) != fmt.Sprint(want.stays()) {
					t.Errorf("got %d %v %q, want %d %v %q", got.status, got.stays(), got.body, want.status, want.stays(), want.body)
				}
				if head := curl(t, append(args, "--head")...); head.status != want.status || head.body != "" {
					t.Errorf("HEAD: got %d, body %q", head.status, head.body)
				}
				got.wantNoValidators(t)
			})
		}
	}
}

// TestCurlUpload checks that curl gets the answer, and no error, while it still has much to send: whether it asks first
// or not, and whether it says how much it is. Not over HTTP/2: there Go's server resets the stream (NO_ERROR) where it
// answers before it has all of the request, and curl 7.88 takes that for an error, whatever Caddy's answer is.
func TestCurlUpload(t *testing.T) {
	site, _ := newCurlSite(t, "service shop")
	file := t.TempDir() + "/upload"
	if err := os.WriteFile(file, make([]byte, 8<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string][]string{
		"asks first": {"-T", file, "-H", "Expect: 100-continue"},
		"asks not":   {"-T", file, "-H", "Expect:"},
		"in chunks":  {"-T", file, "-H", "Expect:", "-H", "Transfer-Encoding: chunked"},
		"form":       {"-F", "file=@" + file},
		"small":      {"-d", "a=b"},
	} {
		t.Run(name, func(t *testing.T) {
			got := curl(t, append(args, "--http1.1", "http://"+site)...)
			if got.status != http.StatusServiceUnavailable || !strings.Contains(got.body, saysFate[notSent]) {
				t.Errorf("got %d %q", got.status, got.body)
			}
		})
	}
}

// TestCurlRetry checks that curl's own --retry, which heeds Retry-After, ends with the app's answer once it is up.
func TestCurlRetry(t *testing.T) {
	site, a := newCurlSite(t, "retry_after 1s")
	cmd := curlCommand(t, "--retry", "10", "--fail", "http://"+site+"/again")
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	await(t, "curl has tried", func() bool { return visits.loads("/again") > 0 })
	a.start(t)
	if err := cmd.Wait(); err != nil || out.String() != "the app" {
		t.Errorf("got %q, %v, want the app", out.String(), err)
	}
}
