// Package exchange follows one request and its response through our modules: what they
// share about it, and what the response writer sees.
package exchange

import (
	"context"
	"net/http"
	"net/netip"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/healthpool/caddy-healthpool/internal/cause"
	"github.com/healthpool/caddy-healthpool/internal/failure"
	"github.com/healthpool/caddy-healthpool/internal/pool"
)

// recordKey is the request variable with the record.
const recordKey = "healthpool.record"

// Record is what our modules share about one request.
type Record struct {
	pool.Request

	// Selection is the policy that last selected an upstream outside of a pool.
	Selection reverseproxy.Selector
	// mayResend is whether lb_retry_match allows the proxy to resend a request that an
	// upstream may have received.
	mayResend bool
	// hasHandleResponse is whether another proxy may follow after a response, because of
	// handle_response, as in forward_auth.
	hasHandleResponse bool
	// offered is what the source returned last; the policy selects from it.
	offered *offer
	// offerBuf holds the first offer, so that most requests need no allocation.
	offerBuf offer
	// repl caches the request's replacer, whose look-up in the context is slow.
	repl *caddy.Replacer
	// body is the request body, if it is watched.
	body body
}

// Fate returns whether the request may have been processed. Requests that are resent may
// have been, by an earlier attempt.
func (rec *Record) Fate(r *http.Request, f failure.Failure) cause.Fate {
	if rec.MaybeSent() && (rec.mayResend || r.Method == http.MethodGet) {
		return cause.Unknown
	}
	return f.Fate
}

// Of returns the record of r: that of no_healthy_upstream, or else one that the first
// caller creates.
func Of(r *http.Request) *Record {
	if rec, ok := caddyhttp.GetVar(r.Context(), recordKey).(*Record); ok {
		return rec
	}
	rec := new(Record)
	caddyhttp.SetVar(r.Context(), recordKey, rec)
	return rec
}

// offer is what the source returns for one attempt: the best upstream and maybe a second.
// Each attempt has its own, because reverse_proxy writes to the upstreams it is given.
type offer struct {
	best    reverseproxy.Upstream
	list    [2]*reverseproxy.Upstream
	members [2]*pool.Member
}

func (o *offer) len() int {
	if o.list[1] == nil {
		return 1
	}
	return 2
}

// Offer converts the best upstream, and the second if there is one, to what the source
// returns.
func (rec *Record) Offer(best, second *pool.Member) []*reverseproxy.Upstream {
	if best == nil {
		rec.offered = nil
		return nil
	}
	o := &rec.offerBuf
	if o.list[0] != nil {
		o = new(offer)
	}
	rec.offered = o
	o.members = [2]*pool.Member{best, second}
	o.best.Dial = best.Dial()
	o.list[0] = &o.best
	if second != nil {
		o.list[1] = &reverseproxy.Upstream{Dial: second.Dial()}
	}
	return o.list[:o.len()]
}

// Offered reports whether upstreams is exactly the last offer, not a list that contains it.
func (rec *Record) Offered(upstreams reverseproxy.UpstreamPool) bool {
	return rec.offered != nil && len(upstreams) > 0 && len(upstreams) == rec.offered.len() && upstreams[0] == rec.offered.list[0]
}

// TakeOffered selects the first of the offered upstreams that reverse_proxy considers
// available. If core's own passive checks reject both, they are ignored, because the pool
// knows better; core's limits are respected.
func (rec *Record) TakeOffered(ctx context.Context, upstreams reverseproxy.UpstreamPool) *reverseproxy.Upstream {
	i := slices.IndexFunc(upstreams, (*reverseproxy.Upstream).Available)
	if i < 0 {
		i = slices.IndexFunc(upstreams, func(up *reverseproxy.Upstream) bool { return !up.Full() })
	}
	if i < 0 {
		rec.Decline()
		return nil
	}
	if !rec.BeginAt(ctx, rec.offered.members[i]) {
		return nil
	}
	return upstreams[i]
}

// Placeholders of reverse_proxy: the address of the upstream selected last, and the status
// of the last upstream response.
const (
	HostPort   = "http.reverse_proxy.upstream.hostport"
	statusCode = "http.reverse_proxy.status_code"
)

// Replacer returns the replacer of r.
func Replacer(r *http.Request) *caddy.Replacer {
	return r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
}

// replacer returns the replacer of r, the request of this record.
func (rec *Record) replacer(r *http.Request) *caddy.Replacer {
	if rec.repl == nil {
		rec.repl = Replacer(r)
	}
	return rec.repl
}

// Client returns the client's address, as trusted_proxies determines it.
func Client(r *http.Request) (netip.Addr, error) {
	address, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	addr, err := netip.ParseAddr(address)
	return addr.Unmap().WithZone(""), err
}

// Enter starts picking from p for r in proxy.
func (rec *Record) Enter(r *http.Request, p *pool.Pool, proxy *reverseproxy.Handler) {
	if rec.Sent() {
		rec.RecordResponse(r)
	}
	rec.watchBody(r)
	rec.Request.Enter(p)
	rec.mayResend, rec.hasHandleResponse = len(proxy.LoadBalancing.RetryMatch) > 0, len(proxy.HandleResponse) > 0
	rec.replacer(r).Delete(statusCode)
}

// RecordResponse records the status of the upstream's response, whatever a handler makes of
// it, for the current attempt. If another upstream was selected since, by another proxy,
// the status is not that attempt's. It reports whether there was a response at all.
func (rec *Record) RecordResponse(r *http.Request) (answered bool) {
	v, answered := rec.replacer(r).Get(statusCode)
	switch status, _ := v.(int); {
	case !rec.Sent():
	case rec.hasHandleResponse && rec.anotherSelected(r):
		rec.Done("")
	case answered:
		rec.Answered(status)
	}
	return answered
}

// anotherSelected reports whether reverse_proxy selected another upstream since.
func (rec *Record) anotherSelected(r *http.Request) bool {
	address, _ := rec.replacer(r).GetString(HostPort)
	return !rec.SentTo(address)
}

// answeredWith reports whether the last upstream response had this status.
func (rec *Record) answeredWith(r *http.Request, status int) bool {
	v, _ := rec.replacer(r).Get(statusCode)
	return v == status
}

// AttemptFailed records that an attempt failed, without a response or with one that is not
// passed on.
func (rec *Record) AttemptFailed(r *http.Request) {
	innocent := rec.RecordResponse(r) || rec.ClientFault(r)
	rec.replacer(r).Delete(statusCode)
	rec.Failed(innocent, rec.mayResend || r.Method == http.MethodGet)
}
