package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// chromium returns the path of a Chromium. Without one the test is skipped, except in CI, where it must not be missing.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	missing(t, "no Chromium on this machine")
	return ""
}

// missing ends a test for which this machine lacks something: it is skipped, or, in CI, has failed.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// theBrowser is the one that all tests share: it starts with the first tab. Its directory has all that it writes,
// closeBrowser removes it.
var theBrowser struct {
	sync.Mutex
	ctx context.Context
	dir string
}

// browser returns the context of the browser, after it has started.
func browser(t *testing.T) context.Context {
	t.Helper()
	theBrowser.Lock()
	defer theBrowser.Unlock()
	if theBrowser.ctx == nil {
		path := chromium(t)
		dir, err := os.MkdirTemp("", "healthpool-e2e-")
		if err != nil {
			t.Fatal(err)
		}
		theBrowser.dir = dir
		theBrowser.ctx = startBrowser(t, path, dir)
	}
	return theBrowser.ctx
}

// startBrowser starts a browser that keeps its profile, and whatever else it writes, in a directory.
func startBrowser(t *testing.T, path, dir string) context.Context {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		chromedp.UserDataDir(filepath.Join(dir, "profile")),
		chromedp.Env("TMPDIR="+dir),
		chromedp.NoSandbox,
		chromedp.DisableGPU,
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("lang", "en-US"),
	)
	allocated, _ := chromedp.NewExecAllocator(context.WithoutCancel(t.Context()), options...) // closeBrowser ends it
	ctx, _ := chromedp.NewContext(allocated)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("starting the browser: %v", err)
	}
	return ctx
}

// closeBrowser ends the browser, if there is one, and removes what it wrote.
func closeBrowser() error {
	theBrowser.Lock()
	defer theBrowser.Unlock()
	if theBrowser.ctx == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(theBrowser.ctx, patience)
	defer cancel()
	return errors.Join(chromedp.Cancel(ctx), os.RemoveAll(theBrowser.dir))
}

// tab is a tab in a window, and with cookies and storage, of its own.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	problems []string // what a developer would see in the console, failed loads apart
}

// openTab opens a tab that lives until the test ends.
func openTab(t *testing.T) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser(t), chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	b := &tab{t: t, ctx: ctx}
	t.Cleanup(func() {
		if t.Failed() {
			b.wantNoProblems() // they may tell why
		}
	})
	if err := chromedp.Listen(ctx, b.listen); err != nil {
		t.Fatalf("opening a tab: %v", err)
	}
	return b
}

// listen notes errors of the console: exceptions, console.error, and what the browser itself complains about, such as
// the content security policy. That a load failed is what these tests are about, and no problem.
func (b *tab) listen(event any) {
	var problem string
	switch event := event.(type) {
	case *runtime.EventExceptionThrown:
		problem = (&chromedp.ExceptionError{ExceptionDetails: event.ExceptionDetails}).Error()
	case *runtime.EventConsoleAPICalled:
		if event.Type == runtime.ConsoleAPICalledTypeError || event.Type == runtime.ConsoleAPICalledTypeWarning {
			problem = fmt.Sprintf("console.%s: %s", event.Type, event.Args[0].Value)
		}
	case *log.EventEntryAdded:
		if event.Entry.Source != log.EntrySourceNetwork {
			problem = fmt.Sprintf("%s: %s", event.Entry.Source, event.Entry.Text)
		}
	}
	if problem != "" {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.problems = append(b.problems, problem)
	}
}

// wantNoProblems fails the test if anything was written to the console.
func (b *tab) wantNoProblems() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.problems) > 0 {
		b.t.Errorf("the console says:\n%s", strings.Join(b.problems, "\n"))
	}
}

// do runs actions and fails the test if they don't end well in time.
func (b *tab) do(what string, actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	run(b, what, chromedp.Steps(actions...))
}

// run runs an action that has a result and fails the test if it doesn't end well in time.
func run[T any](b *tab, what string, action chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	result, err := chromedp.Run(ctx, action)
	if err != nil {
		b.t.Fatalf("%s: %v", what, err)
	}
	return result
}

// visit loads a document.
func (b *tab) visit(url string) {
	b.t.Helper()
	b.do("visiting "+url, chromedp.Navigate(url))
}

// click clicks an element that the visitor can see. It goes without a mouse, whose events wait for a frame to be drawn,
// which a browser without a screen owes nobody.
func (b *tab) click(selector string) {
	b.t.Helper()
	element := fmt.Sprintf("document.querySelector(%q)", selector)
	b.await(element + "?.checkVisibility()")
	b.eval("(" + element + ".click(), 1)")
}

// eval returns the value of a JavaScript expression as a string.
func (b *tab) eval(expression string) string {
	b.t.Helper()
	return run(b, expression, chromedp.Evaluate[string]("String("+expression+")"))
}

// try is eval for moments in which there may be no document, or not this element.
func (b *tab) try(expression string) string {
	ctx, cancel := context.WithTimeout(b.ctx, patience/10)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[string]("String("+expression+")"))
	if err != nil {
		return ""
	}
	return value
}

// await waits until a JavaScript expression is true in the document of that moment.
func (b *tab) await(expression string) {
	b.t.Helper()
	await(b.t, expression, func() bool { return b.try(expression) == "true" })
}

// call makes a command of the browser an action.
func call[P, R any](command cdp.Command[P, R], params P) chromedp.Action[chromedp.Void] {
	return func(ctx context.Context, target *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, target, command, params)
		return chromedp.Void{}, err
	}
}

// emulateMedia has the tab answer media queries: for a medium, or that of the screen, and for features.
func emulateMedia(medium string, features map[string]string) chromedp.Action[chromedp.Void] {
	params := emulation.SetEmulatedMediaParams{Media: medium}
	for name, value := range features {
		params.Features = append(params.Features, &emulation.MediaFeature{Name: name, Value: value})
	}
	return call(emulation.SetEmulatedMedia, params)
}

// disableScript decides whether documents that are loaded from now on run their scripts.
func disableScript(disabled bool) chromedp.Action[chromedp.Void] {
	return call(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: disabled})
}
