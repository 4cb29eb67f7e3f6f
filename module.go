// Package healthpool keeps sites behind Caddy's reverse_proxy answering while
// apps restart, and tells visitors what goes on when nothing is left to answer.
//
// It adds four modules to Caddy, each useful alone:
//
//   - http.handlers.no_healthy_upstream answers when the proxy, and only the
//     proxy, failed: with a page that brings visitors back by itself, or what
//     else the client understands.
//   - http.reverse_proxy.upstreams.healthpool is an upstream source that checks
//     its upstreams and holds requests while they restart.
//   - http.reverse_proxy.selection_policies.health_aware picks the upstream that
//     is likely to answer first.
//   - healthpool is the app that runs the checks; admin.api.healthpool shows
//     their results.
//
// In a Caddyfile, one line is all of it:
//
//	example.com {
//		healthpool app1:8080 app2:8080
//	}
package healthpool

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/healthpool/caddy-healthpool/internal/cause"
	"github.com/healthpool/caddy-healthpool/internal/exchange"
	"github.com/healthpool/caddy-healthpool/internal/failure"
	"github.com/healthpool/caddy-healthpool/internal/operator"
	"github.com/healthpool/caddy-healthpool/internal/option"
	"github.com/healthpool/caddy-healthpool/internal/outage"
	"github.com/healthpool/caddy-healthpool/internal/page"
	"github.com/healthpool/caddy-healthpool/internal/represent"
)

func init() {
	caddy.RegisterModule(new(NoHealthyUpstream))
	caddy.RegisterModule(new(HealthPoolUpstreams))
	caddy.RegisterModule(new(HealthAwareSelection))
	caddy.RegisterModule(new(App))
	caddy.RegisterModule(new(operator.AdminAPI))
	registerDirectives()
}

// NoHealthyUpstream wraps the handlers after it and answers in their place when
// a proxy among them (reverse_proxy, php_fastcgi, forward_auth) could not get a
// response. What an upstream did answer, whatever its status, passes untouched
// and unbuffered, and so does every error of another handler.
//
// Browsers get a page that brings the visitor back by itself; other clients get
// problem+json (RFC 9457), text or a bare status. It also works in handle_errors.
//
// These placeholders are set before anything is written:
//
// Placeholder | Description
// ------------|-------------
// `{http.no_healthy_upstream.cause}` | Why there was no answer, in the words of RFC 9209
// `{http.no_healthy_upstream.fate}` | `not_sent`, or `unknown` if the request may have been processed
// `{http.no_healthy_upstream.reference}` | What the visitor can quote: the `err_id` in the log
// `{http.no_healthy_upstream.retry_after}` | In how many seconds to try again; empty with `retry_after off`
// `{http.no_healthy_upstream.pool}` | The name of the pool; empty without `dynamic healthpool`
type NoHealthyUpstream struct {
	// The name of the site as visitors know it.
	// Default: the host that the request was for.
	Service string `json:"service,omitempty"`

	// One sentence of your own for visitors.
	Message string `json:"message,omitempty"`

	// Where visitors may go instead: a status page, support.
	Links []page.Link `json:"links,omitempty"`

	// The file of an html/template to use in place of the built-in page. It
	// may use .Title .Status .Cause .Fate .Reference .RetryAfter .Service
	// .Message .Links (each with .Label and .URL) .Lang .Dir and .Poll.
	Template string `json:"template,omitempty"`

	// The status to answer with, from 400 to 599. Default: by the cause, 503
	// without a usable upstream, 504 after a timeout, else 502.
	Status int `json:"status,omitempty"`

	// What to tell clients about when to try again; 0 is off: they are told
	// nothing. Default: by how long the outage lasts already.
	RetryAfter *caddy.Duration `json:"retry_after,omitempty"`

	// Whether the page looks by itself for the site to be back.
	// Default: true.
	Refresh *bool `json:"refresh,omitempty"`

	// Whether to set the placeholders only, and leave the error to
	// handle_errors. Default: false.
	Pass bool `json:"pass,omitempty"`

	app      *App
	logger   *zap.Logger
	outages  *outage.Log
	template *page.Template
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
	if n.Template != "" {
		text, err := os.ReadFile(n.Template)
		if err != nil {
			return fmt.Errorf("template: reading: %w", err)
		}
		if n.template, err = page.ParseTemplate(string(text)); err != nil {
			return fmt.Errorf("template: %s: %w", n.Template, err)
		}
	}
	var err error
	n.app, err = appOf(ctx)
	return err
}

