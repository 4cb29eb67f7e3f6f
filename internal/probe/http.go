package probe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/cause"
	"github.com/healthpool/caddy-healthpool/internal/health"
)

const (
	// maxBody is how much of a body is searched, or read for the sake of the
	// connection, in bytes.
	maxBody = 64 << 10
	// maxDrain is how long the rest of a body may take before its connection
	// is given up rather than used again.
	maxDrain = 100 * time.Millisecond
	// maxRedirects is how many redirects are followed, if any are.
	maxRedirects = 10
)

// errTooManyRedirects is what the client fails with after maxRedirects.
var errTooManyRedirects = errors.New("more than 10 redirects, maybe in a circle")

// HTTP checks that an upstream answers a request as expected.
type HTTP struct {
	// Method of the request. Default: GET.
	Method string
	// URL to ask for, absolute.
	URL string
	// Host overrides the Host header. Default: Header's, else the URL's.
	Host string
	// Header is sent as it is.
	Header http.Header
	// Body is sent if it is not empty.
	Body string
	// Status is what passes: a status, or its first digit for the whole
	// class. Default: 200 to 399.
	Status int
	// ExpectBody must match the first 64 KiB of the body. Default: anything
	// does, and the body is not waited for.
	ExpectBody *regexp.Regexp
	// FollowRedirects makes the last of at most 10 redirects decide instead
	// of the first.
	FollowRedirects bool
	// Timeout bounds all of the check. Default: none but that of the context.
	Timeout time.Duration
	// Transport makes the request and gives up when its context ends.
	// Default: [http.DefaultTransport].
	Transport http.RoundTripper
}

// Probe asks once. If ctx ends before there is a result, its cause is
// [cause.ClientGone] and it says nothing.
func (p *HTTP) Probe(ctx context.Context) health.Result {
	return run(ctx, p.Timeout, p.check)
}

func (p *HTTP) check(ctx context.Context, report func(*failure)) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var now phase
	req, err := p.request(httptrace.WithClientTrace(ctx, now.trace()))
	if err != nil {
		report(&failure{cause: cause.ProxyInternalError, detail: err.Error()})
		return
	}
	client := http.Client{Transport: p.Transport, CheckRedirect: p.redirect}
	resp, err := client.Do(req)
	switch {
	case errors.Is(err, errTooManyRedirects):
		report(&failure{cause: cause.UnexpectedStatus, detail: errTooManyRedirects.Error()})
		return
	case err != nil:
		report(failedBy(ctx, err, now.late()))
		return
	}
	defer resp.Body.Close()
	report(p.judge(ctx, resp, &now))
	drain(resp, cancel)
}

// judge compares an answer with what is expected.
func (p *HTTP) judge(ctx context.Context, resp *http.Response, now *phase) *failure {
	if !p.accepts(resp.StatusCode) {
		detail := fmt.Sprintf("status %d, expected %s", resp.StatusCode, p.expected())
		return &failure{cause: cause.UnexpectedStatus, detail: detail}
	}
	if p.ExpectBody == nil {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return failedBy(ctx, err, now.late())
	}
	if !p.ExpectBody.Match(body) {
		detail := fmt.Sprintf("the body (%d bytes were read) does not match %q", len(body), p.ExpectBody)
		return &failure{cause: cause.UnexpectedBody, detail: detail}
	}
	return nil
}

func (p *HTTP) request(ctx context.Context) (*http.Request, error) {
	var body io.Reader
	if p.Body != "" {
		body = strings.NewReader(p.Body)
	}
	req, err := http.NewRequestWithContext(ctx, p.Method, p.URL, body)
	if err != nil {
		return nil, fmt.Errorf("making the request: %w", err)
	}
	if p.Header != nil {
		req.Header = p.Header.Clone() // the client adds to it
	}
	// net/http ignores the header of that name.
	if host := cmp.Or(p.Host, p.Header.Get("Host")); host != "" {
		req.Host = host
	}
	return req, nil
}

func (p *HTTP) redirect(_ *http.Request, via []*http.Request) error {
	switch {
	case !p.FollowRedirects:
		return http.ErrUseLastResponse
	case len(via) > maxRedirects:
		return errTooManyRedirects
	default:
		return nil
	}
}

func (p *HTTP) accepts(status int) bool {
	switch {
	case p.Status == 0:
		return status >= 200 && status <= 399
	case p.Status < 10:
		return status/100 == p.Status
	default:
		return status == p.Status
	}
}

func (p *HTTP) expected() string {
	switch {
	case p.Status == 0:
		return "200-399"
	case p.Status < 10:
		return strconv.Itoa(p.Status) + "xx"
	default:
		return strconv.Itoa(p.Status)
	}
}

// drain reads the rest of a body, if that is little and quickly done, so that
// the next check can use the connection again.
func drain(resp *http.Response, cancel context.CancelFunc) {
	if resp.ContentLength > maxBody {
		return
	}
	timer := time.AfterFunc(maxDrain, cancel)
	defer timer.Stop()
	_, _ = io.CopyN(io.Discard, resp.Body, maxBody) // if it fails, the connection is just not used again
}

// phase is how far a request got. Its hooks may run late, and in other
// goroutines: a transport goes on dialing when it has found another connection.
type phase struct {
	traced, resolving, connected atomic.Bool
}

func (p *phase) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GetConn: func(string) { // once more for each redirect
			p.traced.Store(true)
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
	case !p.traced.Load():
		return ""
	case p.connected.Load():
		return cause.HTTPResponseTimeout
	case p.resolving.Load():
		return cause.DNSTimeout
	default:
		return cause.ConnectionTimeout
	}
}
