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

	isPage   = `document.querySelector("h1")?.textContent.startsWith("Sorry")`
	isApp    = `document.title === "app"`
	stopText = `[...document.querySelectorAll("button")].find(b => /^stop/i.test(b.textContent.trim()))`
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
	a = newApp(t, page)
	site := freeAddress(t)
	runCaddy(t, fmt.Sprintf("http://%s {\n\tvisits\n\thealthpool %s%s\n}\n", site, a.address, options))
	return "http://" + site, a
}

func TestVisitorIsBroughtBack(t *testing.T) {
	for name, fragment := range map[string]string{"plain": "", "fragment": "#part"} {
		t.Run(name, func(t *testing.T) {
			b := openTab(t)
			site, a := newSite(t, "")
			b.visit(site + "/shelf?item=tea" + fragment)
			if b.eval(isPage) != "true" {
				t.Fatalf("want the page, got:\n%s", b.eval("document.documentElement.outerHTML"))
			}

			await(t, "the page polls", func() bool { return len(visits.polls()) > 0 })
			if n := visits.loads("/shelf"); n != 1 {
				t.Errorf("%d loads while the app was down, want 1", n)
			}
			a.start(t)
			b.await(isApp)
			never(t, "a second reload", quiet, func() bool { return visits.loads("/shelf") > 2 })
			if got, want := b.eval("location.href"), site+"/shelf?item=tea"+fragment; got != want {
				t.Errorf("brought back to %s, want %s", got, want)
			}
			if n := a.requests.loads("/shelf"); n != 1 {
				t.Errorf("the app was asked %d times, want once", n)
			}
			b.wantNoProblems()
		})
	}
}

func TestStopButton(t *testing.T) {
	b := openTab(t)
	site, a := newSite(t, pollQuickly)
	b.visit(site)
	await(t, "two polls", func() bool { return len(visits.polls()) >= 2 })
	polls := visits.polls()
	between := polls[1].at.Sub(polls[0].at)

	if b.eval(`Boolean(window.stopButton = `+stopText+`)`) != "true" {
		t.Fatalf("no Stop button:\n%s", b.eval("document.body.innerHTML"))
	}
	seen := len(visits.polls())
	await(t, "the next poll", func() bool { return len(visits.polls()) > seen })
	b.eval("window.stopButton.click()") // just after a poll: none is on its way
	stopped := len(visits.polls())
	never(t, "a poll after Stop was pressed", max(quiet, 3*between), func() bool { return len(visits.polls()) > stopped })

	b.eval("window.stopButton.click()")
	await(t, "a poll after the button was pressed again", func() bool { return len(visits.polls()) > stopped })
	a.start(t)
	b.await(isApp)
	b.wantNoProblems()
}

func TestStoppedPageStaysPut(t *testing.T) {
	b := openTab(t)
	site, a := newSite(t, pollQuickly)
	b.visit(site)
	await(t, "a poll", func() bool { return len(visits.polls()) > 0 })
	b.eval(stopText + ".click()")
	a.start(t)
	await(t, "the site is back", func() bool { status, _ := get(t, site+"/other"); return status == http.StatusOK })
	never(t, "a reload after Stop was pressed", max(quiet, 3*time.Second), func() bool { return visits.loads("/") > 1 })
	b.wantNoProblems()
}

func TestFormIsNeverSentAgain(t *testing.T) {
	b := openTab(t)
	site, a := newSite(t, " {\n\t\thold off\n\t}")
	a.start(t)
	b.visit(site)
	b.await(isApp)
	a.stop()
	b.do("sending the form", chromedp.Submit("form"))
	b.await(isPage)
	if n := len(a.requests.all(isPost)); n != 0 {
		t.Fatalf("the app got %d forms before it stopped", n)
	}

	before := b.eval("document.body.innerText")
	a.start(t)
	b.await(`/\bback\b/i.test(document.querySelector('[role="status"]')?.textContent ?? "")`)
	never(t, "the form is sent again, or the page left", 2*quiet, func() bool {
		return len(a.requests.all(isPost)) > 0 || b.try(isPage) != "true"
	})
	if n := len(visits.all(isPost)); n != 1 {
		t.Errorf("the browser sent the form %d times, want once", n)
	}
	t.Logf("at first: %s", before)
	t.Logf("at last: %s", b.eval("document.body.innerText"))
	b.wantNoProblems()
}

func isPost(v visit) bool { return v.method == http.MethodPost }

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
