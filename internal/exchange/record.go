// Package exchange follows one request and its response through our modules: what
// they tell each other about it, and what the response writer sees.
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

// recordKey is the request variable that holds the record.
const recordKey = "healthpool.record"

// Record is what our modules tell each other about one request.
type Record struct {
	pool.Request

	// Selection is the policy that chose last outside of a pool.
	Selection reverseproxy.Selector
	// resends is whether the proxy may send a request again that an upstream
	// has had already, by the owner's lb_retry_match.
	mayResend bool
	// handsOn is whether the proxy may hand a request on to another after a response,
	// by the owner's handle_response, as forward_auth does.
	hasHandleResponse bool
	// offered is what the source handed out last; the policy takes from it.
	offered *offer
	// first is room for the first of these; most requests need no other.
	offerBuf offer
	// repl is the replacer of the request, which stands deep in its context.
	repl *caddy.Replacer
	// body is that of the request, for whoever watches it.
	body body
}

// Fate is what happened to the request. An attempt before the last may have got
// through, if it is one that is sent again after that.
func (rec *Record) Fate(r *http.Request, f failure.Failure) cause.Fate {
	if rec.MaybeSent() && (rec.mayResend || r.Method == http.MethodGet) {
		return cause.Unknown
	}
	return f.Fate
}

// Of returns the record of r, which no_healthy_upstream has begun, or
// whoever needs it first.
func Of(r *http.Request) *Record {
	if rec, ok := caddyhttp.GetVar(r.Context(), recordKey).(*Record); ok {
		return rec
	}
	rec := new(Record)
	caddyhttp.SetVar(r.Context(), recordKey, rec)
	return rec
}

// offer is what the source hands out for one attempt: the best upstream, and sometimes
// the second best. It is fresh for each, because reverse_proxy writes to what it is given.
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

// Offer makes of the best upstream, and of the second best if there is one, what the
// source hands out.
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

// Offered reports whether upstreams is what was offered last, and not a list of which
// that is only a part.
func (rec *Record) Offered(upstreams reverseproxy.UpstreamPool) bool {
	return rec.offered != nil && len(upstreams) > 0 && len(upstreams) == rec.offered.len() && upstreams[0] == rec.offered.list[0]
}

// TakeOffered takes the first of the offered upstreams that reverse_proxy itself
// has nothing against. If it is against both for failures of its own counting, the
// pool knows better; its limits are kept.
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

// Placeholders of reverse_proxy: the address of the upstream that it selected last,
// and the status of the latest response it got from one.
const (
	HostPort   = "http.reverse_proxy.upstream.hostport"
	statusCode = "http.reverse_proxy.status_code"
)

// Replacer returns the replacer of r.
func Replacer(r *http.Request) *caddy.Replacer {
	return r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
}

// replacer returns the replacer of r, the request of the record.
func (rec *Record) replacer(r *http.Request) *caddy.Replacer {
	if rec.repl == nil {
		rec.repl = Replacer(r)
	}
	return rec.repl
}

// Client is the address of the client, as Caddy's trusted_proxies have it.
func Client(r *http.Request) (netip.Addr, error) {
	address, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	addr, err := netip.ParseAddr(address)
	return addr.Unmap().WithZone(""), err
}

// Enter tells that p is to choose for r, which is in proxy.
func (rec *Record) Enter(r *http.Request, p *pool.Pool, proxy *reverseproxy.Handler) {
	if rec.Sent() {
		rec.RecordResponse(r)
	}
	rec.watchBody(r)
	rec.Request.Enter(p)
	rec.mayResend, rec.hasHandleResponse = len(proxy.LoadBalancing.RetryMatch) > 0, len(proxy.HandleResponse) > 0
	rec.replacer(r).Delete(statusCode)
}

// Settle gives the attempt under way its verdict: the status of the upstream's own
// response, whatever a handler makes of it. If the proxy of another upstream has
// come since, there is none. It reports whether there was a response at all.
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

// overtaken reports whether reverse_proxy has selected another upstream since.
func (rec *Record) anotherSelected(r *http.Request) bool {
	address, _ := rec.replacer(r).GetString(HostPort)
	return !rec.SentTo(address)
}

// answeredWith reports whether the latest response of an upstream had this status.
func (rec *Record) answeredWith(r *http.Request, status int) bool {
	v, _ := rec.replacer(r).Get(statusCode)
	return v == status
}

// AttemptFailed notes that an attempt failed: with a response that is not to be
// passed on, or without any.
func (rec *Record) AttemptFailed(r *http.Request) {
	innocent := rec.RecordResponse(r) || rec.ClientFault(r)
	rec.replacer(r).Delete(statusCode)
	rec.Failed(innocent, rec.mayResend || r.Method == http.MethodGet)
}
