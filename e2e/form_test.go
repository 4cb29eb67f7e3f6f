package e2e

import (
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"
)

// order has the form of the app sent while the app is down, or, if it is broken, dies of it, and returns the page that
// comes back.
func order(t *testing.T, broken bool, more http.HandlerFunc) (b *tab, a *app) {
	t.Helper()
	b = openTab(t)
	site, a := newSiteOf(t, func(w http.ResponseWriter, r *http.Request) {
		if more != nil {
			more(w, r)
		}
		if broken && r.Method == http.MethodPost {
			panic(http.ErrAbortHandler)
		}
		page(w, r)
	}, " {\n\t\thold off\n\t}")
	a.start(t)
	b.visit(site)
	b.await(isApp)
	if !broken {
		a.stop()
	}
	b.do("sending the form", chromedp.Submit("form"))
	b.await(isPage)
	return b, a
}

// TestFormIsNeverSentAgain: a page that came from a form says what became of it, and that the site is back, and waits
// for the visitor.
func TestFormIsNeverSentAgain(t *testing.T) {
	words := english(t)
	for _, test := range []struct {
		fate   string
		broken bool
		posts  int // that the app got
	}{{fate: "not_sent"}, {fate: "unknown", broken: true, posts: 1}} {
		t.Run(test.fate, func(t *testing.T) {
			b, a := order(t, test.broken, nil)
			b.wantText(`document.querySelector(".fate")`, words[test.fate])
			if !test.broken { // else the site is back at once
				b.wantText(pageStatus, words["watching_form"])
				if b.isShown(pageResend) {
					t.Error("nothing may be sent before the site is back")
				}
				a.start(t)
			}

			b.await(fmt.Sprintf("document.title === %q", words["back"]))
			b.wantText(pageStatus, words["back"])
			b.wantText("document.querySelector('title')", words["back"])
			b.wantText(pageLink, words["open"])
			b.wantText(pageStop, words["resume"])
			if shown := b.isShown(pageResend); shown == test.broken {
				t.Errorf("is the visitor offered to send the form again? %t", shown)
			}
			never(t, "the form is sent again, or the page left", 2*quiet, func() bool {
				return len(a.requests.all(isPost)) > test.posts || b.try(isPage) != "true"
			})
			if n := len(visits.all(isPost)); n != 1 {
				t.Errorf("the browser sent the form %d times, want once", n)
			}

			b.click(".do a")
			b.await(isApp)
			if n := len(visits.all(isPost)); n != 1 || visits.loads("/order") != 1 {
				t.Errorf("%d forms and %d loads, want one of each", n, visits.loads("/order"))
			}
			b.wantNoProblems()
		})
	}
}

// TestSendMyFormAgain: a visitor who asks for it has the same form sent once more.
func TestSendMyFormAgain(t *testing.T) {
	var mu sync.Mutex
	var bodies []string
	b, a := order(t, false, func(_ http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			body, err := io.ReadAll(r.Body)
			mu.Lock()
			defer mu.Unlock()
			bodies = append(bodies, string(body))
			if err != nil {
				t.Error(err)
			}
		}
	})
	a.start(t)
	b.await(pageResend + "?.checkVisibility()")
	b.wantText(pageResend, english(t)["resend"])
	b.click("button.go")
	b.await(isApp)
	b.wantText(`document.querySelector("#method")`, http.MethodPost)
	never(t, "the form is sent a third time", quiet, func() bool { return len(visits.all(isPost)) > 2 })
	mu.Lock()
	defer mu.Unlock()
	if len(bodies) != 1 || bodies[0] != "item=tea" {
		t.Errorf("the app got %q, want item=tea once", bodies)
	}
	b.wantNoProblems()
}

func isPost(v visit) bool { return v.method == http.MethodPost }
