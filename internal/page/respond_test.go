package page

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/healthpool/caddy-healthpool/internal/cause"
	"github.com/healthpool/caddy-healthpool/internal/represent"
)

var contentTypes = map[represent.Format]string{
	represent.HTML:    "text/html; charset=utf-8",
	represent.Problem: "application/problem+json",
	represent.JSON:    "application/json",
	represent.Text:    "text/plain; charset=utf-8",
	represent.Bare:    "",
	"some later one":  "text/plain; charset=utf-8",
}

// TestRespondHeaders: every format, method and status has the same headers but
// for those of its type, and nothing else.
func TestRespondHeaders(t *testing.T) {
	for format, contentType := range contentTypes {
		for _, method := range []string{"GET", "HEAD", "POST", "OPTIONS", "BREW"} {
			for _, status := range []int{502, 503, 504} {
				n := notice()
				n.Status = status
				w := answer(method, format, n)
				if w.Code != status {
					t.Errorf("%s %s: status %d, want %d", method, format, w.Code, status)
				}
				want := map[string]string{
					"Cache-Control":          "no-store",
					"Content-Language":       "en",
					"Retry-After":            "30",
					"Vary":                   "Accept, Accept-Language, Sec-Fetch-Dest",
					"X-Content-Type-Options": "nosniff",
					"X-Robots-Tag":           "noindex",
				}
				if contentType != "" {
					want["Content-Type"], want["Referrer-Policy"] = contentType, "same-origin"
				}
				if format == represent.HTML {
					want["Content-Security-Policy"] = policyScript
				}
				got := map[string]string{}
				for name, values := range w.Header() {
					got[name] = strings.Join(values, " | ")
				}
				delete(got, "Content-Length") // has its own test
				if !maps.Equal(got, want) {
					t.Errorf("%s %s: got %v, want %v", method, format, got, want)
				}
			}
		}
	}
}

// TestRespondHead: HEAD has the headers of GET, with its length, and no body.
func TestRespondHead(t *testing.T) {
	for format := range contentTypes {
		get, head := answer("GET", format, notice()), answer("HEAD", format, notice())
		if head.Body.Len() != 0 {
			t.Errorf("%s: HEAD has a body", format)
		}
		if want := strconv.Itoa(get.Body.Len()); head.Header().Get("Content-Length") != want || get.Header().Get("Content-Length") != want {
			t.Errorf("%s: Content-Length %s and %s, want %s", format, get.Header().Get("Content-Length"), head.Header().Get("Content-Length"), want)
		}
	}
	if n := answer("GET", represent.Bare, notice()).Body.Len(); n != 0 {
		t.Errorf("bare has a body of %d bytes", n)
	}
}

// TestRespondOverOthers: what earlier handlers said of their body goes, the
// rest stays.
func TestRespondOverOthers(t *testing.T) {
	w := httptest.NewRecorder()
	gone := append([]string{"ETag", "Content-MD5"}, stale[:]...)
	for _, name := range gone {
		w.Header().Set(name, "old")
	}
	w.Header().Set("Content-Length", "1000000")
	w.Header().Set("Content-Type", "image/png")
	w.Header().Set("Cache-Control", "max-age=3600")
	w.Header().Set("Server", "Caddy")
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("If-None-Match", "old")
	r.Header.Set("Range", "bytes=0-1")
	n := notice()
	n.RetryAfter = 0
	Respond(w, r, represent.Bare, n)

	for _, name := range append(gone, "Content-Type") {
		if v := w.Header().Get(name); v != "" {
			t.Errorf("%s: %s is still there", name, v)
		}
	}
	for name, want := range map[string]string{"Content-Length": "0", "Cache-Control": "no-store", "Server": "Caddy"} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if w.Code != 503 {
		t.Errorf("status %d", w.Code)
	}
}

func TestRespondVary(t *testing.T) {
	for _, c := range []struct {
		there []string
		want  string
	}{
		{nil, "Accept, Accept-Language, Sec-Fetch-Dest"},
		{[]string{"Accept-Encoding"}, "Accept-Encoding, Accept, Accept-Language, Sec-Fetch-Dest"},
		{[]string{"Origin", "accept,Cookie"}, "Origin, accept,Cookie, Accept-Language, Sec-Fetch-Dest"},
		{[]string{"*"}, "*"},
		{[]string{""}, "Accept, Accept-Language, Sec-Fetch-Dest"},
	} {
		h := http.Header{"Vary": c.there}
		setHeaders(h, 0, 0)
		if got := strings.Join(h["Vary"], " | "); got != c.want {
			t.Errorf("%q: got %q, want %q", c.there, got, c.want)
		}
	}
}

// TestRespondBadStatus: a status that net/http would panic at, or that means a
// body can't follow, is an outage all the same.
func TestRespondBadStatus(t *testing.T) {
	for _, status := range []int{-1, 0, 99, 101, 1000} {
		w := answer("GET", represent.Problem, Notice{Status: status})
		if w.Code != 503 || !strings.Contains(w.Body.String(), `"status":503`) {
			t.Errorf("%d: got %d %s", status, w.Code, w.Body)
		}
	}
}

