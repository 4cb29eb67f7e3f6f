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

// CaddySource adapts an upstream source of reverse_proxy.
type CaddySource struct{ reverseproxy.UpstreamSource }

// Name returns the source's name in the log.
func (s CaddySource) Name() string {
	if m, ok := s.UpstreamSource.(caddy.Module); ok {
		return m.CaddyModule().ID.Name()
	}
	return fmt.Sprintf("%T", s.UpstreamSource)
}

// Read asks the source as reverse_proxy would, but with an empty request. Its cache is
// bypassed: the pool decides when to read.
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
	if len(upstreams) == 0 { // a multi source returns none when all its sources fail
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
