// Package operator shows the owner what the pools know: through the admin API.
package operator

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/healthpool/caddy-healthpool/internal/pool"
)

const poolsPath = "/healthpool/pools"

// AdminAPI serves the state of the pools at Caddy's admin endpoint:
//
//	GET /healthpool/pools          all pools
//	GET /healthpool/pools/<name>   one of them
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
		{Pattern: poolsPath, Handler: get(func(*http.Request) (any, error) { return pools(), nil })},
		{Pattern: poolsPath + "/", Handler: get(onePool)},
	}
}

// pools returns the pools of the running config: none if it has no such app, or
// if no config runs yet.
func pools() []pool.Status {
	app, err := caddy.ActiveContext().AppIfConfigured("healthpool")
	if running, ok := app.(interface{ Pools() []pool.Status }); ok && err == nil {
		return running.Pools()
	}
	return []pool.Status{}
}

// onePool returns the pool that the path names. Names may have slashes in them:
// the one of a pool that is called by its socket does.
func onePool(r *http.Request) (any, error) {
	name, err := url.PathUnescape(strings.TrimPrefix(r.URL.EscapedPath(), poolsPath+"/"))
	if err != nil {
		return nil, caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: fmt.Errorf("pool name: %w", err)}
	}
	if name == "" {
		return pools(), nil
	}
	for _, p := range pools() {
		if p.Name == name {
			return p, nil
		}
	}
	return nil, caddy.APIError{HTTPStatus: http.StatusNotFound, Err: fmt.Errorf("no pool is named %q", name)}
}

// get answers GET and HEAD requests with what is found, as JSON.
func get(find func(*http.Request) (any, error)) caddy.AdminHandler {
	return caddy.AdminHandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			return caddy.APIError{HTTPStatus: http.StatusMethodNotAllowed, Err: fmt.Errorf("method %s is not allowed", r.Method)}
		}
		found, err := find(r)
		if err != nil {
			return err
		}
		w.Header().Set("Content-Type", "application/json")
		return json.NewEncoder(w).Encode(found)
	})
}

// Interface guard
var _ caddy.AdminRouter = AdminAPI{}
