// Package healthpool keeps sites behind Caddy's reverse_proxy answering while
// apps restart, and gives visitors a helpful page when no upstream can answer.
//
// It adds these modules to Caddy, each useful alone:
//
//   - http.handlers.no_healthy_upstream answers when the proxy, and only the
//     proxy, failed: with a page that reloads itself once the site is back, or
//     with whatever else the client understands.
//   - http.reverse_proxy.upstreams.healthpool is an upstream source that checks
//     its upstreams and holds requests while they restart.
//   - http.reverse_proxy.selection_policies.health_aware picks the upstream that
//     is likely to answer first.
//   - healthpool is the app that runs the checks; admin.api.healthpool serves
//     their results, and http.handlers.healthpool_status shows them in a browser.
//
// In a Caddyfile, one line sets it all up:
//
//	example.com {
//		healthpool app1:8080 app2:8080
//	}
package healthpool

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/healthpool/caddy-healthpool/internal/cause"
	"github.com/healthpool/caddy-healthpool/internal/command"
	"github.com/healthpool/caddy-healthpool/internal/exchange"
	"github.com/healthpool/caddy-healthpool/internal/failure"
	"github.com/healthpool/caddy-healthpool/internal/operator"
	"github.com/healthpool/caddy-healthpool/internal/option"
	"github.com/healthpool/caddy-healthpool/internal/outage"
	"github.com/healthpool/caddy-healthpool/internal/page"
	"github.com/healthpool/caddy-healthpool/internal/statuspage"
)

func init() {
	caddy.RegisterModule(new(NoHealthyUpstream))
	caddy.RegisterModule(new(HealthPoolUpstreams))
	caddy.RegisterModule(new(HealthAwareSelection))
	caddy.RegisterModule(new(App))
	caddy.RegisterModule(new(operator.AdminAPI))
	caddy.RegisterModule(new(statuspage.Handler))
	registerDirectives()
	command.Register()
}

// NoHealthyUpstream answers in place of the proxies that it wraps (reverse_proxy,
// php_fastcgi, forward_auth) when they could not get a response. A response of an
// upstream, whatever its status, passes untouched and unbuffered, and so does every
// error of another handler.
//
// Browsers get a page that reloads itself once the site is back; other clients get
// problem+json (RFC 9457), text or a bare status. It also works in handle_errors.
//
// These placeholders are set before anything is written:
//
// Placeholder | Description
// ------------|-------------
// `{http.no_healthy_upstream.cause}` | Why there was no answer, as an error type of RFC 9209
// `{http.no_healthy_upstream.fate}` | `not_sent`, or `unknown` if the request may have been processed
// `{http.no_healthy_upstream.reference}` | What the visitor can quote: the `err_id` in the log
// `{http.no_healthy_upstream.retry_after}` | In how many seconds to try again; empty with `retry_after off`
// `{http.no_healthy_upstream.pool}` | The name of the pool; empty without `dynamic healthpool`
type NoHealthyUpstream struct {
	page.Options

	// The status to answer with, from 400 to 599. Default: depends on the cause: 503 if no
	// upstream is usable, 504 after a timeout, otherwise 502.
	Status int `json:"status,omitempty"`

	// The Retry-After to send; 0 sends none. Default: computed from the next check and from
	// how long this and earlier outages lasted, between 1s and 60s.
	RetryAfter *caddy.Duration `json:"retry_after,omitempty"`

	// Whether the page polls the site and reloads itself once it is back. Default: true.
	Refresh *bool `json:"refresh,omitempty"`

	// Upstream responses to replace as well: statuses from 400 to 599, or 4 or 5 for the
	// whole class. Default: none.
	Intercept []int `json:"intercept,omitempty"`

	// With "hold", an EventSource gets 200 and an empty stream, so the browser reconnects;
	// it would not after an error status. Default: the error status.
	EventStream string `json:"event_stream,omitempty"`

	// The clients, as IP addresses, CIDR ranges or private_ranges, that are told what is
	// wrong with which upstream: on the page and in text, Markdown, JSON and XML. Requests
	// that a page of another origin sent never are. Default: none.
	Details []string `json:"details,omitempty"`

	// Whether to only set the placeholders and return the error to handle_errors.
	// Default: false.
	Pass bool `json:"pass,omitempty"`

	app     *App
	logger  *zap.Logger
	outages *outage.Log
	// unlogged tracks outages that are already logged elsewhere: by handle_errors, or with
	// pass.
	unlogged *outage.Log
	page     *page.Page
	details  []netip.Prefix
	// templateLoggedAt is when a template failure was last logged, in Unix nanoseconds.
	templateLoggedAt atomic.Int64
}

// CaddyModule returns the Caddy module information.
func (*NoHealthyUpstream) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.no_healthy_upstream",
		New: func() caddy.Module { return new(NoHealthyUpstream) },
	}
}

