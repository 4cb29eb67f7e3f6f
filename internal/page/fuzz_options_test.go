package page

import (
	"bytes"
	"image"
	"image/png"
	"net/http"
	"strings"
	"testing"

	"github.com/dunglas/httpsfv"
	"golang.org/x/net/http/httpguts"

	"github.com/healthpool/caddy-healthpool/internal/represent"
)

// FuzzOptions: options are either refused, or every header and link made from them is valid.
func FuzzOptions(f *testing.F) {
	f.Add("#767676", "https://app.example.com", "edge", "https://status.example.com", "de")
	f.Add("767676", "*", "my proxy", "mailto:a@example.com?subject=%0d%0a", "pt-br")
	f.Add("#ffffff", "https://a.example/", "a\"b\\c", "javascript:alert(1)", "zh-Hant-HK-x-a")
	f.Add("#1_2345", "HTTPS://A:443", "é\r\n", " https://a", "")
	f.Add("+12345", "https://*.a", "\x7f", "tel:+1\x00", "i-klingon")
	f.Fuzz(func(t *testing.T, color, origin, name, link, language string) {
		o := Options{Color: color, CORS: []string{origin}, ProxyStatus: name, Links: []Link{{"a", link}}, Languages: []string{language}}
		p, err := New(o)
		if err != nil {
			return
		}
		w := p.respond(t, ask(http.MethodGet, "Origin", origin), represent.HTML, notice())
		checkHeaders(t, w.Header())
		if allowed := w.Header().Get("Access-Control-Allow-Origin"); allowed != origin {
			t.Errorf("allowed %q, want %q", allowed, origin)
		}
		if _, err := httpsfv.UnmarshalList(w.Header()["Proxy-Status"]); err != nil {
			t.Errorf("%q: %q: %v", name, w.Header()["Proxy-Status"], err)
		}
		_, _, plain := harmless(Notice{service: "a", Reference: "a", Poll: "a"}).answered(t, represent.HTML)
		body := w.Body.String()
		if strings.Count(body, "<a ") != strings.Count(plain, "<a ") || strings.Count(body, "<script") != strings.Count(plain, "<script") {
			t.Errorf("other elements than usual: %s", body)
		}
	})
}

// checkHeaders checks that headers are valid.
func checkHeaders(t *testing.T, h http.Header) {
	t.Helper()
	for name, values := range h {
		for _, value := range values {
			if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
				t.Errorf("%q: %q", name, value)
			}
		}
	}
}

// FuzzColor: the error about a colour with too little contrast names one with enough.
func FuzzColor(f *testing.F) {
	for _, s := range []string{"#767676", "767676", "#000000", "#ffffff", "#12345", "##12345", "#+12345", "#0x1234", "#1_2_34", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := parseAccent(s)
		if err == nil {
			if !isLegible(c) || !strings.EqualFold(strings.TrimPrefix(s, "#"), c.String()[1:]) {
				t.Errorf("%q is %v", s, c)
			}
			return
		}
		if _, better, found := strings.Cut(err.Error(), "the nearest that passes is "); found {
			if _, err := parseAccent(better); err != nil {
				t.Errorf("%q: %v", s, err)
			}
		}
	})
}

// FuzzLogo: what is accepted as an image is one that a page can show.
func FuzzLogo(f *testing.F) {
	var dot bytes.Buffer
	if err := png.Encode(&dot, image.NewGray(image.Rect(0, 0, 1, 1))); err != nil {
		f.Fatal(err)
	}
	f.Add(dot.Bytes())
	f.Add(dot.Bytes()[:dot.Len()-9])
	for _, svg := range []string{
		`<svg xmlns="http://www.w3.org/2000/svg"/>`, `<?xml version="1.0"?><!-- a --><svg xmlns="http://www.w3.org/2000/svg"><path d="M0 0"/></svg>`,
		`<svg/>`, `<svg xmlns="http://www.w3.org/2000/svg"/><svg xmlns="http://www.w3.org/2000/svg"/>`, `<svg xmlns="http://www.w3.org/2000/svg">`,
		`<!DOCTYPE svg [<!ENTITY a "b">]><svg xmlns="http://www.w3.org/2000/svg">&a;</svg>`, `<html><svg xmlns="http://www.w3.org/2000/svg"/></html>`,
		"\x89PNG\r\n\x1a\n", "\xef\xbb\xbf<svg xmlns='http://www.w3.org/2000/svg'/>", "GIF89a",
	} {
		f.Add([]byte(svg))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		switch imageType(content) {
		case "image/png":
			if size, err := png.DecodeConfig(bytes.NewReader(content)); err != nil || size.Width > 2048 || size.Height > 2048 {
				t.Errorf("%q: %v %v", content, size, err)
			}
		case "image/svg+xml":
			if !bytes.Contains(content, []byte("svg")) || !bytes.Contains(content, []byte("http://www.w3.org/2000/svg")) {
				t.Errorf("%q", content)
			}
		case "":
		default:
			t.Errorf("%q is a %q", content, imageType(content))
		}
	})
}

// FuzzCORS: whatever another origin asks, and whatever headers were set before, the headers are
// valid and allow only the origins that the owner lists.
func FuzzCORS(f *testing.F) {
	f.Add(http.MethodOptions, "https://app.example.com", "PUT", "X-A, X-B", "Accept")
	f.Add(http.MethodGet, "HTTPS://APP.EXAMPLE.COM", "", "", "*")
	f.Add(http.MethodOptions, "null", "GET", "*", "origin,, ,ACCEPT")
	f.Add("POST", "https://app.example.com.evil.example", "PUT", "\t", "")
	p := must(New(Options{CORS: []string{"https://app.example.com"}}))
	f.Fuzz(func(t *testing.T, method, origin, wants, headers, vary string) {
		for _, value := range []string{origin, wants, headers, vary} {
			if !httpguts.ValidHeaderFieldValue(value) {
				t.Skip() // no server lets that through
			}
		}
		r := ask(http.MethodGet, "Origin", origin, "Access-Control-Request-Method", wants, "Access-Control-Request-Headers", headers)
		r.Method = method
		for _, format := range []represent.Format{represent.HTML, represent.Problem, represent.GRPCWeb} {
			h := make(http.Header)
			h.Set("Vary", vary)
			w := &discard{h}
			if err := p.Respond(w, r, format, notice()); err != nil {
				t.Fatal(err)
			}
			checkHeaders(t, h)
			if allowed := h.Get("Access-Control-Allow-Origin"); allowed != "" && !strings.EqualFold(allowed, "https://app.example.com") {
				t.Errorf("%q is let", allowed)
			}
			if all := strings.Join(h["Vary"], ","); !hasName(all, "Accept") || !hasName(all, "Origin") {
				t.Errorf("varies by %q", all)
			}
		}
	})
}
