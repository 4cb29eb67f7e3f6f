package healthpool

import (
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/healthpool/caddy-healthpool/internal/cause"
	"github.com/healthpool/caddy-healthpool/internal/exchange"
	"github.com/healthpool/caddy-healthpool/internal/failure"
	"github.com/healthpool/caddy-healthpool/internal/health"
	"github.com/healthpool/caddy-healthpool/internal/intent"
	"github.com/healthpool/caddy-healthpool/internal/operator"
	"github.com/healthpool/caddy-healthpool/internal/outage"
	"github.com/healthpool/caddy-healthpool/internal/page"
	"github.com/healthpool/caddy-healthpool/internal/pool"
	"github.com/healthpool/caddy-healthpool/internal/represent"
)

// logAndAnswer logs a request that failed behind this handler and answers it. With pass,
// handle_errors does the logging.
func (n *NoHealthyUpstream) logAndAnswer(x *exchange.Exchange, r *http.Request, f failure.Failure) error {
	if n.Pass {
		return n.answer(x.ResponseWriter, r, &x.Record, f, n.trackUnlogged(&x.Record, f))
	}
	return n.answer(x.ResponseWriter, r, &x.Record, f, n.logOutage(r, &x.Record, f))
}

// answer sets the placeholders and answers the client. since is when this handler first saw
// the outage; a pool knows that better.
func (n *NoHealthyUpstream) answer(w http.ResponseWriter, r *http.Request, rec *exchange.Record, f failure.Failure, o outage.Outage) error {
	notice := page.Notice{Status: f.Status, Cause: f.Cause, Fate: rec.Fate(r, f), Reference: o.Reference}
	if n.Status != 0 {
		notice.Status = n.Status
	}
	p := rec.Pool()
	setMaintenance(&notice, rec)
	n.setRetry(&notice, p, rec.Admitted, o.Since)
	setPlaceholders(r, notice, p)
	if n.Pass {
		return f.Error
	}
	logReference(r, o.Reference)
	if n.showsDetails(r) {
		notice.Details = details(p, f)
	}
	format := n.format(r)
	if format == represent.HTML {
		n.setPoll(&notice, r, p, f)
	}
	operator.CountResponse(notice.Cause, format, notice.Status)
	if err := n.page.Respond(w, r, format, notice); err != nil {
		n.logTemplateFailure(err)
	}
	return nil
}

// logReference adds the reference to the access log entry of r.
func logReference(r *http.Request, reference string) {
	if extra, ok := r.Context().Value(caddyhttp.ExtraLogFieldsCtxKey).(*caddyhttp.ExtraLogFields); ok {
		extra.Add(zap.String("err_id", reference))
	}
}

func (n *NoHealthyUpstream) format(r *http.Request) represent.Format {
	if n.EventStream == hold && represent.WantsEvents(r) {
		return represent.EventStream
	}
	return represent.Choose(r)
}

// logTemplateFailure logs the error, at most once a minute.
func (n *NoHealthyUpstream) logTemplateFailure(err error) {
	const window = time.Minute
	now := time.Now().UnixNano()
	if last := n.templateLoggedAt.Load(); now-last > int64(window) && n.templateLoggedAt.CompareAndSwap(last, now) {
		n.logger.Error("template failed; visitors get the built-in page", zap.String("template", n.Template), zap.Error(err))
	}
}

// setPoll sets the token with which the page polls, unless polling is off, and tells the
// pool to expect one more poll.
func (n *NoHealthyUpstream) setPoll(notice *page.Notice, r *http.Request, p *pool.Pool, f failure.Failure) {
	switch {
	case !*n.Refresh:
	case p == nil, f.Answered: // an upstream answered, so a pool would say that it is up
		notice.Poll = noPool
	default:
		notice.Poll = p.Token
		if r.Method != http.MethodHead {
			const firstPoll = 4 // seconds; the latest first poll of page.js
			p.Expect(time.Now(), min(notice.RetryAfter, firstPoll))
		}
	}
}

// setMaintenance sets what visitors are told about a pool in maintenance.
func setMaintenance(notice *page.Notice, rec *exchange.Record) {
	if maintenance := maintenanceFor(rec); maintenance != nil {
		notice.Planned, notice.Message = true, maintenance.Message
		if maintenance.Until.After(time.Now()) {
			notice.Until = maintenance.Until
		}
	}
}

// maintenanceFor returns the maintenance that kept a request from its pool, or nil if that
// was not the reason.
func maintenanceFor(rec *exchange.Record) *intent.Intent {
	if p := rec.Pool(); p != nil && !rec.Admitted {
		return p.Maintenance()
	}
	return nil
}

// setRetry sets when clients should try again, in an outage that began at since.
func (n *NoHealthyUpstream) setRetry(notice *page.Notice, p *pool.Pool, admitted bool, since time.Time) {
	var after time.Duration
	known := false
	if p != nil {
		after, notice.Long, known = p.RetryAfter(time.Now(), admitted)
	}
	if !known {
		age := time.Since(since)
		after, notice.Long = outage.Estimate(age, nil, 0), outage.IsLong(age, nil)
	}
	switch {
	case n.RetryAfter == nil, *n.RetryAfter > 0 && !notice.Until.IsZero():
		notice.RetryAfter = outage.Seconds(after)
	case *n.RetryAfter > 0:
		notice.RetryAfter = outage.Seconds(time.Duration(*n.RetryAfter))
	}
}

