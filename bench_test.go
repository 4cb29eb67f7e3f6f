package healthpool_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	healthpool "github.com/healthpool/caddy-healthpool"
)

// newContext returns the context of a config that is not running.
func newContext(tb testing.TB) caddy.Context {
	tb.Helper()
	ctx, err := caddy.ProvisionContext(&caddy.Config{
		Admin: &caddy.AdminConfig{Disabled: true},
		Logging: &caddy.Logging{Logs: map[string]*caddy.CustomLog{
			"default": {BaseLog: caddy.BaseLog{WriterRaw: json.RawMessage(`{"output":"discard"}`)}},
		}},
	})
	if err != nil {
		tb.Fatal(err)
	}
	return ctx
}

// loadModule provisions a module as a config would.
func loadModule[T any](tb testing.TB, ctx caddy.Context, id, config string) T {
	tb.Helper()
	module, err := ctx.LoadModuleByID(id, json.RawMessage(config))
	if err != nil {
		tb.Fatal(err)
	}
	return module.(T)
}

func loadPage(tb testing.TB, ctx caddy.Context) *healthpool.NoHealthyUpstream {
	tb.Helper()
	return loadModule[*healthpool.NoHealthyUpstream](tb, ctx, "http.handlers.no_healthy_upstream", "{}")
}

// newProxied returns a request as Caddy's server passes it to handlers, and a function that
// resets it.
func newProxied(tb testing.TB) (r *http.Request, renew func()) {
	tb.Helper()
	vars := make(map[string]any)
	ctx := context.WithValue(tb.Context(), caddyhttp.VarsCtxKey, vars)
	ctx = context.WithValue(ctx, caddy.ReplacerCtxKey, caddy.NewReplacer())
	r = httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil)
	return r, func() { clear(vars) }
}

// discard is a response writer that discards the response.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}

// ok is a minimal handler.
var ok = caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
	w.WriteHeader(http.StatusOK)
	_, err := w.Write(nil)
	return err
})

// goodPath returns functions that pass one request through the handler, and the same
// without it.
func goodPath(tb testing.TB) (with, without func()) {
	tb.Helper()
	page := loadPage(tb, newContext(tb))
	r, renew := newProxied(tb)
	w := discard{make(http.Header)}
	with = func() {
		renew()
		if err := page.ServeHTTP(w, r, ok); err != nil {
			tb.Fatal(err)
		}
	}
	without = func() {
		renew()
		if err := ok.ServeHTTP(w, r); err != nil {
			tb.Fatal(err)
		}
	}
	return with, without
}

func BenchmarkHandlerGoodPath(b *testing.B) {
	with, without := goodPath(b)
	for name, serve := range map[string]func(){"with": with, "without": without} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				serve()
			}
		})
	}
}

// BenchmarkHandlerFailing measures a request that no upstream answers, in an outage that is
// already logged.
func BenchmarkHandlerFailing(b *testing.B) {
	for _, accept := range []string{"text/html", "application/problem+json", "*/*"} {
		b.Run(accept, func(b *testing.B) {
			benchmarkFailing(b, http.MethodGet, "Accept", accept)
		})
	}
}

// BenchmarkHandlerPoll measures a page's poll.
func BenchmarkHandlerPoll(b *testing.B) {
	benchmarkFailing(b, http.MethodHead, "Recovery-Poll", "direct")
}

func benchmarkFailing(b *testing.B, method, header, value string) {
	b.Helper()
	page := loadPage(b, newContext(b))
	r, renew := newProxied(b)
	r.Method = method
	r.Header.Set(header, value)
	w := discard{make(http.Header)}
	b.ReportAllocs()
	for b.Loop() {
		renew()
		clear(w.header)
		if err := page.ServeHTTP(w, r, refused); err != nil {
			b.Fatal(err)
		}
	}
}

// refused is a proxy whose upstreams refuse connections.
var refused = caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error {
	return caddyhttp.HandlerError{
		StatusCode: http.StatusBadGateway, Trace: "reverseproxy.statusError", ID: "7qx4m2kdp",
		Err: &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED},
	}
})