func TestProblem(t *testing.T) {
	for _, c := range []struct {
		method    string
		fate      cause.Fate
		retryable bool
		says      string
	}{
		{"GET", cause.NotSent, true, "not passed on"},
		{"GET", cause.Unknown, true, "safe to repeat"},
		{"HEAD", cause.Unknown, true, ""},
		{"OPTIONS", cause.Unknown, true, "safe to repeat"},
		{"POST", cause.NotSent, true, "safe to repeat"},
		{"POST", cause.Unknown, false, "check before repeating"},
		{"PUT", cause.Unknown, false, "check before repeating"},
		{"DELETE", cause.Unknown, false, "check before repeating"},
		{"POST", "", false, "check before repeating"},
	} {
		n := notice()
		n.Fate, n.Cause = c.fate, cause.ConnectionTerminated
		body := answer(c.method, represent.Problem, n).Body.Bytes()
		if c.method == "HEAD" {
			continue
		}
		var got map[string]any
		if err := json.Unmarshal(body, &got); err != nil {
			t.Fatal(err)
		}
		detail, _ := got["detail"].(string)
		mustHave(t, detail, n.Message, c.says)
		delete(got, "detail")
		fate := c.fate
		if fate == "" {
			fate = cause.Unknown
		}
		want := map[string]any{
			"type": problemType, "title": "No healthy upstream", "status": 503.0, "instance": "urn:reference:7QX4-M2KD",
			"reference": "7QX4-M2KD", "cause": "connection_terminated", "retryable": c.retryable, "retry_after": 30.0,
			"request_fate": string(fate),
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s %s: got %v, want %v", c.method, c.fate, got, want)
		}
		if asJSON := answer(c.method, represent.JSON, n).Body.Bytes(); string(asJSON) != string(body) {
			t.Errorf("json differs from problem+json: %s", asJSON)
		}
	}
}

func TestProblemLeaves(t *testing.T) {
	body := answer("GET", represent.Problem, Notice{Status: 503, Fate: cause.NotSent}).Body.String()
	mustNotHave(t, body, "retry_after", "instance", "reference")
}

func TestText(t *testing.T) {
	got := answer("POST", represent.Text, notice()).Body.String()
	want := `no healthy upstream

example.com is not answering. The problem is on its side, not yours.
We are moving to a new house.
The request was not passed on, so it is safe to repeat it.
Try again in 30 seconds.
Status page: https://status.example.com/?a=1&b=2
Call us: tel:+15550100
Reference: 7QX4-M2KD
`
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	got = answer("POST", represent.Text, Notice{}).Body.String()
	want = `no healthy upstream

The service is not answering. The problem is on its side, not yours.
It is unknown whether the request was processed: check before repeating it.
`
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

// TestDataEscapes: strings from outside stay where they belong: in JSON that
// parses, in one line of text that moves no cursor.
func TestDataEscapes(t *testing.T) {
	for _, bad := range hostile {
		n := notice()
		n.Service, n.Message, n.Reference, n.Cause = bad, bad, bad, cause.Cause(bad)
		n.Links = []Link{{bad, "https://example.com"}}
		body := answer("GET", represent.Problem, n).Body.Bytes()
		if !json.Valid(body) {
			t.Errorf("invalid JSON: %s", body)
		}
		mustNotHave(t, string(body), "<script", "\u2028")
		text := answer("GET", represent.Text, n).Body.String()
		mustNotHave(t, text, "\x1b", "\r", "\u202e", "\u2028", "\nSet-Cookie")
		if lines := strings.Count(text, "\n"); lines != 8 {
			t.Errorf("%d lines: %s", lines, text)
		}
	}
}

func TestNoticeLongService(t *testing.T) {
	n := notice()
	n.Service = strings.Repeat("é", 1<<20)
	if got := n.normal().Service; len(got) > maxService || !strings.HasPrefix(n.Service, got) {
		t.Errorf("%d bytes: %q", len(got), got)
	}
}

// TestNoticeKeepsLinks: Respond must not change what the caller shares between
// requests.
func TestNoticeKeepsLinks(t *testing.T) {
	n := notice()
	n.Links = []Link{{"bad", "javascript:x"}, {"good", "https://example.com"}}
	before := slices.Clone(n.Links)
	answer("GET", represent.HTML, n)
	if !slices.Equal(before, n.Links) {
		t.Errorf("links were changed to %v", n.Links)
	}
}

func BenchmarkRespond(b *testing.B) {
	n := notice()
	for _, format := range []represent.Format{represent.HTML, represent.Problem, represent.Text, represent.Bare} {
		b.Run(string(format), func(b *testing.B) {
			r := httptest.NewRequest("GET", "/", nil)
			w := &discard{http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				Respond(w, r, format, n)
			}
		})
	}
}

// discard is a ResponseWriter that costs nothing itself.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(int)             {}
