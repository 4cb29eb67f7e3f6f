package pool

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// CaddySource is an upstream source of reverse_proxy.
type CaddySource struct{ reverseproxy.UpstreamSource }

// Name is what the source is called in the log.
func (s CaddySource) Name() string {
	if m, ok := s.UpstreamSource.(caddy.Module); ok {
		return m.CaddyModule().ID.Name()
	}
	return fmt.Sprintf("%T", s.UpstreamSource)
}

// Read asks the source as reverse_proxy would, with a request of nobody. What it
// has cached is of no use: when to ask is for the pool to say.
func (s CaddySource) Read(ctx context.Context) ([]Listing, error) {
	ctx = context.WithValue(ctx, caddy.ReplacerCtxKey, caddy.NewReplacer())
	ctx = context.WithValue(ctx, caddyhttp.VarsCtxKey, make(map[string]any))
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "/", nil)
	if err != nil {
		return nil, err
	}
	if c, ok := s.UpstreamSource.(reverseproxy.CachingUpstreamSource); ok {
		if err := c.ResetCache(r); err != nil {
			return nil, err
		}
	}
	upstreams, err := s.GetUpstreams(r)
	if err != nil {
		return nil, err
	}
	if len(upstreams) == 0 { // as where several are asked, and all failed
		return nil, errors.New("it lists no upstream")
	}
	list := make([]Listing, len(upstreams))
	for i, up := range upstreams {
		if up != nil {
			list[i] = Listing{Address: up.Dial, MaxRequests: up.MaxRequests}
		}
	}
	return list, nil
}
