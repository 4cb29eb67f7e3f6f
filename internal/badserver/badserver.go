// Package badserver provides misbehaving servers for tests.
package badserver

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
)

// Listen starts a server that passes each connection to f, and closes it afterwards, until
// the test ends. It returns its address.
func Listen(t testing.TB, f func(net.Conn)) string {
	t.Helper()
	return ListenAt(t, "tcp", "127.0.0.1:0", f)
}

// ListenAt is Listen at a given address.
func ListenAt(t testing.TB, network, address string, f func(net.Conn)) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				f(conn)
			}()
		}
	}()
	return listener.Addr().String()
}

// Nobody returns an address on which nothing listens. Its port is outside of the range that
// the system assigns, so that nothing will.
func Nobody(t testing.TB) string {
	t.Helper()
	for range 100 {
		address := fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(12000))
		if listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", address); err == nil {
			_ = listener.Close()
			return address
		}
	}
	t.Fatal("no free port")
	return ""
}

// Hang reads everything and never answers.
func Hang(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// HangUp closes the connection when it gets a request.
func HangUp(c net.Conn) { _, _ = c.Read(make([]byte, 4096)) }

// Reset resets the connection when it gets a request.
func Reset(c net.Conn) {
	HangUp(c)
	_ = c.(*net.TCPConn).SetLinger(0)
}

// Answer sends a fixed answer to any request and closes the connection.
func Answer(s string) func(net.Conn) {
	return func(c net.Conn) {
		HangUp(c)
		_, _ = io.WriteString(c, s)
	}
}

// SpeakFirst sends without waiting for a request, as mail and SSH servers do.
func SpeakFirst(s string) func(net.Conn) {
	return func(c net.Conn) {
		_, _ = io.WriteString(c, s)
		Hang(c)
	}
}

// Endless starts an answer and never ends it.
func Endless(begin, more string) func(net.Conn) {
	return func(c net.Conn) {
		Answer(begin)(c)
		more := strings.Repeat(more, 1<<10)
		for err := error(nil); err == nil; {
			_, err = io.WriteString(c, more)
		}
	}
}
