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

// intercept is the state of replacing upstream responses.
type intercept struct {
	statuses      []int       // a single digit is a class
	headersBefore http.Header // before any handler of the response
	status        int         // of the intercepted response, else 0
	text          []byte      // the beginning of its body
	cancel        context.CancelFunc
}

// meshText is the body of Envoy, and so Istio, when it had no upstream itself: then the
// request was not sent.
const meshText = "no healthy upstream"

// Intercept keeps upstream responses with these statuses, or classes of them, from the
// client.
func (x *Exchange) Intercept(statuses []int) {
	if len(statuses) > 0 {
		x.intercept = &intercept{statuses: statuses, headersBefore: x.Header().Clone()}
	}
}

func (i *intercept) wants(status int) bool {
	return i != nil && (slices.Contains(i.statuses, status) || slices.Contains(i.statuses, status/100))
}

// begin keeps the response from the client. Reading its body ends after a second.
func (i *intercept) begin(status int) {
	const bodyTimeout = time.Second
	i.status = status
	time.AfterFunc(bodyTimeout, i.cancel)
}

// Intercepted reports whether the response is kept from the client.
func (x *Exchange) Intercepted() bool { return x.intercept != nil && x.intercept.status != 0 }

// discard discards the body of an intercepted response, except its first bytes.
func (i *intercept) discard(p []byte) (int, error) {
	const enough = len(meshText) + len("\r\n") + 1
	i.text = append(i.text, p[:min(len(p), enough-len(i.text))]...)
	return len(p), nil
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// Serve calls next. If the response is intercepted, it does not matter whether it breaks
// off or never ends.
func (x *Exchange) Serve(next caddyhttp.Handler) error {
	if x.intercept == nil {
		return next.ServeHTTP(x, x.request)
	}
	original := x.request.Context()
	ctx, cancel := context.WithCancel(original)
	x.intercept.cancel = cancel
	// In place, because the replacer refers to this request.
	*x.request = *x.request.WithContext(ctx)
	defer func() {
		*x.request = *x.request.WithContext(original)
		cancel()
		if !x.Intercepted() {
			return
		}
		if panicked := recover(); panicked != nil && !isAbort(panicked) {
			panic(panicked)
		}
		header := x.ResponseWriter.Header()
		clear(header)
		maps.Copy(header, x.intercept.headersBefore)
	}()
	return next.ServeHTTP(x, x.request)
}

// isAbort reports whether a proxy panicked because its response broke off.
func isAbort(panicked any) bool {
	err, ok := panicked.(error)
	return ok && errors.Is(err, http.ErrAbortHandler)
}

// Failure returns the intercepted response as a failure of the proxy.
func (x *Exchange) Failure() failure.Failure {
	if string(bytes.TrimSpace(x.intercept.text)) == meshText {
		return failure.Intercepted(x.intercept.status, cause.NotSent)
	}
	return failure.Intercepted(x.intercept.status, cause.Unknown)
}