// Provision sets n up.
func (n *NoHealthyUpstream) Provision(ctx caddy.Context) error {
	if n.Refresh == nil {
		n.Refresh = new(true)
	}
	if err := n.Validate(); err != nil {
		return err
	}
	n.logger = ctx.Logger()
	n.outages = &outage.Log{Summarise: operator.LogMore(n.logger)}
	n.unlogged = new(outage.Log)
	for _, cidr := range n.ranges() {
		prefix, _ := option.Prefix("details", cidr) // checked by Validate
		n.details = append(n.details, prefix)
	}
	var err error
	if n.page, err = page.New(n.Options); err != nil {
		return err
	}
	n.app, err = appOf(ctx)
	return err
}

// Validate checks the options.
func (n *NoHealthyUpstream) Validate() error {
	errs := []error{n.Options.Validate(), option.ZeroOrMore("retry_after", n.RetryAfter)}
	if s := n.Status; s != 0 {
		errs = append(errs, option.Within("status", s, 400, 599))
	}
	for _, s := range n.Intercept {
		if !option.IsStatus(s) || s < 4 || s > 5 && s < 400 {
			errs = append(errs, fmt.Errorf("intercept: must be an error status such as 503, or a class of them such as 5xx, got %d", s))
		}
	}
	if n.EventStream != "" && n.EventStream != hold {
		errs = append(errs, fmt.Errorf("event_stream: must be %s, got %q", hold, n.EventStream))
	}
	for _, cidr := range n.ranges() {
		_, err := option.Prefix("details", cidr)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// ranges returns the ranges of details, with private_ranges expanded.
func (n *NoHealthyUpstream) ranges() []string {
	var out []string
	for _, cidr := range n.Details {
		if cidr == "private_ranges" {
			out = append(out, caddyhttp.PrivateRangesCIDR()...)
		} else {
			out = append(out, cidr)
		}
	}
	return out
}

// hold is the only value event_stream accepts.
const hold = "hold"

// Cleanup logs the summaries of outages that are still going on.
func (n *NoHealthyUpstream) Cleanup() error {
	if n.outages != nil {
		n.outages.Close()
		n.unlogged.Close()
	}
	return nil
}

// ServeHTTP answers if a proxy in next fails.
func (n *NoHealthyUpstream) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if err, ok := r.Context().Value(caddyhttp.ErrorCtxKey).(error); ok { // in handle_errors
		if f, ok := failure.Of(err); ok && !f.ClientGone() {
			return n.answerRoute(w, r, next, f)
		}
	}
	if token := r.Header[pollHeader]; n.isPoll(r) {
		if exchange.IsPoll(r) { // an outer handler answers
			return next.ServeHTTP(w, r)
		}
		n.poll(w, r, token[0], next)
		return nil
	}
	x := exchange.Watch(w, r)
	defer x.End()
	x.Intercept(n.Intercept)
	err := x.Serve(next)
	if x.Intercepted() {
		err = x.Failure().Error
	}
	if err != nil {
		return n.failed(x, r, err)
	}
	return nil
}

// answerRoute answers in handle_errors, where the error is already logged.
func (n *NoHealthyUpstream) answerRoute(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, f failure.Failure) error {
	rec := exchange.Of(r)
	if !completeFailure(rec, r, &f) || f.ClientGone() {
		return next.ServeHTTP(w, r)
	}
	if !rec.Watched {
		rec.Done(f.Blame())
	}
	o := n.trackUnlogged(rec, f)
	if n.isPoll(r) {
		page.RespondToPoll(w, false, n.pollAfter(rec, f))
		return nil
	}
	return n.answer(w, r, rec, f, o)
}

// completeFailure ends the record of a failed request and corrects the cause with what the
// record knows. It returns false for the error of a handler that processed the upstream's
// own response, which is not ours to answer.
func completeFailure(rec *exchange.Record, r *http.Request, f *failure.Failure) (ours bool) {
	answered := rec.RecordResponse(r)
	if answered && f.FromResponseHandler() {
		return false
	}
	if answered && !f.Answered {
		rec.Detach() // the pool's upstream answered, so another proxy failed
	}
	if f.Cause == cause.DestinationUnavailable && !f.Answered && rec.AllFull() {
		f.Cause = cause.ConnectionLimitReached
	}
	maybeSent := f.Fate == cause.Unknown && !f.Answered
	if r.Context().Err() != nil || maybeSent && rec.ClientFault(r) {
		f.Cause = cause.ClientGone
	}
	return true
}

// failed ends the record of a failed request and answers if a proxy failed.
func (n *NoHealthyUpstream) failed(x *exchange.Exchange, r *http.Request, err error) error {
	f, ok := failure.Of(err)
	if !ok {
		x.RecordResponse(r)
		return err
	}
	if !completeFailure(&x.Record, r, &f) {
		return err
	}
	x.Done(f.Blame())
	switch {
	case x.Begun:
		return err
	case f.ClientGone():
		x.ResponseWriter.WriteHeader(failure.StatusClientGone) // for the access log
		return nil
	}
	return n.logAndAnswer(x, r, f)
}

// Interface guards
var (
	_ caddy.Provisioner           = (*NoHealthyUpstream)(nil)
	_ caddy.Validator             = (*NoHealthyUpstream)(nil)
	_ caddy.CleanerUpper          = (*NoHealthyUpstream)(nil)
	_ caddyhttp.MiddlewareHandler = (*NoHealthyUpstream)(nil)
)
