// Package failure tells the errors of Caddy's proxies from all others, and what
// they mean for the client.
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

// StatusClientGone is what proxies log when the client left first.
const StatusClientGone = 499

// Failure is a request that a proxy could not get a response for.
type Failure struct {
	Cause  cause.Cause
	Fate   cause.Fate
	Status int
	// Answered means that upstreams did respond, but with a status that the
	// owner's lb_retry_match does not accept.
	Answered bool
	// Error is the error as it came, with its ID and its text for the log.
	Error caddyhttp.HandlerError
}

// Of recognises a failure. Only reverse_proxy, and what is built on it, fails
// like this; an error that an upstream's own response led to is none.
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
	// Core exports no type for this error, nor any other sign of it.
	if f.Error.Err != nil && strings.HasPrefix(f.Error.Err.Error(), "upstream response matched retry_match") {
		f.Answered, f.Cause, f.Fate = true, cause.DestinationUnavailable, cause.Unknown
		return f, true
	}
	switch f.Status {
	case http.StatusServiceUnavailable: // "no upstreams available" alone has it
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

// interceptedError is a response that the owner wants replaced.
type interceptedError struct {
	status int
	fate   cause.Fate
}

func (e interceptedError) Error() string {
	return fmt.Sprintf("upstream answered with status %d, which is intercepted", e.status)
}

// Intercepted is a response that is kept from the client, as a failure of the proxy.
func Intercepted(status int, fate cause.Fate) Failure {
	f, _ := Of(caddyhttp.Error(status, interceptedError{status, fate}))
	return f
}

// ClientGone reports whether the client left, so that nobody is to be answered
// and no upstream is to blame.
func (f Failure) ClientGone() bool { return f.Cause == cause.ClientGone }

// Text is the error in words, on one line and bounded: an upstream may have chosen most
// of them.
func (f Failure) Text() string {
	const most = 1000 // characters
	if f.Error.Err == nil {
		return ""
	}
	return plain.Short(f.Error.Err.Error(), ' ', most)
}

// After reports whether, if the upstream did answer, this is the error of a handler
// that dealt with its response: reverse_proxy makes it look like its own.
func (f Failure) FromResponseHandler() bool {
	return f.Cause == cause.ProxyInternalError && !f.Answered
}

// Blame is what the upstream that was tried last is to blame for; empty if nothing.
func (f Failure) Blame() cause.Cause {
	if f.Answered {
		return ""
	}
	return f.Cause
}
