package exchange

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// BenchmarkWatch measures the overhead of an exchange whose response passes, and of one
// whose response is intercepted.
func BenchmarkWatch(b *testing.B) {
	for name, intercepted := range map[string][]int{"passed": nil, "intercepted": {5}} {
		b.Run(name, func(b *testing.B) {
			watch := watching(b, intercepted)
			b.ReportAllocs()
			for b.Loop() {
				watch()
			}
		})
	}
}

// watching returns a function that has an upstream answer 503.
func watching(b *testing.B, intercepted []int) func() {
	b.Helper()
	vars, repl := make(map[string]any), caddy.NewReplacer()
	repl.Set(statusCode, http.StatusServiceUnavailable)
	ctx := context.WithValue(b.Context(), caddyhttp.VarsCtxKey, vars)
	r := httptest.NewRequestWithContext(context.WithValue(ctx, caddy.ReplacerCtxKey, repl), http.MethodGet, "/", nil)
	w, body := DiscardWriter(), []byte("sorry")
	next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, err := w.Write(body)
		return err
	})
	return func() {
		clear(vars)
		x := Watch(w, r)
		x.Intercept(intercepted)
		if err := x.Serve(next); err != nil || x.Intercepted() != (intercepted != nil) {
			b.Fatal(err)
		}
		x.End()
	}
}
