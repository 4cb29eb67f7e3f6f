package exchange

import (
	"errors"
	"io"
	"net/http"
	"sync/atomic"

	"golang.org/x/net/http/httpguts"
)

// body is a request body that records whether reading it failed on the client's side: to
// the transport that looks like any other failure to send the request.
type body struct {
	io.ReadCloser
	closed, broken atomic.Bool
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) && !b.closed.Load() {
		b.broken.Store(true)
	}
	return n, err
}

// Close implements io.Closer. Reads after it fail, but not because of the client.
func (b *body) Close() error {
	b.closed.Store(true)
	return b.ReadCloser.Close()
}

// watchBody wraps the body of r, unless there is none or it is wrapped already.
func (rec *Record) watchBody(r *http.Request) {
	if r.Body != nil && r.Body != http.NoBody && rec.body.ReadCloser == nil {
		rec.body.ReadCloser = r.Body
		r.Body = &rec.body
	}
}

// ClientFault reports whether r could not be sent because of the client: its body broke
// off, or it contains something servers accept but transports refuse to send. Otherwise any
// client could get upstreams suspected and ejected.
func (rec *Record) ClientFault(r *http.Request) bool {
	if rec.body.broken.Load() {
		return true
	}
	if !httpguts.ValidHeaderFieldName(r.Method) { // also a token; HTTP/2 accepts any
		return true
	}
	for name := range r.Trailer {
		if !httpguts.ValidHeaderFieldName(name) {
			return true
		}
	}
	host, err := httpguts.PunycodeHostPort(r.Host) // HTTP/3 accepts any
	return err != nil || !httpguts.ValidHostHeader(host)
}