func setPlaceholders(r *http.Request, notice page.Notice, p *pool.Pool) {
	repl := exchange.Replacer(r)
	poolName := ""
	if p != nil {
		poolName = p.Name
	}
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

// logOutage logs an outage once, with the reference that visitors get; later failures are
// only counted.
func (n *NoHealthyUpstream) logOutage(r *http.Request, rec *exchange.Record, f failure.Failure) outage.Outage {
	o, first := n.outages.Failed(outageKey(rec, f), f.Error.ID, time.Now())
	if first {
		upstream, _ := exchange.Replacer(r).GetString(exchange.HostPort)
		operator.LogOutage(n.logger, operator.Outage{
			Outage: o, Cause: f.Cause, Fate: rec.Fate(r, f), Upstream: upstream, Err: errors.New(f.Text()), Request: r,
		})
	}
	return o
}

// trackUnlogged returns the outage of a failure that is logged elsewhere, where the reference
// is the failure's own ID.
func (n *NoHealthyUpstream) trackUnlogged(rec *exchange.Record, f failure.Failure) outage.Outage {
	o, _ := n.unlogged.Failed(outageKey(rec, f), f.Error.ID, time.Now())
	o.Reference = f.Error.ID
	return o
}

// showsDetails reports whether the client is in one of the ranges of details.
func (n *NoHealthyUpstream) showsDetails(r *http.Request) bool {
	if len(n.details) == 0 {
		return false
	}
	client, err := exchange.Client(r)
	return err == nil && slices.ContainsFunc(n.details, func(p netip.Prefix) bool { return p.Contains(client) })
}

// details returns what is wrong with the pool, for the clients in details.
func details(p *pool.Pool, f failure.Failure) *page.Details {
	d := &page.Details{Cause: f.Cause}
	if f.Cause != cause.DestinationUnavailable { // its text says no more than the advice
		d.Error = f.Text()
	}
	if p == nil {
		return d
	}
	const most = 50
	d.Pool = p.Name
	for _, u := range p.Status().Upstreams {
		if u.State == health.Healthy.String() || len(d.Upstreams) == most {
			continue
		}
		shown := page.Upstream{Address: u.Address, State: u.State, Cause: u.Cause, Detail: u.Detail, Advice: u.Advice}
		if !u.Since.IsZero() {
			shown.Since = &u.Since
		}
		d.Upstreams = append(d.Upstreams, shown)
	}
	return d
}

// pollHeader marks a page's poll, which asks whether the site is up.
const pollHeader = "Recovery-Poll"

// noPool is the token of a page for an outage in which no pool is involved.
const noPool = "direct"

// isPoll reports whether r is a poll of one of our pages.
func (n *NoHealthyUpstream) isPoll(r *http.Request) bool {
	return r.Method == http.MethodHead && r.Header[pollHeader] != nil && *n.Refresh
}

// poll answers a page's poll. A pool answers from memory; for a proxy without a pool, the
// only way to find out is to send the poll to the upstream.
func (n *NoHealthyUpstream) poll(w http.ResponseWriter, r *http.Request, token string, next caddyhttp.Handler) {
	var up bool
	var after int
	if p := n.app.polls[token]; p != nil {
		up, after = p.Poll(time.Now(), admits(p, r))
	} else {
		up, after = n.tryPoll(r, token, next)
	}
	page.RespondToPoll(w, up, after)
}

// admits reports whether p is in maintenance but lets the client of r through.
func admits(p *pool.Pool, r *http.Request) bool {
	maintenance := p.Maintenance()
	if maintenance == nil {
		return false
	}
	client, err := exchange.Client(r)
	return err == nil && maintenance.Admits(client)
}

// tryPoll sends the poll down the handler chain. It ends at the pool that the page is about
// or, without a pool, at the upstream.
func (n *NoHealthyUpstream) tryPoll(r *http.Request, token string, next caddyhttp.Handler) (up bool, after int) {
	x := exchange.Watch(exchange.DiscardWriter(), r)
	defer x.End()
	x.Intercept(n.Intercept)
	// Without a pool, only the upstream itself can tell.
	x.Poll, x.NoHold = token != noPool, true
	f, down := failure.Of(x.Serve(next))
	if x.Intercepted() {
		f, down = x.Failure(), true
	}
	x.Done(f.Blame())
	p := x.Pool()
	switch {
	case p != nil && (x.Poll || !down):
		return p.Poll(time.Now(), admits(p, r))
	case down:
		return false, n.pollAfter(&x.Record, f)
	}
	return true, 0
}

// pollAfter returns in how many seconds a page should poll again after its poll failed.
func (n *NoHealthyUpstream) pollAfter(rec *exchange.Record, f failure.Failure) int {
	now, key := time.Now(), outageKey(rec, f)
	return outage.PollAfter(now.Sub(n.outages.Since(key, n.unlogged.Since(key, now))), 0)
}

// outageKey identifies the outage in which a request failed. While a pool is down, all its
// failures are one outage, whatever their causes.
func outageKey(rec *exchange.Record, f failure.Failure) outage.Key {
	key := outage.Key{Cause: f.Cause, Planned: maintenanceFor(rec) != nil}
	if p := rec.Pool(); p != nil {
		key.Pool = p.Name
		if down, at := p.DownSince(); down {
			key.Down, key.Cause = at, cause.DestinationUnavailable
		}
	}
	return key
}
