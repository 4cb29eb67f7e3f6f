// Package probe checks one upstream once: can it be reached, and does it
// answer as its owner expects. When to check and what follows is not decided
// here.
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

// oneLine is the beginning of what an error says: an upstream that answers with
// garbage chooses that.
func oneLine(s string) string { return plain.Short(s, ' ', maxDetail) }

// maxDetail bounds a result's detail, in characters.
const maxDetail = 256

// failure is what a check ends with when the upstream fails it.
type failure struct {
	cause    cause.Cause
	decisive bool
	detail   string
}

// check is one check. It reports once how the upstream failed it, or nil, as
// soon as that is known, and cleans up after that.
type check func(ctx context.Context, report func(*failure))

// run measures a check, bounds it in time, and turns its outcome into a
// result. A panic in what the check calls is a failed check: a transport may
// be a module that others wrote, and the process serves more than this upstream.
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
			// Whatever it was, breaking the check off may have caused it.
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

// failedBy is the failure that err means. If the check ran out of time, the
// error only tells what was torn down then, so late tells the cause; unless
// the error is proof in itself.
func failureOf(ctx context.Context, err error, late cause.Cause) *failure {
	if errors.Is(context.Cause(ctx), errConnectionsClosed) {
		return &failure{cause: cause.ConnectionTerminated, detail: errConnectionsClosed.Error()}
	}
	// Nobody needs to read the method and the URL in front of every error.
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	f := &failure{cause: cause.Of(err), decisive: cause.Decisive(err), detail: err.Error()}
	if !f.decisive && late != "" && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		f.cause, f.detail = late, timeoutText(late)+": "+f.detail
	}
	return f
}

// inTime says what did not come before a check ran out of time, where Go only
// says that a deadline was exceeded.
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
