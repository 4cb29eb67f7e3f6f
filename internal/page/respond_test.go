package page

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/represent"
)

const grpcType = "application/grpc+proto"

// contentTypes are the media types of all formats, for a client that sends grpcType.
var contentTypes = map[represent.Format]string{
	represent.HTML:          "text/html; charset=utf-8",
	represent.Problem:       "application/problem+json",
	represent.JSON:          "application/json",
	represent.XML:           "application/problem+xml",
	represent.Markdown:      "text/markdown; charset=utf-8",
	represent.Text:          "text/plain; charset=utf-8",
	represent.EventStream:   "text/event-stream",
	represent.GRPC:          grpcType,
	represent.GRPCWeb:       grpcType,
	represent.GRPCWebText:   grpcType,
	represent.Connect:       "application/json",
	represent.ConnectStream: grpcType,
	represent.Bare:          "",
	"some later one":        "text/plain; charset=utf-8",
}

// isOK has the formats whose status is 200 in spite of the failure.
var isOK = map[represent.Format]bool{
	represent.EventStream: true, represent.GRPC: true, represent.GRPCWeb: true, represent.GRPCWebText: true, represent.ConnectStream: true,
}

// headersOf returns the headers of a response except for its length, which has its own test.
func headersOf(w *httptest.ResponseRecorder) map[string]string {
	all := map[string]string{}
	for name, values := range w.Header() {
		all[name] = strings.Join(values, " | ")
	}
	delete(all, "Content-Length")
	return all
}

// TestRespondHeaders: all formats, methods and statuses have the same headers, and besides only
// those of their content type.
func TestRespondHeaders(t *testing.T) {
	for _, format := range represent.All() {
		if _, ok := contentTypes[format]; !ok {
			t.Errorf("%s has no test", format)
		}
	}
	for format, contentType := range contentTypes {
		for _, method := range []string{"GET", "HEAD", "POST", "OPTIONS", "BREW"} {
			for _, status := range []int{502, 503, 504} {
				n := notice()
				n.Status = status
				w := fullPage.respond(t, ask(method, "Content-Type", grpcType), format, n)
				checkStatus(t, format, w.Code, status)
				got := headersOf(w)
				for _, own := range []string{"Content-Security-Policy", "Grpc-Status", "Grpc-Message", "Grpc-Status-Details-Bin"} {
					delete(got, own)
				}
				want := map[string]string{
					"Cache-Control": "no-store", "Content-Language": "en", "Retry-After": "30",
					"Vary":                   "Accept, Accept-Language, Sec-Fetch-Dest",
					"X-Content-Type-Options": "nosniff", "X-Robots-Tag": "noindex",
				}
				if contentType != "" {
					want["Content-Type"], want["Referrer-Policy"] = contentType, "same-origin"
				}
				if !maps.Equal(got, want) {
					t.Errorf("%s %s: got %v, want %v", method, format, got, want)
				}
			}
		}
	}
}

func checkStatus(t *testing.T, format represent.Format, got, want int) {
	t.Helper()
	switch {
	case isOK[format]:
		want = http.StatusOK
	case format == represent.Connect:
		want = http.StatusServiceUnavailable // what Connect maps to unavailable
	}
	if got != want {
		t.Errorf("%s: status %d, want %d", format, got, want)
	}
}

// TestRespondOwnHeaders: no format has a header that belongs to another.
func TestRespondOwnHeaders(t *testing.T) {
	for format := range contentTypes {
		h := answer(t, http.MethodGet, format, notice()).Header()
		if has := h.Get("Content-Security-Policy") != ""; has != (format == represent.HTML) {
			t.Errorf("%s: has a policy: %v", format, has)
		}
		for _, name := range []string{"Grpc-Status", "Grpc-Message", "Grpc-Status-Details-Bin"} {
			if has := h.Get(name) != ""; has != (format == represent.GRPC) {
				t.Errorf("%s: has %s: %v", format, name, has)
			}
		}
	}
}

// TestRespondHead: HEAD has the headers of GET, with its length, and no body.
func TestRespondHead(t *testing.T) {
	empty := []represent.Format{represent.Bare, represent.GRPC}
	for format := range contentTypes {
		get, head := answer(t, http.MethodGet, format, notice()), answer(t, http.MethodHead, format, notice())
		if head.Body.Len() != 0 {
			t.Errorf("%s: HEAD has a body", format)
		}
		for _, w := range []*httptest.ResponseRecorder{get, head} {
			// The order of its map entries is random.
			details := w.Header()["Grpc-Status-Details-Bin"]
			for i := range details {
				details[i] = strconv.Itoa(len(details[i]))
			}
		}
		if get.Code != head.Code || !maps.Equal(headersOf(get), headersOf(head)) {
			t.Errorf("%s: GET %d %v, HEAD %d %v", format, get.Code, get.Header(), head.Code, head.Header())
		}
		want := strconv.Itoa(get.Body.Len())
		for _, got := range []string{get.Header().Get("Content-Length"), head.Header().Get("Content-Length")} {
			if got != want {
				t.Errorf("%s: Content-Length %s, want %s", format, got, want)
			}
		}
		if has := get.Body.Len() > 0; has == slices.Contains(empty, format) {
			t.Errorf("%s: has a body: %v", format, has)
		}
	}
}

