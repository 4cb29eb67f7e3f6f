package probe

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/cause"
)

// maxDrain is how long reading the rest of a body may take before the connection is closed
// instead of reused.
const maxDrain = 100 * time.Millisecond

// maxConnections is how many connections a check may ask for; each redirect does, and each
// retry of the transport. Go retries without a pause, thousands of times a second, when a
// server closes every new HTTP/2 connection before it takes a request.
const maxConnections = 3 * (1 + maxRedirects)

// errConnectionsClosed ends a check after maxConnections.
var errConnectionsClosed = errors.New("every new connection is closed before it takes a request")

// httpCheck is a check that sends a request and evaluates the response.
type httpCheck struct {
	transport http.RoundTripper
	request   func(context.Context) (*http.Request, error)
	redirect  func(next *http.Request, via []*http.Request) error
	evaluate  func(context.Context, *http.Response, *phase) *failure
}

func (e httpCheck) check(ctx context.Context, report func(*failure)) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var now phase
	req, err := e.request(httptrace.WithClientTrace(ctx, now.trace(cancel)))
	if err != nil {
		report(&failure{cause: cause.ProxyInternalError, detail: err.Error()})
		return
	}
	client := http.Client{Transport: e.transport, CheckRedirect: e.redirect}
	resp, err := client.Do(req)
	switch {
	case errors.Is(err, errTooManyRedirects):
		report(&failure{cause: cause.UnexpectedStatus, detail: errTooManyRedirects.Error()})
		return
	case err != nil:
		report(failureOf(ctx, err, now.late()))
		return
	}
	defer resp.Body.Close()
	report(e.evaluate(ctx, resp, &now))
	drain(resp, cancel)
}

// configure sets the host and header of a request.
func configure(req *http.Request, host string, header http.Header) {
	if header != nil {
		req.Header = header.Clone() // the client adds fields
	}
	// net/http ignores a Host in the header.
	if host = cmp.Or(host, header.Get("Host")); host != "" {
		req.Host = host
	}
}

// drain reads the rest of a body if it is short and arrives quickly, so that the next check
// can reuse the connection.
func drain(resp *http.Response, cancel context.CancelCauseFunc) {
	if resp.ContentLength > maxBody {
		return
	}
	timer := time.AfterFunc(maxDrain, func() { cancel(nil) })
	defer timer.Stop()
	_, _ = io.CopyN(io.Discard, resp.Body, maxBody) // on failure the connection is just not reused
}

// phase is how far a request has got. Its hooks may run late and in other goroutines: a
// transport continues dialing after it has found another connection.
type phase struct {
	asked                atomic.Int32 // number of connections
	resolving, connected atomic.Bool
}

func (p *phase) trace(cancel context.CancelCauseFunc) *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GetConn: func(string) {
			if p.asked.Add(1) > maxConnections {
				cancel(errConnectionsClosed)
			}
			p.connected.Store(false)
		},
		DNSStart: func(httptrace.DNSStartInfo) { p.resolving.Store(true) },
		DNSDone:  func(httptrace.DNSDoneInfo) { p.resolving.Store(false) },
		GotConn:  func(httptrace.GotConnInfo) { p.connected.Store(true) },
	}
}

// late returns the cause of a timeout in this phase; empty if the transport does not report
// phases. TLS is part of connecting. RFC 9209 defines http_response_timeout for the
// complete response, so it also covers a slow body.
func (p *phase) late() cause.Cause {
	switch {
	case p.asked.Load() == 0:
		return ""
	case p.connected.Load():
		return cause.HTTPResponseTimeout
	case p.resolving.Load():
		return cause.DNSTimeout
	default:
		return cause.ConnectionTimeout
	}
}