// Validate checks the options.
func (n *NoHealthyUpstream) Validate() error {
	var errs []error
	if s := n.Status; s != 0 && (s < 400 || s > 599) {
		errs = append(errs, fmt.Errorf("status: must be from 400 to 599, got %d", s))
	}
	errs = append(errs, option.ZeroOrMore("retry_after", n.RetryAfter))
	for _, l := range n.Links {
		errs = append(errs, l.Validate())
	}
	return errors.Join(errs...)
}

// Cleanup sums up the outages that go on.
func (n *NoHealthyUpstream) Cleanup() error {
	if n.outages != nil {
		n.outages.Close()
	}
	return nil
}

// ServeHTTP answers if next fails to proxy.
func (n *NoHealthyUpstream) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if err, ok := r.Context().Value(caddyhttp.ErrorCtxKey).(error); ok { // in handle_errors
		if f, ok := failure.Of(err); ok && !f.ClientGone() {
			return n.answerRoute(w, r, next, f)
		}
	}
	if token := r.Header[pollHeader]; token != nil && r.Method == http.MethodHead {
		if exchange.IsPoll(r) { // a handler around us answers
			return next.ServeHTTP(w, r)
		}
		return n.answerPoll(w, r, token[0], next)
	}
	x := exchange.Watch(w, r)
	defer x.End()
	if err := next.ServeHTTP(x, r); err != nil {
		return n.failed(x, r, err)
	}
	return nil
}

// answerRoute answers in handle_errors, where the log has the error already.
func (n *NoHealthyUpstream) answerRoute(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, f failure.Failure) error {
	rec := exchange.Of(r)
	switch answered := rec.Settle(r); {
	case answered && f.After():
		return next.ServeHTTP(w, r)
	case !answered && !rec.Watched:
		rec.Done(f.Blame())
	}
	return n.answer(w, r, rec, f, f.Error.ID, time.Now())
}

// failed closes the record of a request that failed, and answers if that is for
// us to do.
func (n *NoHealthyUpstream) failed(x *exchange.Exchange, r *http.Request, err error) error {
	answered := x.Settle(r)
	f, ok := failure.Of(err)
	if !ok || answered && f.After() {
		return err
	}
	if answered && !f.Answered {
		x.Leave() // the pool's upstream did answer: another proxy failed
	}
	if r.Context().Err() != nil {
		f.Cause = cause.ClientGone
	} else if f.Cause == cause.DestinationUnavailable && x.Crowded() {
		f.Cause = cause.ConnectionLimitReached
	}
	x.Done(f.Blame())
	switch {
	case x.Begun:
		return err
	case f.ClientGone():
		x.ResponseWriter.WriteHeader(failure.StatusClientGone) // for the access log
		return nil
	case n.Pass:
		return n.answer(x.ResponseWriter, r, &x.Record, f, f.Error.ID, time.Now())
	}
	reference, since := n.log(r, &x.Record, f)
	return n.answer(x.ResponseWriter, r, &x.Record, f, reference, since)
}

// answer sets the placeholders and tells the client.
func (n *NoHealthyUpstream) answer(w http.ResponseWriter, r *http.Request, rec *exchange.Record, f failure.Failure, reference string, since time.Time) error {
	notice := page.Notice{
		Status: f.Status, Cause: f.Cause, Fate: rec.Fate(r, f), Reference: reference,
		Service: n.Service, Message: n.Message, Links: n.Links,
	}
	option.Default(&notice.Service, page.ServiceOf(r.Host))
	if n.Status != 0 {
		notice.Status = n.Status
	}
	poolName, token := "", noPool
	if p := rec.Pool(); p != nil {
		poolName, token = p.Name, p.Token
		if down, at := p.Outage(); down {
			since = at
		}
	}
	if *n.Refresh {
		notice.Poll = token
	}
	notice.RetryAfter = n.retryAfter(since)
	setPlaceholders(r, notice, poolName)
	if n.Pass {
		return f.Error
	}
	if extra, ok := r.Context().Value(caddyhttp.ExtraLogFieldsCtxKey).(*caddyhttp.ExtraLogFields); ok {
		extra.Add(zap.String("err_id", reference)) // in the access log, each request can be found
	}
	if err := n.template.Respond(w, r, represent.Choose(r), notice); err != nil {
		n.logger.Error("template failed; the visitor got the built-in page", zap.String("template", n.Template), zap.Error(err))
	}
	return nil
}

