package e2e

import (
	"bytes"
	"fmt"
	"image/png"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/chromedp/chromedp"
)

const (
	statusRole   = `document.querySelector('[role="status"]')`
	statusButton = `document.querySelector("button")`
	statusShop   = `document.querySelector('section[data-name="shop"]')`

	// refreshed is longer than the status page takes to look again.
	refreshed = 6 * time.Second
)

// newStatusPage runs Caddy with a status page of two pools: shop, whose app is up, and other, whose app is down.
func newStatusPage(t *testing.T) (url string, shop *app, reload func()) {
	t.Helper()
	shop = newApp(t, page)
	shop.start(t)
	address := freeAddress(t)
	sites := fmt.Sprintf(`http://%s {
	visits
	healthpool_status /status
	healthpool /shop %s {
		name shop
	}
	healthpool %s {
		name other
	}
}
`, address, shop.address, freeAddress(t))
	load := runCaddy(t, sites)
	return "http://" + address + "/status", shop, func() { load(sites) }
}

// visitStatus loads the page once the shop is up.
func (b *tab) visitStatus(url string) {
	b.t.Helper()
	await(b.t, "the shop is up", func() bool {
		b.visit(url)
		return b.eval(statusShop+".dataset.state") == "up"
	})
}

// heedStatus keeps what the status page announces.
const heedStatus = `(window.heard = [], new MutationObserver(() => heard.push(` + statusRole + `.textContent.replace(/^\S+ UTC: /, "")))
	.observe(` + statusRole + `, {childList: true, characterData: true, subtree: true}))`

// TestStatusPageRefreshes: the page shows in place what becomes of a pool, and announces that and nothing else. Focus,
// scrolling and a selection stay.
func TestStatusPageRefreshes(t *testing.T) {
	b := openTab(t)
	url, shop, _ := newStatusPage(t)
	b.do("narrow", chromedp.EmulateViewport(320, 480))
	b.visitStatus(url)
	b.eval(heedStatus)
	b.eval(`(window.link = document.querySelector('nav a[href="#pool-shop"]')).focus({preventScroll: true})`)
	const top = statusShop + ".getBoundingClientRect().top"
	b.eval(`(scrollTo(0, 300), window.top0 = ` + top + `, getSelection().selectAllChildren(` + statusShop + `.querySelector("code")))`)

	shop.stop()
	b.await(statusShop + `.dataset.state === "down"`)
	b.wantText(statusShop+`.querySelector(".note b")`, "connection_refused")
	b.wantText(`document.querySelector("h1")`, "Of 2 pools, 2 down")
	shop.start(t)
	b.await(statusShop + `.dataset.state === "up"`)
	if b.eval(statusShop+`.querySelector(".note")`) != "null" {
		t.Error("the cause is still shown")
	}
	seen := b.eval(`document.querySelector("#at").textContent`)
	b.await(fmt.Sprintf(`document.querySelector("#at").textContent !== %q`, seen)) // a refresh without news

	b.wantText("({textContent: heard.join(' ')})", "shop is down. shop is up.")
	b.wantText("({textContent: document.title})", "Of 2 pools, 1 down, 1 up")
	if b.eval("document.activeElement === link") != "true" || b.eval("top0 === "+top) != "true" {
		t.Errorf("focus or scrolling is lost: %s, from %s to %s", b.eval("document.activeElement.outerHTML"), b.eval("top0"), b.eval(top))
	}
	if got := b.eval("getSelection()"); got != shop.address {
		t.Errorf("%q is selected, want %q", got, shop.address)
	}
	b.wantNoProblems()
}

// TestStatusPagePause: paused, the page stays as it is; resumed, it is up to date at once.
func TestStatusPagePause(t *testing.T) {
	b := openTab(t)
	url, shop, _ := newStatusPage(t)
	b.visitStatus(url)
	b.eval(statusButton + ".click()")
	b.wantText(statusButton, "Resume")
	loads := visits.loads("/status")
	shop.stop()
	never(t, "a refresh while paused", refreshed+2*time.Second, func() bool { return visits.loads("/status") > loads })
	b.eval(`document.querySelector(".do a").click()`)
	b.await(statusShop + `.dataset.state === "down"`)
	never(t, "a refresh that nobody asked for", refreshed, func() bool { return visits.loads("/status") > loads+1 })
	b.eval(statusButton + ".click()")
	b.wantText(statusButton, "Pause")
	await(t, "a refresh at once", func() bool { return visits.loads("/status") == loads+2 })
	await(t, "refreshes go on", func() bool { return visits.loads("/status") == loads+3 })
	b.wantNoProblems()
}