// loopback returns the i-th loopback address.
func loopback(i int) string { return fmt.Sprintf("127.1.%d.%d", i>>8, i&0xff) }

// selecting returns a function that selects an upstream for one request within
// no_healthy_upstream, from a pool of total upstreams, of which up are up.
func selecting(tb testing.TB, total, up int) func() {
	tb.Helper()
	ctx := newContext(tb)
	page := loadPage(tb, ctx)
	port := anyPort(tb)
	proxy, pools := runPool(tb, ctx, `,"health_interval":"1h","health_down_interval":"1h","slow_start":0`, total, func(i int) string {
		if i >= up {
			return loopback(i) + ":1" // nothing listens there
		}
		return loopback(i) + port
	})
	awaitHealthy(tb, pools, up)
	for ours() != "" {
		time.Sleep(10 * time.Millisecond)
	}
	next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		upstreams, err := proxy.DynamicUpstreams.GetUpstreams(r)
		if err != nil || proxy.LoadBalancing.SelectionPolicy.Select(upstreams, r, w) == nil {
			tb.Fatal("no upstream", err)
		}
		return ok(w, r)
	})
	r, renew := newProxied(tb)
	w := discard{make(http.Header)}
	return func() {
		renew()
		if err := page.ServeHTTP(w, r, next); err != nil {
			tb.Fatal(err)
		}
	}
}

// allKnown reports whether every upstream has been checked and up of them passed.
func allKnown(app *healthpool.App, up int) bool {
	pool := app.Pools()[0]
	for _, u := range pool.Upstreams {
		if u.LastCheck == nil {
			return false
		}
	}
	return pool.Healthy == up
}

// runPool runs a pool of total upstreams, with further options as JSON.
func runPool(tb testing.TB, ctx caddy.Context, options string, total int, address func(i int) string) (*reverseproxy.Handler, *healthpool.App) {
	tb.Helper()
	upstreams := make([]string, total)
	for i := range upstreams {
		upstreams[i] = fmt.Sprintf(`{"dial":%q}`, address(i))
	}
	proxy := loadModule[*reverseproxy.Handler](tb, ctx, "http.handlers.reverse_proxy",
		`{"dynamic_upstreams":{"source":"healthpool","upstreams":[`+strings.Join(upstreams, ",")+"]"+options+
			`},"load_balancing":{"selection_policy":{"policy":"health_aware"}}}`)
	app, err := ctx.App("healthpool")
	if err != nil {
		tb.Fatal(err)
	}
	pools := app.(*healthpool.App)
	if err := pools.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = pools.Stop()
		_ = pools.Cleanup()
	})
	return proxy, pools
}

// awaitHealthy waits until every upstream has been checked and up of them passed.
func awaitHealthy(tb testing.TB, app *healthpool.App, up int) {
	tb.Helper()
	for deadline := time.Now().Add(6 * patience); !allKnown(app, up); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			tb.Fatalf("%d of %d upstreams are healthy", app.Pools()[0].Healthy, up)
		}
	}
}

// anyPort returns a colon and a port that accepts connections at every local address.
func anyPort(tb testing.TB) string {
	tb.Helper()
	listener, err := new(net.ListenConfig).Listen(tb.Context(), "tcp4", "0.0.0.0:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	return fmt.Sprintf(":%d", listener.Addr().(*net.TCPAddr).Port)
}

// sizes are pools with all or some upstreams up.
var sizes = []struct{ total, up int }{{3, 3}, {100, 100}, {10_000, 10_000}, {10_000, 100}}

// BenchmarkGetUpstreamsSelect includes what BenchmarkHandlerGoodPath/with measures.
func BenchmarkGetUpstreamsSelect(b *testing.B) {
	for _, size := range sizes {
		b.Run(fmt.Sprintf("%d of %d", size.up, size.total), func(b *testing.B) {
			serve := selecting(b, size.total, size.up)
			b.ReportAllocs()
			for b.Loop() {
				serve()
			}
		})
	}
}
