package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/healthpool/caddy-healthpool"
	"github.com/healthpool/caddy-healthpool/e2e/internal/chaos"
	"github.com/healthpool/caddy-healthpool/e2e/internal/loopback"
)

// patience is how long a test waits for what must happen. What must not take long has its own, stricter limit.
const patience = 30 * time.Second

func init() {
	caddy.RegisterModule(visits)
	httpcaddyfile.RegisterHandlerDirective("visits", func(httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		return visits, nil
	})
}

// TestMain is also the main function of the apps, and Caddys, that tests start as processes of their own.
func TestMain(m *testing.M) {
	chaos.BeApp() // and exits, if this is one
	if address := os.Getenv(appAddress); address != "" {
		os.Exit(runApp(address))
	}
	if config := os.Getenv(caddyConfig); config != "" {
		runAsCaddy(config) // and exits
	}
	status := m.Run()
	if err := closeBrowser(); err != nil {
		fmt.Println("closing the browser:", err)
	}
	os.Exit(status)
}

// runCaddy runs Caddy with these sites, and more global options, in this process, until the test ends. Only one can run
// at a time. What it returns has it run other sites in their place, as caddy reload does.
func runCaddy(t *testing.T, sites string, globals ...string) (reload func(sites string)) {
	t.Helper()
	dir := t.TempDir()
	log := filepath.Join(dir, "caddy.log")
	visits.forget()
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Errorf("stopping Caddy: %v", err)
		}
		if t.Failed() {
			t.Logf("Caddy's log:\n%s", tail(log, 8<<10))
		}
	})
	reload = func(sites string) {
		t.Helper()
		loadCaddy(t, fmt.Sprintf(`{
	admin off
	auto_https off
	persist_config off
	grace_period 1s
	storage file_system %q
	order visits first
	log {
		output file %q
	}
	%s
}
`, filepath.Join(dir, "storage"), log, strings.Join(globals, "\n\t"))+sites)
	}
	reload(sites)
	return reload
}

// loadCaddy gives Caddy a Caddyfile.
func loadCaddy(t *testing.T, config string) {
	t.Helper()
	adapted, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt(caddyfile.Format([]byte(config)), nil)
	if err != nil {
		t.Fatalf("adapting: %v\n%s", err, config)
	}
	for _, warning := range warnings {
		t.Logf("adapting: %v", warning)
	}
	if err := caddy.Load(adapted, true); err != nil {
		t.Fatalf("loading: %v\n%s", err, config)
	}
}

// tail returns about the last n bytes of a file.
func tail(name string, n int) string {
	content, err := os.ReadFile(name)
	if err != nil {
		return err.Error()
	}
	return string(content[max(0, len(content)-n):])
}

// visit is a request as it reached Caddy.
type visit struct {
	method string
	path   string
	poll   bool // it asked whether the site is back
	at     time.Time
}

// visits, as a directive, notes the requests that reach a site.
var visits = new(visitRecorder)

type visitRecorder struct {
	mu   sync.Mutex
	seen []visit
}

// CaddyModule returns the Caddy module information.
func (*visitRecorder) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.visits", New: func() caddy.Module { return visits }}
}

func (v *visitRecorder) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	v.note(r)
	return next.ServeHTTP(w, r)
}

func (v *visitRecorder) note(r *http.Request) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.seen = append(v.seen, visit{
		method: r.Method,
		path:   r.URL.Path,
		poll:   r.Header.Get("Recovery-Poll") != "",
		at:     time.Now(),
	})
}

func (v *visitRecorder) forget() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.seen = nil
}

// all returns the visits that match.
func (v *visitRecorder) all(match func(visit) bool) []visit {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(v.seen), func(visit visit) bool { return !match(visit) })
}

// loads returns the GET requests for a path: a document that is loaded, or loaded again.
func (v *visitRecorder) loads(path string) int {
	return len(v.all(func(visit visit) bool { return visit.method == http.MethodGet && visit.path == path }))
}

// polls returns the requests of the page's live recovery.
func (v *visitRecorder) polls() []visit {
	return v.all(func(visit visit) bool { return visit.method == http.MethodHead && visit.poll })
}

// freeAddress returns a loopback address on which nothing listens, each only once.
func freeAddress(t *testing.T) string {
	t.Helper()
	return loopback.Free(t.Context())
}

// await waits until a condition holds that has no event to wait for.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waited %v in vain: %s", patience, what)
		}
	}
}

// never fails the test if a condition comes to hold within a time.
func never(t *testing.T, what string, within time.Duration, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(within); time.Now().Before(end); <-tick.C {
		if holds() {
			t.Fatalf("must not be: %s", what)
		}
	}
}
