// Package badserver has servers that misbehave, for tests.
package badserver

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
)

// Listen starts a server that hands each connection to f, which need not close it,
// until the test ends. It returns its address.
func Listen(t testing.TB, f func(net.Conn)) string {
	t.Helper()
	return ListenAt(t, "tcp", "127.0.0.1:0", f)
}

// ListenAt is the same at an address.
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

// Nobody is an address on which nothing listens. Its port is none that the system hands
// out, so that nothing will.
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

// Hang takes what comes, and says nothing.
func Hang(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// HangUp closes the connection when a request has come.
func HangUp(c net.Conn) { _, _ = c.Read(make([]byte, 4096)) }

// Reset breaks the connection off when a request has come.
func Reset(c net.Conn) {
	HangUp(c)
	_ = c.(*net.TCPConn).SetLinger(0)
}

// Answer answers a request, whatever it is, and closes the connection.
func Answer(s string) func(net.Conn) {
	return func(c net.Conn) {
		HangUp(c)
		_, _ = io.WriteString(c, s)
	}
}

// SpeakFirst does not wait for a request, as servers of mail and SSH do not.
func SpeakFirst(s string) func(net.Conn) {
	return func(c net.Conn) {
		_, _ = io.WriteString(c, s)
		Hang(c)
	}
}

// Endless begins an answer and never comes to its end.
func Endless(begin, more string) func(net.Conn) {
	return func(c net.Conn) {
		Answer(begin)(c)
		more := strings.Repeat(more, 1<<10)
		for err := error(nil); err == nil; {
			_, err = io.WriteString(c, more)
		}
	}
}
