package page

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/dunglas/httpsfv"

	"github.com/healthpool/caddy-healthpool/internal/cause"
	"github.com/healthpool/caddy-healthpool/internal/represent"
)

// TestVary: the names are added to those that Vary has already, each once.
func TestVary(t *testing.T) {
	const usual = "Accept, Accept-Language, Sec-Fetch-Dest"
	for _, c := range []struct {
		cors  []string
		there []string
		want  string
	}{
		{nil, nil, usual},
		{nil, []string{"Accept-Encoding"}, "Accept-Encoding, " + usual},
		{nil, []string{"Origin", "accept,Cookie"}, "Origin, accept,Cookie, Accept-Language, Sec-Fetch-Dest"},
		{nil, []string{"*"}, "*"},
		{nil, []string{""}, usual},
		{[]string{"*"}, nil, usual},
		{[]string{"*", "https://a.example"}, nil, usual + ", Origin"},
		{[]string{"https://a.example"}, []string{"Cookie"}, "Cookie, " + usual + ", Origin"},
		{[]string{"https://a.example"}, []string{"origin"}, "origin, " + usual},
	} {
		w := httptest.NewRecorder()
		w.Header()["Vary"] = c.there
		if err := newPage(t, Options{CORS: c.cors}).Respond(w, ask(http.MethodGet), represent.Text, notice()); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(w.Header()["Vary"], " | "); got != c.want {
			t.Errorf("%v %q: got %q, want %q", c.cors, c.there, got, c.want)
		}
	}
}

// TestProxyStatus: the header is a structured field that names the proxy, as a
// token if it can be one, and the cause.
func TestProxyStatus(t *testing.T) {
	for name, token := range map[string]bool{
		"cdn.example:443": true, "*edge": true, "My proxy": false, `say "hi" \o/`: false, "9to5": false,
	} {
		p := newPage(t, Options{ProxyStatus: name})
		for _, c := range cause.All() {
			n := notice()
			n.Cause = c
			value := p.respond(t, ask(http.MethodGet), represent.Problem, n).Header()["Proxy-Status"]
			list, err := httpsfv.UnmarshalList(value)
			if err != nil || len(list) != 1 {
				t.Fatalf("%q is no list of one: %v", value, err)
			}
			item, _ := list[0].(httpsfv.Item)
			var want any = name
			if token {
				want = httpsfv.Token(name)
			}
			if item.Value != want {
				t.Errorf("%q: the name is %#v, want %#v", value, item.Value, want)
			}
			if got, _ := item.Params.Get("error"); got != httpsfv.Token(c) || len(item.Params.Names()) != 1 {
				t.Errorf("%q: the error is %#v, want %s", value, got, c)
			}
		}
	}
	if value, ok := answer(t, http.MethodGet, represent.Problem, notice()).Header()["Proxy-Status"]; ok {
		t.Errorf("without a name there is %q", value)
	}
}

// corsOf returns the headers of CORS, without their common prefix.
func corsOf(h http.Header) map[string]string {
	got := map[string]string{}
	for name, values := range h {
		if short, ok := strings.CutPrefix(name, "Access-Control-"); ok {
			got[short] = strings.Join(values, " | ")
		}
	}
	return got
}

// TestCORS: an origin that the owner lists may read the answer, with cookies; any
// origin may without them, if the owner lists the star; others may not.
func TestCORS(t *testing.T) {
	listed, star := []string{"https://app.example.com", "http://localhost:3000"}, []string{"*"}
	for _, c := range []struct {
		name               string
		cors               []string
		origin             string
		allow, credentials string
	}{
		{"listed", listed, "https://app.example.com", "https://app.example.com", "true"},
		{"with a port", listed, "http://localhost:3000", "http://localhost:3000", "true"},
		{"not listed", listed, "https://evil.example", "", ""},
		{"another scheme", listed, "http://app.example.com", "", ""},
		{"begins like a listed one", listed, "https://app.example.com.evil.example", "", ""},
		{"null", listed, "null", "", ""},
		{"no origin", listed, "", "", ""},
		{"any", star, "https://evil.example", "*", ""},
		{"any, null", star, "null", "*", ""},
		{"any, no origin", star, "", "", ""},
		{"any, but listed", append(star, listed...), "https://app.example.com", "https://app.example.com", "true"},
		{"off", nil, "https://app.example.com", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPage(t, Options{CORS: c.cors})
			for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodOptions} {
				r := ask(method)
				if c.origin != "" {
					r.Header.Set("Origin", c.origin)
				}
				w := p.respond(t, r, represent.Problem, notice())
				got := corsOf(w.Header())
				if w.Code != 503 || got["Allow-Origin"] != c.allow || got["Allow-Credentials"] != c.credentials {
					t.Errorf("%s: got %d %v", method, w.Code, got)
				}
				if exposes := strings.Contains(got["Expose-Headers"], "Retry-After"); exposes != (c.allow != "") {
					t.Errorf("%s: exposes Retry-After: %v", method, exposes)
				}
			}
		})
	}
}

