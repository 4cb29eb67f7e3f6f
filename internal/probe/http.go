package probe

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/cause"
	"github.com/healthpool/caddy-healthpool/internal/health"
)

const (
	// maxBody is how much of a body is searched, or read to reuse the connection, in bytes.
	maxBody = 64 << 10
	// maxRedirects is how many redirects are followed, if redirects are.
	maxRedirects = 10
)

// errTooManyRedirects ends a check after maxRedirects.
var errTooManyRedirects = fmt.Errorf("more than %d redirects, maybe in a circle", maxRedirects)

// HTTP checks that an upstream answers a request as expected.
//
// The transport bounds the size of headers, since checks share its connections with
// requests: Go reads up to 10 MiB of them, and of interim responses (1xx), unless the
// transport has its own limit. Timeout bounds how long that may take.
type HTTP struct {
	// Method of the request. Default: GET.
	Method string
	// URL to request, absolute.
	URL string
	// Host overrides the Host header. Default: Header's, else the URL's.
	Host string
	// Header is sent as is.
	Header http.Header
	// Body is sent if it is not empty.
	Body string
	// Status is the expected status, or its first digit for the whole class. Default: 200
	// to 399.
	Status int
	// ExpectBody must match the first 64 KiB of the body. Default: any body passes, and the
	// check does not wait for it.
	ExpectBody *regexp.Regexp
	// FollowRedirects follows up to 10 redirects, and the last response decides.
	FollowRedirects bool
	// Timeout bounds the whole check. Default: only the context does.
	Timeout time.Duration
	// Transport sends the request, and must stop when its context ends.
	// Default: [http.DefaultTransport].
	Transport http.RoundTripper
}

// Probe runs one check. If ctx ends before there is a result, the cause is
// [cause.ClientGone] and the result means nothing.
func (p *HTTP) Probe(ctx context.Context) health.Result {
	return run(ctx, p.Timeout, httpCheck{
		transport: p.Transport, request: p.request, redirect: p.redirect, evaluate: p.evaluate,
	}.check)
}

// evaluate compares a response with the expected one.
func (p *HTTP) evaluate(ctx context.Context, resp *http.Response, now *phase) *failure {
	if !p.accepts(resp.StatusCode) {
		detail := fmt.Sprintf("status %d, expected %s", resp.StatusCode, p.expected())
		return &failure{cause: cause.UnexpectedStatus, detail: detail}
	}
	if p.ExpectBody == nil {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return failureOf(ctx, err, now.late())
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
	configure(req, p.Host, p.Header)
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
