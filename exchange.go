package healthpool

import (
	"bufio"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/healthpool/caddy-healthpool/internal/failure"
	"github.com/healthpool/caddy-healthpool/internal/outage"
)

// exchange is one request and its response on the way through no_healthy_upstream,
// in one piece of memory. It buffers nothing; it only sees the response begin.
type exchange struct {
	caddyhttp.ResponseWriterWrapper
	record
	begun bool
}

// begin notes the first final status; 1xx but 101 announces another.
func (x *exchange) begin(status int) {
	if x.begun || status < 200 && status != http.StatusSwitchingProtocols {
		return
	}
	x.begun = true
	if status != failure.StatusClientGone {
		x.Answered(status)
	}
}

// WriteHeader implements http.ResponseWriter.
func (x *exchange) WriteHeader(status int) {
	x.begin(status)
	x.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (x *exchange) Write(p []byte) (int, error) {
	x.begin(http.StatusOK)
	return x.ResponseWriter.Write(p)
}

// ReadFrom implements io.ReaderFrom.
func (x *exchange) ReadFrom(r io.Reader) (int64, error) {
	x.begin(http.StatusOK)
	return x.ResponseWriterWrapper.ReadFrom(r)
}

// FlushError flushes as http.ResponseController wants it.
func (x *exchange) FlushError() error {
	x.begin(http.StatusOK)
	return http.NewResponseController(x.ResponseWriter).Flush()
}

// Flush implements http.Flusher.
func (x *exchange) Flush() { _ = x.FlushError() }

// Hijack implements http.Hijacker.
func (x *exchange) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	x.begun = true
	return http.NewResponseController(x.ResponseWriter).Hijack()
}

// pollHeader marks the request by which a page asks whether the site is back.
const pollHeader = "Recovery-Poll"

// answerPoll tells a page whether to come back: 204 if so, else 503, and in
// either case when. A pool answers from memory. For a proxy without one, the
// only way to know is to let it try.
func (n *NoHealthyUpstream) answerPoll(w http.ResponseWriter, r *http.Request, token string, next caddyhttp.Handler) error {
	p := n.app.polls[token]
	down, since := false, time.Now()
	if p == nil {
		x := &exchange{ResponseWriterWrapper: caddyhttp.ResponseWriterWrapper{ResponseWriter: unread{make(http.Header)}}}
		x.Watched, x.Poll = true, true
		caddyhttp.SetVar(r.Context(), recordKey, &x.record)
		var f failure.Failure
		f, down = failure.Of(next.ServeHTTP(x, r))
		since = n.outages.Since(outage.Key{Cause: f.Cause}, since)
		x.Done(down)
		p = x.Pool()
	}
	if p != nil {
		down, since = p.Outage()
	}
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	if down {
		h.Set("Retry-After", strconv.Itoa(outage.RetryAfter(time.Since(since))))
		w.WriteHeader(http.StatusServiceUnavailable)
		return nil
	}
	const spread = 2 // seconds over which visitors return
	h.Set("Retry-After", strconv.Itoa(rand.IntN(spread)))
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// unread is a response that nobody reads.
type unread struct{ header http.Header }

func (u unread) Header() http.Header         { return u.header }
func (u unread) Write(p []byte) (int, error) { return len(p), nil }
func (u unread) WriteHeader(int)             {}

// Interface guards
var (
	_ http.Flusher  = (*exchange)(nil)
	_ http.Hijacker = (*exchange)(nil)
	_ io.ReaderFrom = (*exchange)(nil)
)
