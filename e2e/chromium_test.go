package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

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
	if os.Getenv("CI") != "" {
		t.Fatal("no Chromium on this machine")
	}
	t.Skip("no Chromium on this machine")
	return ""
}

// tab is a browser of its own with one tab.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	problems []string // what a developer would see in the console, failed loads apart
}

// openTab starts a browser with an empty profile; it lives until the test ends.
func openTab(t *testing.T) *tab {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(chromium(t)),
		chromedp.NoSandbox,
		chromedp.DisableGPU,
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("lang", "en-US"),
	)
	allocated, cancelAllocator := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancelAllocator)
	ctx, cancelTab := chromedp.NewContext(allocated)
	t.Cleanup(cancelTab)
	b := &tab{t: t, ctx: ctx}
	if err := chromedp.Listen(ctx, b.listen); err != nil {
		t.Fatalf("starting the browser: %v", err)
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
