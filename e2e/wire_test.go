package e2e

import (
	"context"
	"errors"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"
)

// wire is the way to an app, which can be made faulty. What was sent over it meanwhile is lost.
type wire struct {
	t       *testing.T
	address string
	app     string

	mu       sync.Mutex
	listener *net.TCPListener
	fault    fault
	healed   chan struct{} // closed when the fault is over
	open     map[*net.TCPConn]bool
}

// fault is what becomes of a piece of what the app says. It returns an error if that is the end of the connection.
type fault func(w *wire, to *net.TCPConn, piece []byte) error

var errCut = errors.New("the wire is cut")

// What can become of it. The empty name is for none.
var faults = map[string]fault{
	"": func(_ *wire, to *net.TCPConn, piece []byte) error {
		_, err := to.Write(piece)
		return err
	},
	"nothing comes": func(w *wire, _ *net.TCPConn, _ []byte) error {
		<-w.healing()
		return errCut
	},
	"it comes byte by byte": func(w *wire, to *net.TCPConn, piece []byte) error {
		for i := range piece {
			select {
			case <-time.After(20 * time.Millisecond):
			case <-w.healing():
			}
			if _, err := to.Write(piece[i : i+1]); err != nil {
				return err
			}
		}
		return nil
	},
	"it comes late": func(_ *wire, to *net.TCPConn, piece []byte) error {
		time.Sleep(100 * time.Millisecond)
		_, err := to.Write(piece)
		return err
	},
	"it is cut in the header": func(_ *wire, to *net.TCPConn, piece []byte) error {
		_, _ = to.Write(piece[:min(len("HTTP/1.1 200 OK\r\n"), len(piece))])
		return errCut
	},
	"it is cut in the body": func(_ *wire, to *net.TCPConn, piece []byte) error {
		_, _ = to.Write(piece[:len(piece)-1])
		return errCut
	},
	"it is reset": func(_ *wire, to *net.TCPConn, _ []byte) error {
		_ = to.SetLinger(0)
		return errCut
	},
	"it is garbled": func(_ *wire, to *net.TCPConn, piece []byte) error {
		for i := range piece {
			piece[i] ^= 0x55
		}
		_, err := to.Write(piece)
		return err
	},
}

// newWire returns a wire to an app, without a fault.
func newWire(t *testing.T, app string) *wire {
	t.Helper()
	w := &wire{t: t, address: freeAddress(t), app: app, open: make(map[*net.TCPConn]bool)}
	w.set("")
	w.listen()
	t.Cleanup(func() {
		w.set("")
		w.refuse()
	})
	return w
}

// set has a fault begin, and the one before end.
func (w *wire) set(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.healed != nil {
		close(w.healed)
	}
	w.fault, w.healed = faults[name], make(chan struct{})
}

func (w *wire) now() fault {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fault
}

func (w *wire) healing() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.healed
}

// listen has connections taken, until refuse.
func (w *wire) listen() {
	w.t.Helper()
	listener, err := new(net.ListenConfig).Listen(w.t.Context(), "tcp", w.address)
	if err != nil {
		w.t.Error(err)
		return
	}
	w.listener = listener.(*net.TCPListener)
	go w.accept(w.listener)
}

func (w *wire) accept(listener *net.TCPListener) {
	for {
		conn, err := listener.AcceptTCP()
		if err != nil {
			return
		}
		go w.carry(conn)
	}
}

// refuse ends all connections, and refuses new ones.
func (w *wire) refuse() {
	_ = w.listener.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	for conn := range w.open {
		_ = conn.Close()
	}
}

// fill has connections neither taken nor refused: the queue of those that wait to be taken is full.
func (w *wire) fill() {
	w.refuse()
	listener, err := new(net.ListenConfig).Listen(w.t.Context(), "tcp", w.address)
	if err != nil {
		w.t.Error(err)
		return
	}
	w.listener = listener.(*net.TCPListener)
	raw, err := w.listener.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { _ = syscall.Listen(int(fd), 0) }) // makes the queue as short as can be
	}
	for err == nil { // until one waits in vain
		var conn net.Conn
		dialer := net.Dialer{Timeout: 50 * time.Millisecond}
		if conn, err = dialer.DialContext(w.t.Context(), "tcp", w.address); err == nil {
			w.t.Cleanup(func() { conn.Close() })
		}
	}
}

// carry carries what client and app say to each other.
func (w *wire) carry(client *net.TCPConn) {
	conn, err := new(net.Dialer).DialContext(context.WithoutCancel(w.t.Context()), "tcp", w.app)
	if err != nil {
		_ = client.Close()
		return
	}
	app := conn.(*net.TCPConn)
	w.mu.Lock()
	w.open[client], w.open[app] = true, true
	w.mu.Unlock()
	go func() {
		_, _ = app.ReadFrom(client)
		_ = app.CloseWrite()
	}()
	piece := make([]byte, 32<<10)
	for err == nil {
		var n int
		if n, err = app.Read(piece); n > 0 {
			err = w.now()(w, client, piece[:n])
		}
	}
	_, _ = client.Close(), app.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.open, client)
	delete(w.open, app)
}