// TestStatusPageHidden: a tab that nobody sees asks seldom, and is up to date at once when it is seen again.
func TestStatusPageHidden(t *testing.T) {
	b := openTab(t)
	url, _, _ := newStatusPage(t)
	b.visitStatus(url)
	b.eval(`Object.defineProperty(document, "hidden", {value: true, configurable: true})`)
	loads := visits.loads("/status")
	await(t, "the refresh that was due", func() bool { return visits.loads("/status") == loads+1 })
	never(t, "another one", refreshed, func() bool { return visits.loads("/status") > loads+1 })
	b.eval(`delete document.hidden && document.dispatchEvent(new Event("visibilitychange"))`)
	await(t, "a refresh at once", func() bool { return visits.loads("/status") == loads+2 })
	b.wantNoProblems()
}

// TestStatusPageWithoutCaddy: the page says when what it shows is old, once, and when it no longer is.
func TestStatusPageWithoutCaddy(t *testing.T) {
	b := openTab(t)
	url, _, reload := newStatusPage(t)
	b.visitStatus(url)
	b.eval(heedStatus)
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	b.await(`document.title.startsWith("(old) ")`)
	b.await(statusRole + `.textContent.startsWith("Caddy cannot be reached. What you see is how it was at ")`)
	never(t, "it says so again", refreshed, func() bool { return b.eval("heard.length") != "1" })
	reload()
	b.await(`!document.title.startsWith("(old) ")`)
	b.await("heard.length > 1")
}

// TestStatusPageAccessible has axe look at the page in each theme, narrow and wide, with and without script.
func TestStatusPageAccessible(t *testing.T) {
	source := axeSource(t)
	b := openTab(t)
	url := troubledSite(t)
	for _, script := range []bool{true, false} {
		b.do("with script or without", disableScript(!script))
		b.visit(url)
		b.do("with script", disableScript(false))
		if got := b.eval(statusButton + ".checkVisibility()"); got != fmt.Sprint(script) {
			t.Errorf("with script: %t, a button is shown: %s", script, got)
		}
		b.injectAxe(source)
		for _, c := range conditions() {
			what := fmt.Sprintf("script: %t, %s", script, c.name)
			b.do(what, emulateMedia("", c.features), chromedp.EmulateViewport(c.width, 640))
			b.axe(what, kind{})
			b.wantRoom(what)
		}
		b.eval(`document.documentElement.style.fontSize = "200%"`)
		b.do("narrow", chromedp.EmulateViewport(320, 640))
		b.wantRoom(fmt.Sprintf("script: %t, text of double size", script))
	}
	b.wantNoProblems()
}

// troubledSite runs Caddy with a pool of which one app is dead, one slow, one flaps and one is well, and another pool.
func troubledSite(t *testing.T) (url string) {
	t.Helper()
	var checks atomic.Int64
	handlers := map[string]http.HandlerFunc{
		"well": func(http.ResponseWriter, *http.Request) {},
		"slow": func(http.ResponseWriter, *http.Request) { time.Sleep(150 * time.Millisecond) },
		"flapping": func(w http.ResponseWriter, _ *http.Request) {
			if n := checks.Add(1); n%7 > 3 || n%11 == 1 {
				w.WriteHeader(http.StatusInternalServerError)
			}
		},
	}
	addresses := freeAddress(t)
	for _, name := range []string{"well", "slow", "flapping"} {
		a := newApp(t, handlers[name])
		a.start(t)
		addresses += " " + a.address
	}
	const quickly = "health_uri /\n\t\thealth_interval 200ms\n\t\thealth_edge_interval 200ms\n\t\thealth_down_interval 200ms"
	address := freeAddress(t)
	runCaddy(t, fmt.Sprintf(`http://%s {
	visits
	healthpool_status /status
	healthpool %s {
		name shop
		%s
	}
	healthpool /blog %s {
		name blog
		%[3]s
	}
}
`, address, addresses, quickly, freeAddress(t)))
	url = "http://" + address
	await(t, "there is a history", func() bool {
		_, _ = get(t, url+"/")
		return checks.Load() > 40
	})
	return url + "/status"
}

// TestStatusPageScreenshot takes the pictures for the README. They are written with
//
//	go -C e2e test -run StatusPageScreenshot -update
func TestStatusPageScreenshot(t *testing.T) {
	b := openTab(t)
	url := troubledSite(t)
	for _, theme := range []string{"light", "dark"} {
		b.do("choosing the theme", chromedp.EmulateViewport(1000, 1360, chromedp.EmulateScale(1.5)), emulateTheme(theme))
		b.visit(url)
		picture := run(b, "taking the picture", chromedp.CaptureScreenshot())
		_, err := png.DecodeConfig(bytes.NewReader(picture))
		if err == nil && *update {
			err = os.WriteFile(filepath.Join("..", "docs", "status-"+theme+".png"), picture, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	b.wantNoProblems()
}