// preflight is a request by which a browser asks whether it may send another.
func preflight(origin string) *http.Request {
	r := ask(http.MethodOptions, "Access-Control-Request-Method", "PATCH", "Access-Control-Request-Headers", "content-type,x-a")
	if origin != "" {
		r.Header.Set("Origin", origin)
	}
	return r
}

// TestCORSPreflight: the preflight of a listed origin is granted what it asks for, and is not
// cached: if it failed, the outage would look like a mistake of the app.
func TestCORSPreflight(t *testing.T) {
	const origin = "https://app.example.com"
	p := newPage(t, Options{CORS: []string{origin}})
	want := map[string]string{
		"Allow-Origin": origin, "Allow-Credentials": "true", "Allow-Methods": "PATCH", "Allow-Headers": "content-type,x-a", "Max-Age": "0",
	}
	for _, asks := range []bool{true, false} {
		r := preflight(origin)
		if !asks { // for headers
			r.Header.Del("Access-Control-Request-Headers")
			delete(want, "Allow-Headers")
		}
		w := p.respond(t, r, represent.Text, notice())
		got := corsOf(w.Header())
		delete(got, "Expose-Headers")
		if !maps.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		if w.Code != http.StatusNoContent || w.Body.Len() > 0 {
			t.Errorf("got %d %q", w.Code, w.Body)
		}
		checkConstant(t, w.Header(), usualVary+", Origin")
	}
}

// checkConstant checks the headers that every response has, and that one without content has
// no language.
func checkConstant(t *testing.T, h http.Header, vary string) {
	t.Helper()
	for name, want := range map[string]string{
		"Cache-Control": "no-store", "Vary": vary, "X-Robots-Tag": "noindex", "X-Content-Type-Options": "nosniff",
	} {
		if got := strings.Join(h[name], " | "); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if got, is := h["Content-Language"]; is {
		t.Errorf("Content-Language: %q", got)
	}
}

// TestRespondToPoll: a page learns from the status whether to come back, and when; nothing of
// an earlier handler is left.
func TestRespondToPoll(t *testing.T) {
	for up, status := range map[bool]int{true: http.StatusNoContent, false: http.StatusServiceUnavailable} {
		w := httptest.NewRecorder()
		for _, name := range stale {
			w.Header().Set(name, "old")
		}
		RespondToPoll(w, up, 7)
		if w.Code != status || w.Body.Len() > 0 || w.Header().Get("Retry-After") != "7" || len(w.Header()) != 5 {
			t.Errorf("up %v: got %d %q %v", up, w.Code, w.Body, w.Header())
		}
		checkConstant(t, w.Header(), usualVary)
	}
}

// TestCORSNoPreflight: a request that is no preflight, or not one of a listed origin, gets the
// error.
func TestCORSNoPreflight(t *testing.T) {
	const origin = "https://app.example.com"
	p := newPage(t, Options{CORS: []string{origin}})
	get := preflight(origin)
	get.Method = http.MethodGet
	for name, r := range map[string]*http.Request{
		"not listed": preflight("https://evil.example"), "no origin": preflight(""),
		"asks for nothing": ask(http.MethodOptions, "Origin", origin), "not by method": get,
	} {
		w := p.respond(t, r, represent.Text, notice())
		if got := corsOf(w.Header()); w.Code != http.StatusServiceUnavailable || got["Allow-Methods"] != "" || got["Allow-Headers"] != "" {
			t.Errorf("%s: got %d %v", name, w.Code, got)
		}
	}
}

// TestCORSPreflightOverOthers: the answer to a preflight has no headers about a body.
func TestCORSPreflightOverOthers(t *testing.T) {
	w := httptest.NewRecorder()
	for _, name := range stale {
		w.Header().Set(name, "old")
	}
	if err := newPage(t, Options{CORS: []string{"*"}}).Respond(w, preflight("https://app.example.com"), represent.Text, notice()); err != nil {
		t.Fatal(err)
	}
	for _, name := range stale {
		if v := w.Header().Get(name); v == "old" {
			t.Errorf("%s is still there", name)
		}
	}
}