// retryAfter is in how many seconds clients should come back from an outage that
// began at since; 0 is for not telling.
func (n *NoHealthyUpstream) retryAfter(since time.Time) int {
	switch {
	case n.RetryAfter == nil:
		return outage.RetryAfter(time.Since(since))
	case *n.RetryAfter == 0:
		return 0
	}
	return outage.Seconds(time.Duration(*n.RetryAfter))
}

func setPlaceholders(r *http.Request, notice page.Notice, poolName string) {
	repl := exchange.Replacer(r)
	repl.Set("http.no_healthy_upstream.cause", string(notice.Cause))
	repl.Set("http.no_healthy_upstream.fate", string(notice.Fate))
	repl.Set("http.no_healthy_upstream.reference", notice.Reference)
	repl.Set("http.no_healthy_upstream.pool", poolName)
	retryAfter := ""
	if notice.RetryAfter > 0 {
		retryAfter = strconv.Itoa(notice.RetryAfter)
	}
	repl.Set("http.no_healthy_upstream.retry_after", retryAfter)
}

// log tells the owner: each outage once, with the reference that its visitors are
// given, and then how many more requests it met.
func (n *NoHealthyUpstream) log(r *http.Request, rec *exchange.Record, f failure.Failure) (reference string, since time.Time) {
	key := outage.Key{Cause: f.Cause}
	if p := rec.Pool(); p != nil {
		key.Pool = p.Name
		if down, at := p.Outage(); down {
			key.Down = at
		}
	}
	o, first := n.outages.Failed(key, f.Error.ID, time.Now())
	if first {
		upstream, _ := exchange.Replacer(r).GetString(exchange.HostPort)
		operator.LogOutage(n.logger, operator.Outage{
			Outage: o, Fate: rec.Fate(r, f), Upstream: upstream, Err: f.Error.Err, Request: r,
		})
	}
	return o.Reference, o.Since
}

// pollHeader marks the request by which a page asks whether the site is back.
const pollHeader = "Recovery-Poll"

// noPool is the token of a page that no pool has to do with.
const noPool = "direct"

// answerPoll tells a page whether to come back: 204 if so, else 503, and in
// either case when. A pool answers from memory. For a proxy without one, the
// only way to know is to let it try.
func (n *NoHealthyUpstream) answerPoll(w http.ResponseWriter, r *http.Request, token string, next caddyhttp.Handler) error {
	p := n.app.polls[token]
	down, since := false, time.Now()
	if p == nil {
		x := exchange.Watch(exchange.Unread(), r)
		defer x.End()
		// The page of a proxy without a pool is answered only by that proxy.
		x.Poll, x.Hurried = token != noPool, true
		var f failure.Failure
		f, down = failure.Of(next.ServeHTTP(x, r))
		since = n.outages.Since(outage.Key{Cause: f.Cause}, since)
		x.Done(f.Cause)
		if x.Poll {
			p = x.Pool()
		}
	}
	if p != nil {
		_, since = p.Outage()
		down = !p.Ready()
	}
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	if down {
		h.Set("Retry-After", strconv.Itoa(outage.RetryAfter(time.Since(since))))
		w.WriteHeader(http.StatusServiceUnavailable)
		return nil
	}
	const spread = 2 // seconds over which visitors return
	h.Set("Retry-After", strconv.Itoa(rand.IntN(spread)))
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner           = (*NoHealthyUpstream)(nil)
	_ caddy.Validator             = (*NoHealthyUpstream)(nil)
	_ caddy.CleanerUpper          = (*NoHealthyUpstream)(nil)
	_ caddyhttp.MiddlewareHandler = (*NoHealthyUpstream)(nil)
)
