package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

const (
	// quiet is how long a test looks on when nothing may happen.
	quiet = 1500 * time.Millisecond

	// pollQuickly is a block of options.
	pollQuickly = " {\n\t\tpage {\n\t\t\tretry_after 1s\n\t\t}\n\t}"

	isPage = `document.readyState === "complete" && document.querySelector("main > h1") !== null`
	isApp  = `document.title === "app"`

	// Parts of the page.
	pageStatus = `document.querySelector('p[role="status"]')`
	pageWhen   = `document.querySelector(".when")`
	pageLink   = `document.querySelector(".do a")`
	pageResend = `document.querySelector("button.go")`
	pageStop   = `document.querySelector("button:not(.go)")`
)

// page is an app that a browser can look at.
func page(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprintf(w, `<!doctype html><html lang="en"><title>app</title><link rel="icon" href="data:,">
<p id="method">%s</p><p id="part">here</p>
<form method="post" action="/order"><input name="item" value="tea"><button>Order</button></form></html>`, r.Method)
}

// newSite runs Caddy with healthpool, with a block of options or none, in front of an app that is down, and notes the
// visits.
func newSite(t *testing.T, options string) (url string, a *app) {
	t.Helper()
	return newSiteOf(t, page, options)
}

// newSiteOf is newSite with another app.
func newSiteOf(t *testing.T, handler http.HandlerFunc, options string) (url string, a *app) {
	t.Helper()
	a = newApp(t, handler)
	site := freeAddress(t)
	runCaddy(t, fmt.Sprintf("http://%s {\n\tvisits\n\thealthpool %s%s\n}\n", site, a.address, options))
	return "http://" + site, a
}

// isShown tells whether a visitor sees a part of the page.
func (b *tab) isShown(part string) bool {
	b.t.Helper()
	return b.eval(part+"?.checkVisibility() === true") == "true"
}

// wantText fails the test if a part of the page says something else.
func (b *tab) wantText(part, want string) {
	b.t.Helper()
	if got := b.eval(part + "?.textContent"); got != want {
		b.t.Errorf("%s says %q, want %q", part, got, want)
	}
}

func TestImageGetsNoBody(t *testing.T) {
	b := openTab(t)
	dead, _ := newSite(t, "")
	gallery := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, `<!doctype html><title>gallery</title><link rel="icon" href="data:,">
<img alt="" src="%s/picture.png" onerror="document.title = 'error'" onload="document.title = 'load'">`, dead)
	}))
	defer gallery.Close()

	var status, length atomic.Int64
	var mime atomic.Value
	err := chromedp.Listen(b.ctx, func(event any) {
		switch event := event.(type) {
		case *network.EventResponseReceived:
			if strings.HasPrefix(event.Response.URL, dead) {
				status.Store(event.Response.Status)
				mime.Store(event.Response.MimeType)
				length.Store(0)
			}
		case *network.EventDataReceived:
			length.Add(event.DataLength)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	b.visit(gallery.URL)
	b.await(`document.title === "error"`)
	if s := status.Load(); s < 502 || s > 504 {
		t.Errorf("status %d, want 502 to 504", s)
	}
	if n := length.Load(); n != 0 {
		t.Errorf("a body of %d bytes (%v), want none", n, mime.Load())
	}
	b.wantNoProblems()
}
