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

// maxDrain is how long the rest of a body may take before its connection is
// given up rather than used again.
const maxDrain = 100 * time.Millisecond

// maxConnections is how often a check may ask for a connection; each redirect
// does, and each time that the transport tries again. Go does that without a
// pause, thousands of times a second, when a server sends every new HTTP/2
// connection away before it takes a request.
const maxConnections = 3 * (1 + maxRedirects)

// errSentAway is what ends a check after maxConnections.
var errConnectionsClosed = errors.New("every new connection is closed before it takes a request")

// exchange is a check that sends a request and judges the response.
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

// configure gives a request the host and the header that its owner wants.
func configure(req *http.Request, host string, header http.Header) {
	if header != nil {
		req.Header = header.Clone() // the client adds to it
	}
	// net/http ignores the header of that name.
	if host = cmp.Or(host, header.Get("Host")); host != "" {
		req.Host = host
	}
}

// drain reads the rest of a body, if that is little and quickly done, so that
// the next check can use the connection again.
func drain(resp *http.Response, cancel context.CancelCauseFunc) {
	if resp.ContentLength > maxBody {
		return
	}
	timer := time.AfterFunc(maxDrain, func() { cancel(nil) })
	defer timer.Stop()
	_, _ = io.CopyN(io.Discard, resp.Body, maxBody) // if it fails, the connection is just not used again
}

// phase is how far a request got. Its hooks may run late, and in other
// goroutines: a transport goes on dialing when it has found another connection.
type phase struct {
	asked                atomic.Int32 // for how many connections
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

// late is the cause of a check that ran out of time in this phase. It is empty
// for a transport that tells nothing. TLS is part of getting a connection. The
// time for all of a response is what RFC 9209 calls http_response_timeout, so
// that is the word for a slow body, too.
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
