package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// heed keeps, over a reload, what the page goes on to announce, and when it began.
const heed = `new MutationObserver(changes => {
	sessionStorage.heard = (sessionStorage.heard ?? "") + changes[0].target.textContent + ";"
	sessionStorage.heardAt ??= Date.now()
}).observe(` + pageStatus + `, {childList: true})`

// TestVisitorIsBroughtBack: the page says what it does, announces the site when it is back, and opens it half a second
// later, once, at the place that the visitor wanted.
func TestVisitorIsBroughtBack(t *testing.T) {
	words := english(t)
	for name, fragment := range map[string]string{"plain": "", "fragment": "#part"} {
		t.Run(name, func(t *testing.T) {
			b := openTab(t)
			site, a := newSite(t, "")
			b.visit(site + "/shelf?item=tea" + fragment)
			b.await(isPage)
			b.wantText("document.querySelector('h1')", words["title"])
			b.wantText(pageStatus, words["watching"])
			if b.isShown(pageWhen) || !b.isShown(pageLink) || !b.isShown(pageStop) {
				t.Errorf("want a link, Stop, and no sentence on when to come back:\n%s", b.eval("document.body.innerHTML"))
			}

			b.eval(heed)
			await(t, "the page polls", func() bool { return len(visits.polls()) > 0 })
			if n := visits.loads("/shelf"); n != 1 {
				t.Errorf("%d loads while the app was down, want 1", n)
			}
			a.start(t)
			b.await(isApp)
			b.wantText("({textContent: sessionStorage.heard})", words["back"]+";")
			if b.eval("performance.timeOrigin - sessionStorage.heardAt >= 450") != "true" {
				t.Error("the site was opened before its announcement could be heard")
			}
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

// TestStopButton: Stop stops the polls and gives back the sentence on when to come back; pressed again, the button
// has the page go on.
func TestStopButton(t *testing.T) {
	words := english(t)
	b := openTab(t)
	site, a := newSite(t, pollQuickly)
	b.visit(site)
	await(t, "two polls", func() bool { return len(visits.polls()) >= 2 })
	polls := visits.polls()
	between := polls[1].at.Sub(polls[0].at)

	seen := len(visits.polls())
	await(t, "the next poll", func() bool { return len(visits.polls()) > seen })
	b.eval(pageStop + ".click()") // just after a poll: none is on its way
	stopped := len(visits.polls())
	b.wantText(pageStop, words["resume"])
	b.wantText(pageStatus, "")
	if !b.isShown(pageWhen) {
		t.Error("want the sentence on when to come back")
	}
	never(t, "a poll after Stop was pressed", max(quiet, 3*between), func() bool { return len(visits.polls()) > stopped })

	b.eval(pageStop + ".click()")
	b.wantText(pageStop, words["stop"])
	b.wantText(pageStatus, words["watching"])
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
	b.eval(pageStop + ".click()")
	a.start(t)
	await(t, "the site is back", func() bool { status, _ := get(t, site+"/other"); return status == http.StatusOK })
	never(t, "a reload after Stop was pressed", max(quiet, 3*time.Second), func() bool { return visits.loads("/") > 1 })
	b.wantNoProblems()
}

// TestStopAtTheLastMoment: Stop still helps when the site has been announced already.
func TestStopAtTheLastMoment(t *testing.T) {
	words := english(t)
	b := openTab(t)
	site, a := newSite(t, pollQuickly)
	b.visit(site)
	b.await(isPage)
	b.eval(fmt.Sprintf(`new MutationObserver(() => %s.textContent === %q && %s.click()).observe(%[1]s, {childList: true})`,
		pageStatus, words["back"], pageStop))
	a.start(t)
	b.await(pageStop + `.textContent === "` + words["resume"] + `"`)
	never(t, "a reload after Stop was pressed", quiet, func() bool { return visits.loads("/") > 1 })
	b.wantText(pageStatus, "")
	b.wantNoProblems()
}

// TestPageThatComesAgainSlowsDown: if the site that was opened is this page again, it is opened ever less often.
func TestPageThatComesAgainSlowsDown(t *testing.T) {
	b := openTab(t)
	site, a := newSiteOf(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodHead { // who asks whether it is back is told a lie
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	},
		" {\n\t\tpage {\n\t\t\tintercept 503\n\t\t}\n\t}")
	a.start(t)
	b.visit(site)
	isLoad := func(v visit) bool { return v.method == http.MethodGet }
	await(t, "three reloads", func() bool { return len(visits.all(isLoad)) >= 4 })
	loads := visits.all(isLoad)
	for i, least := range []time.Duration{1900 * time.Millisecond, 3400 * time.Millisecond} {
		if between := loads[i+2].at.Sub(loads[i+1].at); between < least {
			t.Errorf("reload %d came %v after the one before, want at least %v", i+2, between, least)
		}
	}
	b.wantNoProblems()
}

// TestFrameIsBroughtBack: a page in a frame opens the site there, and leaves the document around it alone.
func TestFrameIsBroughtBack(t *testing.T) {
	b := openTab(t)
	site, a := newSite(t, pollQuickly)
	var loads atomic.Int64
	around := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		loads.Add(1)
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, `<!doctype html><title>around</title><link rel="icon" href="data:,"><iframe src="%s/shelf"></iframe>`, site)
	}))
	defer around.Close()
	b.visit(around.URL)
	await(t, "the page polls", func() bool { return len(visits.polls()) > 0 })
	a.start(t)
	await(t, "the frame shows the app", func() bool { return a.requests.loads("/shelf") > 0 })
	never(t, "a second reload", quiet, func() bool { return visits.loads("/shelf") > 2 || loads.Load() > 1 })
	b.wantText("document.querySelector('title')", "around")
	b.wantNoProblems()
}

