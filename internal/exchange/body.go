package exchange

import (
	"errors"
	"io"
	"net/http"
	"sync/atomic"

	"golang.org/x/net/http/httpguts"
)

// body is that of a request. It notes whether it breaks off on the client's side:
// to the transport that looks like any other failure to send a request.
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

// Close implements io.Closer. Whoever reads on fails, and not for the client.
func (b *body) Close() error {
	b.closed.Store(true)
	return b.ReadCloser.Close()
}

// watchBody has the body of r watched, if there is one, and none is yet.
func (rec *Record) watchBody(r *http.Request) {
	if r.Body != nil && r.Body != http.NoBody && rec.body.ReadCloser == nil {
		rec.body.ReadCloser = r.Body
		r.Body = &rec.body
	}
}

// Spoiled reports whether the client itself is why r could not be sent: its body broke
// off, or it has what servers let in and no transport lets out. Otherwise anybody could
// have upstreams suspected and ejected.
func (rec *Record) ClientFault(r *http.Request) bool {
	if rec.body.broken.Load() {
		return true
	}
	if !httpguts.ValidHeaderFieldName(r.Method) { // a token, too; HTTP/2 brings any
		return true
	}
	for name := range r.Trailer {
		if !httpguts.ValidHeaderFieldName(name) {
			return true
		}
	}
	host, err := httpguts.PunycodeHostPort(r.Host) // HTTP/3 brings any
	return err != nil || !httpguts.ValidHostHeader(host)
}
