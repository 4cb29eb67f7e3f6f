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
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/healthpool/caddy-healthpool/internal/cause"
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
	Links []Link `json:"links,omitempty"`

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

// Link is a way out that visitors are offered.
type Link struct {
	// What it says.
	Label string `json:"label"`
	// Where it leads: an https, http, mailto or tel URL.
	URL string `json:"url"`
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
	n.outages = &outage.Log{Summarise: n.summarise}
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
		errs = append(errs, l.validate())
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
			return n.answer(w, r, recordOf(r), f, f.Error.ID, time.Now())
		}
	}
	if token := r.Header[pollHeader]; token != nil && r.Method == http.MethodHead {
		return n.answerPoll(w, r, token[0], next)
	}
	x := &exchange{ResponseWriterWrapper: caddyhttp.ResponseWriterWrapper{ResponseWriter: w}}
	x.Watched = true
	caddyhttp.SetVar(r.Context(), recordKey, &x.record)
	defer x.Done(false) // even if a response that breaks off panics
	err := next.ServeHTTP(x, r)
	if err == nil {
		return nil
	}
	f, ok := failure.Of(err)
	if !ok {
		return err
	}
	return n.failed(x, r, f)
}

// failed closes the record of a request that failed, and answers if that is for
// us to do.
func (n *NoHealthyUpstream) failed(x *exchange, r *http.Request, f failure.Failure) error {
	if r.Context().Err() != nil {
		f.Cause = cause.ClientGone
	}
	x.noteSelected(r)
	if f.Answered {
		x.Answered(f.Status)
	}
	x.Done(!f.Answered && !f.ClientGone())
	switch {
	case x.begun:
		return f.Error
	case f.ClientGone():
		x.ResponseWriter.WriteHeader(failure.StatusClientGone) // for the access log
		return nil
	case n.Pass:
		return n.answer(x.ResponseWriter, r, &x.record, f, f.Error.ID, time.Now())
	}
	reference, since := n.log(r, &x.record, f)
	return n.answer(x.ResponseWriter, r, &x.record, f, reference, since)
}

// answer sets the placeholders and tells the client.
func (n *NoHealthyUpstream) answer(w http.ResponseWriter, r *http.Request, rec *record, f failure.Failure, reference string, since time.Time) error {
	notice := page.Notice{
		Status: f.Status, Cause: f.Cause, Fate: rec.fate(r, f), Reference: reference,
		Service: n.Service, Message: n.Message,
	}
	option.Default(&notice.Service, hostOf(r))
	if n.Status != 0 {
		notice.Status = n.Status
	}
	for _, l := range n.Links {
		notice.Links = append(notice.Links, page.Link(l))
	}
	poolName, token := "", "-" // any token that is no pool's
	if p := rec.Pool(); p != nil {
		poolName, token = p.Name, pollToken(p.Name)
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
	repl := replacerOf(r)
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
func (n *NoHealthyUpstream) log(r *http.Request, rec *record, f failure.Failure) (reference string, since time.Time) {
	key := outage.Key{Cause: f.Cause}
	if p := rec.Pool(); p != nil {
		key.Pool = p.Name
		if down, at := p.Outage(); down {
			key.Down = at
		}
	}
	o, first := n.outages.Failed(key, f.Error.ID, time.Now())
	if first {
		upstream, _ := replacerOf(r).GetString(hostPortPlaceholder)
		n.logger.Error("no healthy upstream",
			zap.String("err_id", o.Reference), zap.String("cause", string(f.Cause)),
			zap.String("fate", string(rec.fate(r, f))), zap.String("pool", key.Pool),
			zap.String("upstream", upstream), zap.Error(f.Error.Err),
			zap.String("advice", f.Cause.Advice()),
			zap.Object("request", caddyhttp.LoggableHTTPRequest{Request: r}))
	}
	return o.Reference, o.Since
}

func (n *NoHealthyUpstream) summarise(o outage.Outage) {
	n.logger.Error("no healthy upstream for more requests",
		zap.String("err_id", o.Reference), zap.String("cause", string(o.Cause)), zap.String("pool", o.Pool),
		zap.Int("suppressed", o.Suppressed), zap.Duration("since", time.Since(o.Since)))
}

// hostOf is the host that r is for, as people write it.
func hostOf(r *http.Request) string {
	if host, _, err := net.SplitHostPort(r.Host); err == nil {
		return host
	}
	return strings.Trim(r.Host, "[]")
}

func (l Link) validate() error {
	u, err := url.Parse(l.URL)
	switch {
	case l.Label == "":
		return fmt.Errorf("link: must have a label, got only %q", l.URL)
	case err != nil:
		return fmt.Errorf("link: must have a URL, got %q: %w", l.URL, err)
	case !slices.Contains([]string{"https", "http", "mailto", "tel"}, u.Scheme):
		return fmt.Errorf("link: must be an https, http, mailto or tel URL, got %q", l.URL)
	}
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner           = (*NoHealthyUpstream)(nil)
	_ caddy.Validator             = (*NoHealthyUpstream)(nil)
	_ caddy.CleanerUpper          = (*NoHealthyUpstream)(nil)
	_ caddyhttp.MiddlewareHandler = (*NoHealthyUpstream)(nil)
)
