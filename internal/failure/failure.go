// Package failure recognizes the errors of Caddy's proxies and says what they mean for the
// client.
package failure

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/healthpool/caddy-healthpool/internal/cause"
	"github.com/healthpool/caddy-healthpool/internal/plain"
)

// StatusClientGone is the status that proxies log when the client left.
const StatusClientGone = 499

// Failure is a request for which a proxy could not get a response.
type Failure struct {
	Cause  cause.Cause
	Fate   cause.Fate
	Status int
	// Answered means that upstreams did respond, but with a status that is to be retried
	// (lb_retry_match) or intercepted.
	Answered bool
	// Error is the original error, with its ID and its text for the log.
	Error caddyhttp.HandlerError
}

// Of recognizes a failure: an error of reverse_proxy or of a handler built on it, unless a
// response of the upstream led to it.
func Of(err error) (f Failure, ok bool) {
	var i interceptedError
	if errors.As(err, &i) && errors.As(err, &f.Error) {
		f.Answered, f.Status, f.Cause, f.Fate = true, f.Error.StatusCode, cause.DestinationUnavailable, i.fate
		return f, true
	}
	if !errors.As(err, &f.Error) || !strings.HasPrefix(f.Error.Trace, "reverseproxy.") {
		return f, false
	}
	f.Status = f.Error.StatusCode
	// Core exports no type for this error, so the text is the only sign.
	if f.Error.Err != nil && strings.HasPrefix(f.Error.Err.Error(), "upstream response matched retry_match") {
		f.Answered, f.Cause, f.Fate = true, cause.DestinationUnavailable, cause.Unknown
		return f, true
	}
	switch f.Status {
	case http.StatusServiceUnavailable: // only core's "no upstreams available" has it
		f.Cause = cause.DestinationUnavailable
	case http.StatusBadGateway, http.StatusGatewayTimeout, StatusClientGone:
		f.Cause = cause.Of(f.Error.Err)
	default:
		return f, false
	}
	if f.Status == StatusClientGone {
		f.Cause = cause.ClientGone
	}
	if f.Cause != cause.ClientGone {
		f.Status = f.Cause.Status()
	}
	f.Fate = f.Cause.Fate()
	return f, true
}

// interceptedError stands for a response that is to be replaced.
type interceptedError struct {
	status int
	fate   cause.Fate
}

func (e interceptedError) Error() string {
	return fmt.Sprintf("upstream answered with status %d, which is intercepted", e.status)
}

// Intercepted returns an intercepted response as a failure of the proxy.
func Intercepted(status int, fate cause.Fate) Failure {
	f, _ := Of(caddyhttp.Error(status, interceptedError{status, fate}))
	return f
}

// ClientGone reports whether the client left: then nobody needs an answer and no upstream
// is to blame.
func (f Failure) ClientGone() bool { return f.Cause == cause.ClientGone }

// Text returns the error's text on one line and with bounded length, because an upstream
// may have chosen most of it.
func (f Failure) Text() string {
	const most = 1000 // characters
	if f.Error.Err == nil {
		return ""
	}
	return plain.Short(f.Error.Err.Error(), ' ', most)
}

// FromResponseHandler reports whether, given that the upstream answered, this is the error
// of a handler that processed its response: reverse_proxy makes it look like its own.
func (f Failure) FromResponseHandler() bool {
	return f.Cause == cause.ProxyInternalError && !f.Answered
}

// Blame returns the failure of the upstream that was tried last; empty if it is not to
// blame.
func (f Failure) Blame() cause.Cause {
	if f.Answered {
		return ""
	}
	return f.Cause
}
