package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// runAxe checks the document by everything that axe knows of WCAG 2.2, level AAA, and by its best practices.
const runAxe = `axe.run(document, {
	runOnly: {type: "tag", values: ["wcag2a", "wcag2aa", "wcag2aaa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]},
}).then(({passes, violations, incomplete}) => ({
	Passed: passes.map(rule => rule.id),
	Found: [...violations, ...incomplete].flatMap(rule => rule.nodes.map(node => ({
		Rule: rule.id, Target: node.target.join(" "), HTML: node.html, Summary: node.failureSummary,
	}))),
}))`

// findings are what axe says of a document.
type findings struct {
	Passed []string
	Found  []finding
}

// finding is an element that breaks a rule, or may.
type finding struct{ Rule, Target, HTML, Summary string }

func (f finding) String() string {
	return fmt.Sprintf("%s: %s\n%s\n%s", f.Rule, f.Target, f.HTML, f.Summary)
}

// injectAxe makes axe ready in the document, which can't tell.
func (b *tab) injectAxe(source string) {
	b.t.Helper()
	b.do("injecting axe", chromedp.Evaluate[chromedp.Void](source))
}

// axe fails the test if axe finds anything in the document, which it was injected into. In a colour that the owner
// chose, labels have a contrast of 4.5:1 (level AA), not 7:1.
func (b *tab) axe(what string, k kind) {
	b.t.Helper()
	f := run(b, what, chromedp.Evaluate[findings](runAxe, chromedp.EvalAwaitPromise))
	for _, rule := range []string{"color-contrast", "color-contrast-enhanced", "target-size", "html-has-lang", "region"} {
		if !slices.Contains(f.Passed, rule) {
			b.t.Errorf("%s: axe did not apply %s", what, rule)
		}
	}
	for _, found := range f.Found {
		if k.color && found.Rule == "color-contrast-enhanced" && found.Target == ".go" {
			continue
		}
		b.t.Errorf("%s: %v", what, found)
	}
}

// condition is what a page is seen with.
type condition struct {
	name     string
	features map[string]string
	width    int64
}

// conditions are all themes at the width of a small phone and at that of a desktop.
func conditions() (all []condition) {
	for _, width := range []int64{320, 1280} {
		for _, theme := range []string{"light", "dark", "forced colors"} {
			features := map[string]string{"prefers-color-scheme": theme}
			if theme == "forced colors" {
				features = map[string]string{"forced-colors": "active"}
			}
			all = append(all, condition{fmt.Sprintf("%s at %d px", theme, width), features, width})
		}
	}
	return all
}

// TestAccessible has axe look at every kind of page, with and without script, in languages with other scripts and
// lengths, in each theme, narrow and wide. Each page fits its window, also with text of double size, and what can be
// pressed is large enough.
func TestAccessible(t *testing.T) {
	source := axeSource(t)
	urls := serveKinds(t)
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			b := openTab(t)
			languages := []string{"en", "ar", "ja", "de", pseudo}
			if k.variant {
				languages = []string{"ar", pseudo}
			}
			for _, language := range languages {
				for _, script := range []bool{true, false} {
					b.do("with script or without", disableScript(!script))
					b.visitKind(k, urls[k.name], language)
					b.wantScript(k, script)
					b.do("with script", disableScript(false)) // for axe; what the page has is not run any more
					b.injectAxe(source)
					b.wantAccessible(k, fmt.Sprintf("%s, script: %t", language, script))
					if t.Failed() {
						return // it would be the same over and over
					}
				}
			}
			b.wantNoProblems()
		})
	}
}

// wantAccessible fails the test if the document of this moment has faults under any conditions.
func (b *tab) wantAccessible(k kind, what string) {
	b.t.Helper()
	for _, c := range conditions() {
		b.do(c.name, emulateMedia("", c.features), chromedp.EmulateViewport(c.width, 640))
		b.axe(what+", "+c.name, k)
		b.wantRoom(what + ", " + c.name)
	}
	b.eval(`document.documentElement.style.fontSize = "200%"`)
	b.do("narrow", chromedp.EmulateViewport(320, 640))
	b.wantRoom(what + ", text of double size")
}

// TestAccessibleOnceBack has axe look at a form's page after the site is back: with the button that sends it again.
func TestAccessibleOnceBack(t *testing.T) {
	source := axeSource(t)
	b, a := order(t, false, nil)
	a.start(t)
	b.await(pageResend + "?.checkVisibility()")
	b.injectAxe(source)
	b.wantAccessible(kind{}, "once back")
	b.wantNoProblems()
}

// axeSource returns axe as a script.
func axeSource(t *testing.T) string {
	t.Helper()
	source, err := os.ReadFile(nodeModule(t, "axe-core", "axe.min.js"))
	if err != nil {
		t.Fatal(err)
	}
	return string(source) + "; undefined"
}

// wantScript fails the test unless the page's script ran, or did not.
func (b *tab) wantScript(k kind, want bool) {
	b.t.Helper()
	want = want && !strings.Contains(k.options, "refresh off")
	if ran := b.eval(`!!document.querySelector("[role]")?.textContent`); ran != fmt.Sprint(want) {
		b.t.Errorf("did the script of the page run? %s, want %t", ran, want)
	}
}

// crowded lists the elements that can be pressed but are too small for it, and what stands out of the window.
const crowded = `JSON.stringify([...document.querySelectorAll("main *")].filter(e => e.checkVisibility()).flatMap(e => {
	const {width, height, left, right} = e.getBoundingClientRect()
	const least = e.matches("button, .go") ? 44 : e.matches("a") ? 24 : 0
	const out = left < 0 || right > innerWidth || e.scrollWidth > e.clientWidth && e.clientWidth > 0
	return out || width < least || height < least ? [[e.outerHTML.slice(0, 200), width, height, left, right].join(" ")] : []
}))`

// wantRoom fails the test if the document must be scrolled sideways, or has targets that are too small.
func (b *tab) wantRoom(what string) {
	b.t.Helper()
	if b.eval("document.documentElement.scrollWidth > innerWidth") == "true" {
		b.t.Errorf("%s: the page is %s px wide, more than its window", what, b.eval("document.documentElement.scrollWidth"))
	}
	var found []string
	if err := json.Unmarshal([]byte(b.eval(crowded)), &found); err != nil {
		b.t.Fatal(err)
	}
	for _, element := range found {
		b.t.Errorf("%s: too small or out of the window: %s", what, element)
	}
}
