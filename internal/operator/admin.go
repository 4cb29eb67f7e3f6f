// Package operator has what the owner of a site uses to watch and control pools: the admin
// API, the log, metrics and events.
package operator

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/healthpool/caddy-healthpool/internal/intent"
	"github.com/healthpool/caddy-healthpool/internal/pool"
)

// PoolsPath is where the admin API is.
const PoolsPath = "/healthpool/pools"

// AdminAPI serves the state of the pools at Caddy's admin endpoint, and takes orders:
//
//	GET         /healthpool/pools                              all pools
//	GET         /healthpool/pools/<name>                       one of them
//	POST|DELETE /healthpool/pools/<name>/drain?upstream=<addr>  drain or undrain an upstream
//	POST|DELETE /healthpool/pools/<name>/maintenance           close or open a pool
//
// An order is answered with the pool: with status 200 once Caddy's storage has the order,
// and with 202 if it has effect here, but the storage does not take it yet.
type AdminAPI struct{}

// CaddyModule returns the Caddy module information.
func (AdminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "admin.api.healthpool",
		New: func() caddy.Module { return new(AdminAPI) },
	}
}

// Routes returns the routes of the API.
func (AdminAPI) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{
		{Pattern: PoolsPath, Handler: caddy.AdminHandlerFunc(serveAll)},
		{Pattern: PoolsPath + "/", Handler: caddy.AdminHandlerFunc(serveOne)},
	}
}

// running is the app of the running config.
type running interface {
	Pools() []pool.Status
	Order(ctx context.Context, order intent.Intent, on bool) (stored bool)
	// Drained reports whether an upstream is drained, even one that left the pool.
	Drained(poolName, address string) bool
}

// app returns the app of the running config; nil if there is none.
func app() running {
	found, err := caddy.ActiveContext().AppIfConfigured("healthpool")
	if a, ok := found.(running); ok && err == nil {
		return a
	}
	return nil
}

// Pools returns the pools of the running config.
func Pools() []pool.Status {
	if a := app(); a != nil {
		return a.Pools()
	}
	return []pool.Status{}
}

func serveAll(w http.ResponseWriter, r *http.Request) error {
	if err := allow(w, r, http.MethodGet, http.MethodHead); err != nil {
		return err
	}
	return write(w, http.StatusOK, Pools())
}

// serveOne serves one pool, or takes an order about it. Names may contain slashes: a pool
// may be named after its unix socket.
func serveOne(w http.ResponseWriter, r *http.Request) error {
	rest := strings.TrimPrefix(r.URL.EscapedPath(), PoolsPath+"/")
	if rest == "" {
		return serveAll(w, r)
	}
	for _, o := range orders {
		if name, ok := strings.CutSuffix(rest, "/"+o.name); ok {
			return o.serve(w, r, name)
		}
	}
	if err := allow(w, r, http.MethodGet, http.MethodHead); err != nil {
		return err
	}
	p, err := find(rest)
	if err != nil {
		return err
	}
	return write(w, http.StatusOK, p)
}

// find returns the pool with a name that is escaped as in a path.
func find(escaped string) (*pool.Status, error) {
	name, err := url.PathUnescape(escaped)
	if err != nil {
		return nil, apiError(http.StatusBadRequest, "pool name: %w", err)
	}
	all := Pools()
	if i := slices.IndexFunc(all, func(p pool.Status) bool { return p.Name == name }); i >= 0 {
		return &all[i], nil
	}
	return nil, apiError(http.StatusNotFound, "%w", NoPool(name, all))
}

func apiError(status int, format string, args ...any) error {
	return caddy.APIError{HTTPStatus: status, Err: fmt.Errorf(format, args...)}
}

func allow(w http.ResponseWriter, r *http.Request, methods ...string) error {
	if slices.Contains(methods, r.Method) {
		return nil
	}
	w.Header().Set("Allow", strings.Join(methods, ", "))
	return apiError(http.StatusMethodNotAllowed, "method %s is not allowed", r.Method)
}

func write(w http.ResponseWriter, status int, found any) error {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	return json.NewEncoder(w).Encode(found)
}

// Interface guard
var _ caddy.AdminRouter = AdminAPI{}