// TestRespondOverOthers: headers of earlier handlers about their body are removed, others stay,
// and conditions and ranges are ignored.
func TestRespondOverOthers(t *testing.T) {
	w := httptest.NewRecorder()
	gone := append([]string{"ETag", "Content-MD5"}, stale[:]...)
	for _, name := range gone {
		w.Header().Set(name, "old")
	}
	w.Header().Set("Cache-Control", "max-age=3600")
	w.Header().Set("Server", "Caddy")
	n := notice()
	n.RetryAfter = 0
	r := ask(http.MethodGet, "If-None-Match", "old", "If-Modified-Since", "Tue, 01 Jan 2030 00:00:00 GMT", "Range", "bytes=0-1")
	if err := fullPage.Respond(w, r, represent.Bare, n); err != nil {
		t.Fatal(err)
	}
	for _, name := range gone {
		if v := w.Header().Get(name); v != "" && name != "Content-Length" {
			t.Errorf("%s: %s is still there", name, v)
		}
	}
	for name, want := range map[string]string{"Content-Length": "0", "Cache-Control": "no-store", "Server": "Caddy"} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("status %d", w.Code)
	}
}

// TestRespondBadStatus: a status that makes net/http panic, or does not allow a body, becomes 503.
func TestRespondBadStatus(t *testing.T) {
	for _, status := range []int{-1, 0, 99, 101, 1000} {
		w := answer(t, http.MethodGet, represent.Problem, Notice{Status: status})
		if w.Code != 503 || !strings.Contains(w.Body.String(), `"status":503`) {
			t.Errorf("%d: got %d %s", status, w.Code, w.Body)
		}
	}
}

// TestRespondRetryAfter: every client is told the same time, in every place.
func TestRespondRetryAfter(t *testing.T) {
	for _, seconds := range []int{-3, 0, 1, 30, 7200} {
		n := notice()
		n.RetryAfter = seconds
		want := ""
		if seconds > 0 {
			want = strconv.Itoa(seconds)
		}
		for format := range contentTypes {
			if got := answer(t, http.MethodGet, format, n).Header().Get("Retry-After"); got != want {
				t.Errorf("%s: Retry-After is %q, want %q", format, got, want)
			}
		}
		if got, _ := parse(t, html(t, http.MethodGet, n)).data("after"); got != want {
			t.Errorf("data-after is %q, want %q", got, want)
		}
		var problem struct {
			RetryAfter json.Number `json:"retry_after"`
		}
		if err := json.Unmarshal(answer(t, http.MethodGet, represent.Problem, n).Body.Bytes(), &problem); err != nil || string(problem.RetryAfter) != want {
			t.Errorf("retry_after is %q, want %q: %v", problem.RetryAfter, want, err)
		}
		details, err := base64.RawStdEncoding.DecodeString(answer(t, http.MethodGet, represent.GRPC, n).Header().Get("Grpc-Status-Details-Bin"))
		if err != nil {
			t.Fatal(err)
		}
		if _, info := rpcDetails(t, details); info.GetRetryDelay().AsDuration() != time.Duration(max(seconds, 0))*time.Second || (info != nil) != (want != "") {
			t.Errorf("RetryInfo is %v, want %q", info, want)
		}
	}
}

// TestRespondService: a site without a name is called by the host of the request.
func TestRespondService(t *testing.T) {
	for host, want := range map[string]string{
		"example.org": "example.org", "example.org:8080": "example.org", "[2001:db8::1]:80": "2001:db8::1",
		"[2001:db8::1]": "2001:db8::1", "": "The service", "a:b:c": "a:b",
	} {
		r := ask(http.MethodGet)
		r.Host = host
		mustHave(t, plainPage.respond(t, r, represent.Text, notice()).Body.String(), "\n"+want+" is not answering.")
	}
	mustHave(t, answer(t, http.MethodGet, represent.Text, notice()).Body.String(), "\nexample.com is")
}

// TestRespondLongService: however long a Host header is, the answer is short.
func TestRespondLongService(t *testing.T) {
	r := ask(http.MethodGet)
	r.Host = strings.Repeat("é", 1<<20)
	text := plainPage.respond(t, r, represent.Text, notice()).Body.String()
	mustHave(t, text, "\n"+strings.Repeat("é", maxService/2)+" is not answering.")
}