// TestHiddenTabSlowsDown: a page that nobody sees asks four times less often, and at once when it is seen again.
func TestHiddenTabSlowsDown(t *testing.T) {
	b := openTab(t)
	site, _ := newSite(t, pollQuickly)
	b.visit(site)
	await(t, "a poll", func() bool { return len(visits.polls()) > 0 })
	inFront, goAway := chromedp.NewContext(b.ctx, chromedp.WithNewWindow(false))
	defer goAway()
	if err := chromedp.Do(inFront); err != nil {
		t.Fatal(err)
	}
	b.await("document.hidden")
	hidden := len(visits.polls())
	await(t, "two polls of a hidden page", func() bool { return len(visits.polls()) >= hidden+2 })
	polls := visits.polls()
	if between := polls[hidden+1].at.Sub(polls[hidden].at); between < 3900*time.Millisecond {
		t.Errorf("%v between the polls of a hidden page, want 4 s: the server said at least 1 s", between)
	}

	goAway()
	b.await("!document.hidden")
	shown := time.Now()
	await(t, "a poll of a page that is seen again", func() bool { return len(visits.polls()) > hidden+2 })
	if took := time.Since(shown); took > 2*time.Second {
		t.Errorf("the page asked only %v after it was seen again", took)
	}
	b.wantNoProblems()
}

// TestPluginIsRemoved: a page opens the site of a Caddy that knows nothing of it.
func TestPluginIsRemoved(t *testing.T) {
	b, url, a, remove := openUnderPlugin(t)
	a.start(t)
	remove()
	b.await(isApp)
	never(t, "a second reload", quiet, func() bool { return visits.loads("/") > 2 })
	b.wantText("({textContent: location.href})", url+"/")
	b.wantNoProblems()
}

// TestPluginIsRemovedInAnOutage: while a Caddy that knows nothing of the page fails as well, the page stays, and asks
// ever less often.
func TestPluginIsRemovedInAnOutage(t *testing.T) {
	b, url, _, remove := openUnderPlugin(t)
	remove()
	if status, _ := get(t, url); status != http.StatusBadGateway {
		t.Fatalf("status %d of a plain proxy, want 502", status)
	}
	removed := len(visits.polls())
	await(t, "three polls", func() bool { return len(visits.polls()) >= removed+3 })
	polls := visits.polls()[removed:]
	first, second := polls[1].at.Sub(polls[0].at), polls[2].at.Sub(polls[1].at)
	if first < 1400*time.Millisecond || second < 2900*time.Millisecond {
		t.Errorf("%v and %v between polls, want about 2 s and 4 s", first, second)
	}
	if n := visits.loads("/"); n != 2 { // with that of this test
		t.Errorf("%d loads, want no reload", n)
	}
	b.wantText(pageStatus, english(t)["watching"])
	b.wantNoProblems()
}

// openUnderPlugin opens the page of an app that is down. Remove has Caddy run the same site without the plugin.
func openUnderPlugin(t *testing.T) (b *tab, url string, a *app, remove func()) {
	t.Helper()
	b, a = openTab(t), newApp(t, page)
	address := freeAddress(t)
	site := "http://" + address + " {\n\tvisits\n\t%s " + a.address + "\n}\n"
	reload := runCaddy(t, fmt.Sprintf(site, "healthpool"))
	b.visit("http://" + address)
	b.await(isPage)
	await(t, "a poll", func() bool { return len(visits.polls()) > 0 })
	return b, "http://" + address, a, func() { reload(fmt.Sprintf(site, "reverse_proxy")) }
}
