package exchange

import (
	"bufio"
	"io"
	"net"
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/healthpool/caddy-healthpool/internal/failure"
)

// Exchange is one request and its response on their way through no_healthy_upstream, in one
// allocation. It buffers nothing and only observes the beginning of the response.
type Exchange struct {
	caddyhttp.ResponseWriterWrapper
	Record
	// Begun is whether the response has begun: then nothing else may be written.
	Begun bool

	request   *http.Request
	outer     *Record    // the record that this one replaces
	intercept *intercept // nil if no response is to be replaced
}

// Watch starts the exchange of r, whose response goes to w. Until End, other modules find
// it as the record of r.
func Watch(w http.ResponseWriter, r *http.Request) *Exchange {
	x := &Exchange{ResponseWriterWrapper: caddyhttp.ResponseWriterWrapper{ResponseWriter: w}, request: r}
	x.Watched = true
	x.watchBody(r)
	x.outer, _ = caddyhttp.GetVar(r.Context(), recordKey).(*Record)
	caddyhttp.SetVar(r.Context(), recordKey, &x.Record)
	return x
}

// End ends an attempt that is still in progress, even after a panic of the response. A
// later proxy, in handle_errors, is not watched.
func (x *Exchange) End() {
	x.Done("")
	x.Watched = false
	if x.outer != nil {
		caddyhttp.SetVar(x.request.Context(), recordKey, x.outer)
	}
}

// IsPoll reports whether an outer handler already answers r as a poll.
func IsPoll(r *http.Request) bool {
	rec, ok := caddyhttp.GetVar(r.Context(), recordKey).(*Record)
	return ok && rec.NoHold
}

// begin records the first final status; a 1xx other than 101 is not final.
func (x *Exchange) begin(status int) {
	if x.Begun || x.Intercepted() || status < 200 && status != http.StatusSwitchingProtocols {
		return
	}
	if x.intercept.wants(status) && x.answeredWith(x.request, status) {
		x.intercept.begin(status)
	} else {
		x.Begun = true
	}
	if status != failure.StatusClientGone {
		x.RecordResponse(x.request)
	}
}

// WriteHeader implements http.ResponseWriter.
func (x *Exchange) WriteHeader(status int) {
	x.begin(status)
	if !x.Intercepted() {
		x.ResponseWriter.WriteHeader(status)
	}
}

// Write implements http.ResponseWriter.
func (x *Exchange) Write(p []byte) (int, error) {
	x.begin(http.StatusOK)
	if x.Intercepted() {
		return x.intercept.discard(p)
	}
	return x.ResponseWriter.Write(p)
}

// ReadFrom implements io.ReaderFrom.
func (x *Exchange) ReadFrom(r io.Reader) (int64, error) {
	x.begin(http.StatusOK)
	if x.Intercepted() {
		return io.Copy(writerFunc(x.intercept.discard), r)
	}
	return x.ResponseWriterWrapper.ReadFrom(r)
}

// FlushError implements what http.ResponseController looks for.
func (x *Exchange) FlushError() error {
	x.begin(http.StatusOK)
	if x.Intercepted() {
		return nil
	}
	return http.NewResponseController(x.ResponseWriter).Flush()
}

// Flush implements http.Flusher.
func (x *Exchange) Flush() { _ = x.FlushError() }

// Hijack implements http.Hijacker.
func (x *Exchange) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	x.Begun = true
	return http.NewResponseController(x.ResponseWriter).Hijack()
}

// DiscardWriter returns a response writer that discards the response.
func DiscardWriter() http.ResponseWriter { return discardWriter{make(http.Header)} }

type discardWriter struct{ header http.Header }

func (u discardWriter) Header() http.Header         { return u.header }
func (u discardWriter) Write(p []byte) (int, error) { return len(p), nil }
func (u discardWriter) WriteHeader(int)             {}

// Interface guards
var (
	_ http.Flusher  = (*Exchange)(nil)
	_ http.Hijacker = (*Exchange)(nil)
	_ io.ReaderFrom = (*Exchange)(nil)
)
