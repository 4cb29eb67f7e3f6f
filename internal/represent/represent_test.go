package represent

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// request makes a GET with the given headers, name and value in turn.
func request(headers ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

const chromiumNavigation = "text/html,application/xhtml+xml,application/xml;q=0.9,image/jxl,image/avif,image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7"

// TestChooseBrowser has what browsers send; the headers of Chromium were recorded.
func TestChooseBrowser(t *testing.T) {
	const chromiumImage = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"
	for _, c := range []struct {
		name    string
		headers []string
		want    Format
	}{
		{"navigation", []string{"Sec-Fetch-Dest", "document", "Sec-Fetch-Mode", "navigate", "Accept", chromiumNavigation}, HTML},
		{"navigation on plain http", []string{"Accept", chromiumNavigation}, HTML},
		{"form", []string{"Sec-Fetch-Dest", "document", "Sec-Fetch-Mode", "navigate", "Accept", chromiumNavigation, "Content-Type", "application/x-www-form-urlencoded"}, HTML},
		{"iframe", []string{"Sec-Fetch-Dest", "iframe", "Sec-Fetch-Mode", "navigate", "Accept", chromiumNavigation}, HTML},
		{"object", []string{"Sec-Fetch-Dest", "object", "Sec-Fetch-Mode", "navigate", "Accept", chromiumNavigation}, HTML},
		{"embed without mode", []string{"Sec-Fetch-Dest", "embed"}, HTML},
		{"frame", []string{"Sec-Fetch-Dest", "frame"}, HTML},
		{"fenced frame", []string{"Sec-Fetch-Dest", "fencedframe"}, HTML},
		{"mode alone", []string{"Sec-Fetch-Mode", "navigate"}, HTML},
		{"style", []string{"Sec-Fetch-Dest", "style", "Accept", "text/css,*/*;q=0.1"}, Bare},
		{"script", []string{"Sec-Fetch-Dest", "script", "Accept", "*/*"}, Bare},
		{"worker", []string{"Sec-Fetch-Dest", "worker", "Accept", "*/*"}, Bare},
		{"shared worker", []string{"Sec-Fetch-Dest", "sharedworker", "Accept", "*/*"}, Bare},
		{"service worker", []string{"Sec-Fetch-Dest", "serviceworker", "Accept", "*/*"}, Bare},
		{"manifest", []string{"Sec-Fetch-Dest", "manifest", "Accept", "*/*"}, Bare},
		{"font", []string{"Sec-Fetch-Dest", "font", "Accept", "*/*"}, Bare},
		{"video", []string{"Sec-Fetch-Dest", "video", "Accept", "*/*"}, Bare},
		{"audio", []string{"Sec-Fetch-Dest", "audio", "Accept", "*/*"}, Bare},
		{"track", []string{"Sec-Fetch-Dest", "track", "Accept", "*/*"}, Bare},
		{"image", []string{"Sec-Fetch-Dest", "image", "Accept", chromiumImage}, Bare},
		{"image whose address is opened", []string{"Sec-Fetch-Dest", "document", "Accept", chromiumImage}, HTML},
		{"fetch", []string{"Sec-Fetch-Dest", "empty", "Sec-Fetch-Mode", "cors", "Accept", "*/*"}, Problem},
		{"fetch of text", []string{"Sec-Fetch-Dest", "empty", "Accept", "text/plain"}, Text},
		{"fetch of an image", []string{"Sec-Fetch-Dest", "empty", "Accept", "image/avif,*/*;q=0.8"}, Problem},
		{"htmx", []string{"Sec-Fetch-Dest", "empty", "Accept", "text/html, */*"}, HTML},
		{"event source", []string{"Sec-Fetch-Dest", "empty", "Accept", "text/event-stream"}, Text},
		{"prefetch by link", []string{"Sec-Fetch-Dest", "empty", "Sec-Purpose", "prefetch", "Accept", chromiumNavigation}, Bare},
		{"prefetch with parameter", []string{"Sec-Purpose", "prefetch;anonymous-client-ip"}, Bare},
		{"prerender may be shown", []string{"Sec-Fetch-Dest", "document", "Sec-Purpose", "prefetch;prerender"}, HTML},
		{"unknown destination says nothing", []string{"Sec-Fetch-Dest", "toaster", "Accept", "text/html"}, HTML},
		{"Firefox navigation", []string{"Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}, HTML},
		{"Firefox 90 image", []string{"Accept", "image/webp,*/*"}, Bare},
		{"Firefox video", []string{"Accept", "video/webm,video/ogg,video/*;q=0.9,application/ogg;q=0.7,audio/*;q=0.6,*/*;q=0.5"}, Bare},
		{"Safari 15 navigation", []string{"Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}, HTML},
		{"Safari 15 image", []string{"Accept", "image/webp,image/avif,video/*;q=0.8,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5"}, Bare},
		{"old style sheet", []string{"Accept", "text/css,*/*;q=0.1"}, Bare},
		{"old image", []string{"Accept", "image/png"}, Bare},
		{"IE 11", []string{"Accept", "text/html, application/xhtml+xml, */*"}, HTML},
	} {
		t.Run(c.name, func(t *testing.T) { check(t, request(c.headers...), c.want) })
	}
}

// TestChooseProgram has what programs send.
func TestChooseProgram(t *testing.T) {
	for _, c := range []struct {
		name    string
		headers []string
		want    Format
	}{
		{"curl", []string{"Accept", "*/*"}, Text},
		{"wget", []string{"Accept", "*/*", "Accept-Encoding", "identity"}, Text},
		{"no Accept", nil, Text},
		{"empty Accept", []string{"Accept", ""}, Text},
		{"curl posts JSON", []string{"Accept", "*/*", "Content-Type", "application/json; charset=utf-8"}, Problem},
		{"curl --json", []string{"Accept", "application/json", "Content-Type", "application/json"}, JSON},
		{"posts some +json", []string{"Content-Type", "application/vnd.api+json"}, Problem},
		{"posts a form", []string{"Accept", "*/*", "Content-Type", "application/x-www-form-urlencoded"}, Text},
		{"XHR", []string{"Accept", "*/*", "X-Requested-With", "XMLHttpRequest"}, Problem},
		{"axios", []string{"Accept", "application/json, text/plain, */*"}, JSON},
		{"jQuery getJSON", []string{"Accept", "application/json, text/javascript, */*; q=0.01", "X-Requested-With", "XMLHttpRequest"}, JSON},
		{"Java", []string{"Accept", "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2"}, HTML},
		{"Java's HttpClient offers h2c", []string{"Connection", "Upgrade, HTTP2-Settings", "Upgrade", "h2c"}, Text},
		{"WebSocket", []string{"Connection", "keep-alive, Upgrade", "Upgrade", "websocket"}, Bare},
		{"WebSocket that looks like a page", []string{"Connection", "Upgrade", "Upgrade", "websocket", "Accept", "text/html"}, Bare},
		{"Upgrade that Connection doesn't name", []string{"Upgrade", "websocket", "Connection", "keep-alive"}, Text},
	} {
		t.Run(c.name, func(t *testing.T) { check(t, request(c.headers...), c.want) })
	}
}

// TestChooseAccept: the quality decides, then whether a type is named, then the order of formats.
func TestChooseAccept(t *testing.T) {
	for accept, want := range map[string]Format{
		"application/problem+json":                           Problem,
		"application/json":                                   JSON,
		"APPLICATION/JSON":                                   JSON,
		"application/json;charset=utf-8":                     JSON,
		"application/vnd.api+json":                           Problem,
		"application/ld+json; profile=\"a,b;q=0\"":           Problem,
		"application/json, application/problem+json":         Problem,
		"application/problem+json;q=0.5, application/json":   JSON,
		"application/xhtml+xml":                              HTML,
		"text/html;level=1":                                  HTML,
		"text/plain":                                         Text,
		"text/plain, text/html":                              HTML,
		"text/plain, text/html;q=0.9":                        Text,
		"text/*":                                             HTML,
		"text/html;q=0, text/*":                              Markdown,
		"text/*;q=0.3, text/plain;q=0.7, */*;q=0.5":          Text,
		"application/*":                                      Problem,
		"application/json;q=0, application/*":                Problem,
		"application/problem+json;q=0, application/*":        JSON,
		"text/html;q=0.5, application/json;q=0.8":            JSON,
		"text/html;q=0.801, application/json;q=0.8":          HTML,
		"text/html;q=0.5, */*;q=0.8":                         Text,
		"*/*;q=0":                                            Text,
		"*/*, text/plain;q=0":                                HTML,
		"text/html;q=0, text/plain;q=0, */*":                 Problem,
		"image/png, text/html;q=0.1":                         HTML,
		"application/pdf":                                    Text,
		"application/pdf, image/png":                         Text,
		"text/html;Q=0.1, text/plain;q=0.2":                  Text,
		"text/html;q=abc, text/plain":                        Text,
		"text/html;q=2, text/plain":                          Text,
		"text/html;q=-1, text/plain":                         Text,
		"text/html;q=1.1, text/plain":                        Text,
		"text/html;q=NaN, text/plain":                        Text,
		"text/html;q=, text/plain":                           Text,
		"text/html;q=0.0001, text/plain;q=0.001":             Text,
		"text/html ; q = 0.2 , text/plain ; q = 0.1":         HTML,
		",,;;,/,text/plain,":                                 Text,
		"\"text/html, text/plain":                            Text,
		"text/html;x=\"\\\",\";q=0.1, application/json;q=.2": JSON,
		"text/htm\xff\x00, application/json":                 JSON,
		"html":                                               Text,
	} {
		t.Run(accept, func(t *testing.T) { check(t, request("Accept", accept), want) })
	}
}

// TestChooseXMLAndMarkdown: only clients that name XML or Markdown, by any of their names, get
// them.
func TestChooseXMLAndMarkdown(t *testing.T) {
	for accept, want := range map[string]Format{
		"application/problem+xml":                                           XML,
		"application/xml":                                                   XML,
		"text/xml":                                                          XML,
		"text/xml;q=0.5, application/json;q=0.4":                            XML,
		"application/rss+xml":                                               XML,
		"application/rss+xml, application/xml;q=0.9, */*":                   XML,
		"application/atom+xml;type=entry":                                   XML,
		"application/xml, application/problem+json":                         Problem,
		"application/xml, text/html":                                        HTML,
		"application/xml;q=0.9, text/html;q=0.8":                            XML,
		"application/json;q=0, application/xml;q=0.1":                       XML,
		"application/problem+json;q=0, application/json;q=0, application/*": XML,
		"image/svg+xml":                                                     Bare,
		"text/markdown":                                                     Markdown,
		"text/markdown, text/html;q=0.9, */*;q=0.1":                         Markdown,
		"text/markdown, text/plain":                                         Markdown,
		"text/markdown;q=0.5, text/plain":                                   Text,
		"text/html;q=0, text/plain;q=0, text/*":                             Markdown,
		"text/markdown, text/html":                                          HTML,
		"text/markdown, application/json":                                   JSON,
	} {
		t.Run(accept, func(t *testing.T) { check(t, request("Accept", accept), want) })
	}
}

// TestChooseSeveralLines: a header may come as several lines.
func TestChooseSeveralLines(t *testing.T) {
	check(t, request("Accept", "text/plain;q=0.5", "Accept", "application/json"), JSON)
	check(t, request("Connection", "keep-alive", "Connection", "Upgrade", "Upgrade", "websocket"), Bare)
}

// TestChooseExtendedConnect: a WebSocket over HTTP/2 or HTTP/3 is recognised, too.
func TestChooseExtendedConnect(t *testing.T) {
	h2 := httptest.NewRequest(http.MethodConnect, "/chat", nil)
	h2.ProtoMajor, h2.Proto = 2, "HTTP/2.0"
	h2.Header[":protocol"] = []string{"websocket"}
	check(t, h2, Bare)

	h3 := httptest.NewRequest(http.MethodConnect, "/chat", nil)
	h3.ProtoMajor, h3.Proto = 3, "websocket"
	check(t, h3, Bare)

	plain := httptest.NewRequest(http.MethodConnect, "/", nil)
	plain.ProtoMajor, plain.Proto = 2, "HTTP/2.0"
	check(t, plain, Text)
}

// TestChooseHostile: what is beyond the limits is ignored, and costs next to nothing.
func TestChooseHostile(t *testing.T) {
	ranges := strings.Repeat("a/b;q=0.1,", 4000)
	check(t, request("Accept", "text/html,"+ranges), HTML)
	check(t, request("Accept", ranges+"text/html"), Text)
	check(t, request("Accept", strings.Repeat("x", 1<<20)), Text)
	check(t, request("Accept", "text/html;x=\""+strings.Repeat(",", 1<<20)), Text)
	check(t, request("Accept", strings.Repeat(",", 1<<20)), Text)
	check(t, request("Accept", "application/json,text/html;x="+strings.Repeat("y", maxAcceptBytes)), JSON)

	many := request()
	for range 4000 {
		many.Header.Add("Accept", "a/b")
	}
	many.Header.Add("Accept", "text/html")
	check(t, many, Text)

	start := time.Now()
	for range 100 {
		Choose(request("Accept", strings.Repeat("\"", 1<<20)))
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("100 headers of 1 MiB took %v", took)
	}
}

func check(t *testing.T, r *http.Request, want Format) {
	t.Helper()
	if got := Choose(r); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// remote are the formats of remote calls.
var remote = []Format{GRPC, GRPCWeb, GRPCWebText, Connect, ConnectStream}

// FuzzChoose: every request gets one of the formats, always the same, and that of a remote
// procedure call only if it says that it is one.
func FuzzChoose(f *testing.F) {
	f.Add("GET", chromiumNavigation, "document", "navigate", "", "", "", "", "")
	f.Add("POST", "*/*;q=0,\"", "empty", "cors", "prefetch", "application/json", "websocket", "", "")
	f.Add("CONNECT", "text/*;q=.,*;q=1.0000", "", "", ";", "+json", "h2c", "", "")
	f.Add("POST", "text/markdown,application/x+xml", "", "", "", "application/grpc-web-text+proto", "", "1", "")
	f.Add("GET", "text/event-stream", "empty", "", "", "application/connect+", "", "2", "connect=v1&%zz;=")
	f.Fuzz(func(t *testing.T, method, accept, dest, mode, purpose, contentType, upgrade, version, query string) {
		r := request("Accept", accept, "Sec-Fetch-Dest", dest, "Sec-Fetch-Mode", mode, "Sec-Purpose", purpose,
			"Content-Type", contentType, "Connection", "upgrade", "Upgrade", upgrade, "Connect-Protocol-Version", version)
		r.Method, r.URL.RawQuery = method, query
		got := Choose(r)
		if !slices.Contains(All(), got) || got == EventStream { // which the owner chooses
			t.Errorf("no format: %q", got)
		}
		if again := Choose(r); again != got {
			t.Errorf("%q, and then %q", got, again)
		}
		if calls := slices.Contains(remote, got); calls && !strings.Contains(strings.ToLower(contentType), "application/") && version != "1" && !strings.Contains(query, "v1") {
			t.Errorf("%q for what is no call", got)
		}
		if WantsEvents(r) && (method != http.MethodGet || !strings.Contains(strings.ToLower(accept), "text/event-stream")) {
			t.Error("wants events, but does not say so")
		}
	})
}

func BenchmarkChoose(b *testing.B) {
	for name, r := range map[string]*http.Request{
		"navigation": request("Accept", chromiumNavigation),
		"fetch":      request("Sec-Fetch-Dest", "empty", "Accept", "application/json, text/plain, */*"),
		"call":       request("Content-Type", "application/grpc-web-text+proto"),
		"events":     request("Sec-Fetch-Dest", "empty", "Accept", "text/event-stream"),
		"curl":       request("Accept", "*/*"),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Choose(r)
				WantsEvents(r)
			}
		})
	}
}
