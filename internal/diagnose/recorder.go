package diagnose

import (
	"errors"
	"net"
	"slices"
	"sync"
)

// maxRecorded is how much of what the other side says first is kept, in bytes.
const maxRecorded = 512

// errUnwanted is the error of a Read that got something else than what was wanted.
var errUnwanted = errors.New("something else than HTTP")

// recorder is a connection that keeps what the other side says first: the errors of Go's
// clients say only that it was not what they expected.
//
// It does not read before something was written, since net/http writes to the log of
// the process when a server speaks first.
type recorder struct {
	net.Conn
	// written is closed when something was written, or the connection is closed.
	written     chan struct{}
	markWritten func()
	// wanted is how what is read has to begin. Anything else is an error at once: a
	// parser would wait for the end of a line that may never come.
	wanted string

	// mu guards what follows: transports read in goroutines of their own.
	mu    sync.Mutex
	first []byte
}

func newRecorder(conn net.Conn) *recorder {
	written := make(chan struct{})
	return &recorder{Conn: conn, written: written, markWritten: sync.OnceFunc(func() { close(written) })}
}

// Write writes, and lets Read go on.
func (r *recorder) Write(b []byte) (int, error) {
	defer r.markWritten()
	return r.Conn.Write(b)
}

// Close closes, and lets Read go on.
func (r *recorder) Close() error {
	defer r.markWritten()
	return r.Conn.Close()
}

// Read reads, and keeps the beginning.
func (r *recorder) Read(b []byte) (int, error) {
	<-r.written
	n, err := r.Conn.Read(b)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.first = append(r.first, b[:min(n, maxRecorded-len(r.first))]...)
	if known := min(len(r.first), len(r.wanted)); string(r.first[:known]) != r.wanted[:known] {
		return 0, errUnwanted
	}
	return n, err
}

// recorded returns what the other side said first; a nil recorder has nothing.
func (r *recorder) recorded() []byte {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.first)
}
