// Package probe runs one check of one upstream: can it be reached, and does it answer as
// expected? When to check, and what follows, is decided elsewhere.
package probe

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/cause"
	"github.com/healthpool/caddy-healthpool/internal/health"
	"github.com/healthpool/caddy-healthpool/internal/plain"
)

// oneLine returns the beginning of an error text on one line: an upstream that sends
// garbage may have chosen it.
func oneLine(s string) string { return plain.Short(s, ' ', maxDetail) }

// maxDetail bounds a result's detail, in characters.
const maxDetail = 256

// failure is why an upstream failed the check.
type failure struct {
	cause    cause.Cause
	decisive bool
	detail   string
}

// check is one check. It calls report once, with nil if the upstream passed, as soon as the
// result is known, and cleans up afterwards.
type check func(ctx context.Context, report func(*failure))

// run runs a check with a timeout, measures it and returns its result. A panic is a failed
// check: the transport may be a third-party module, and the process serves more than this
// upstream.
func run(parent context.Context, timeout time.Duration, check check) (result health.Result) {
	ctx, cancel := withTimeout(parent, timeout)
	defer cancel()
	start := time.Now()
	defer func() {
		if v := recover(); v != nil {
			result = health.Result{
				At: start, Duration: time.Since(start),
				Cause: cause.ProxyInternalError, Detail: oneLine(fmt.Sprint("panic: ", v)),
			}
		}
	}()
	check(ctx, func(f *failure) {
		result = health.Result{At: start, Duration: time.Since(start)}
		switch {
		case f == nil:
		case parent.Err() != nil:
			// Canceling the check may have caused any failure.
			result.Cause, result.Detail = cause.ClientGone, oneLine(f.detail)
		default:
			result.Cause, result.Decisive, result.Detail = f.cause, f.decisive, oneLine(f.detail)
		}
	})
	return result
}

func withTimeout(parent context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if timeout <= 0 {
		return context.WithCancel(parent)
	}
	return context.WithTimeout(parent, timeout)
}

// failureOf returns the failure that err means. If the check timed out, err only shows what
// was torn down then, so late is the cause, unless err is decisive.
func failureOf(ctx context.Context, err error, late cause.Cause) *failure {
	if errors.Is(context.Cause(ctx), errConnectionsClosed) {
		return &failure{cause: cause.ConnectionTerminated, detail: errConnectionsClosed.Error()}
	}
	// Drop the method and URL in front of every error.
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	f := &failure{cause: cause.Of(err), decisive: cause.Decisive(err), detail: err.Error()}
	if !f.decisive && late != "" && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		f.cause, f.detail = late, timeoutText(late)+": "+f.detail
	}
	return f
}

// timeoutText says what did not happen in time, where Go only reports an exceeded deadline.
func timeoutText(late cause.Cause) string {
	switch late {
	case cause.DNSTimeout:
		return "the name did not resolve in time"
	case cause.ConnectionTimeout:
		return "no connection in time"
	default:
		return "no complete response in time"
	}
}
