package exchange

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/healthpool/caddy-healthpool/internal/cause"
	"github.com/healthpool/caddy-healthpool/internal/failure"
)

// intercept is what there is to know of responses that the owner wants replaced.
type intercept struct {
	statuses      []int       // a single digit is a class
	headersBefore http.Header // as it was before any handler of the response
	status        int         // of the response that was intercepted; else 0
	text          []byte      // how its body begins
	cancel        context.CancelFunc
}

// meshText is what Envoy, and so Istio, says where it had no upstream itself: the
// request went no further.
const meshText = "no healthy upstream"

// Intercept has responses of upstreams with these statuses, or of these classes,
// kept from the client.
func (x *Exchange) Intercept(statuses []int) {
	if len(statuses) > 0 {
		x.intercept = &intercept{statuses: statuses, headersBefore: x.Header().Clone()}
	}
}

func (i *intercept) wants(status int) bool {
	return i != nil && (slices.Contains(i.statuses, status) || slices.Contains(i.statuses, status/100))
}

// take keeps a response from the client. Its body is waited for, but not for long.
func (i *intercept) begin(status int) {
	const bodyTimeout = time.Second
	i.status = status
	time.AfterFunc(bodyTimeout, i.cancel)
}

// Intercepted reports whether the response was kept from the client.
func (x *Exchange) Intercepted() bool { return x.intercept != nil && x.intercept.status != 0 }

// swallow takes the body of a response that was intercepted, of which only the
// beginning is of use.
func (i *intercept) discard(p []byte) (int, error) {
	const enough = len(meshText) + len("\r\n") + 1
	i.text = append(i.text, p[:min(len(p), enough-len(i.text))]...)
	return len(p), nil
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// Serve has next answer. A response that breaks off, or does not end, makes no
// difference where nobody is to see it.
func (x *Exchange) Serve(next caddyhttp.Handler) error {
	if x.intercept == nil {
		return next.ServeHTTP(x, x.request)
	}
	original := x.request.Context()
	ctx, cancel := context.WithCancel(original)
	x.intercept.cancel = cancel
	// In place: placeholders know this request, and no other.
	*x.request = *x.request.WithContext(ctx)
	defer func() {
		*x.request = *x.request.WithContext(original)
		cancel()
		if !x.Intercepted() {
			return
		}
		if broken := recover(); broken != nil && !isAbort(broken) {
			panic(broken)
		}
		header := x.ResponseWriter.Header()
		clear(header)
		maps.Copy(header, x.intercept.headersBefore)
	}()
	return next.ServeHTTP(x, x.request)
}

// isAbort tells whether a panic is that of a proxy whose response broke off.
func isAbort(broken any) bool {
	err, ok := broken.(error)
	return ok && errors.Is(err, http.ErrAbortHandler)
}

// Failure is the response that was intercepted, as a failure of the proxy.
func (x *Exchange) Failure() failure.Failure {
	if string(bytes.TrimSpace(x.intercept.text)) == meshText {
		return failure.Intercepted(x.intercept.status, cause.NotSent)
	}
	return failure.Intercepted(x.intercept.status, cause.Unknown)
}
