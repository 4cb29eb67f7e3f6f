package healthpool_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
)

// backend is an app at a fixed address that can be stopped and started again.
type backend struct {
	t       *testing.T
	addr    string
	handler http.Handler
	// hits counts all requests except those to checkPath, which checks counts.
	hits, checks atomic.Int64
	// failChecks makes checks get 500.
	failChecks atomic.Bool
	server     *http.Server
}

// checkPath is the health_uri of tests.
const checkPath = "/healthz"

// newBackend starts an app that answers every request with its name.
func newBackend(t *testing.T, name string) *backend {
	t.Helper()
	return newBackendFunc(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, name) })
}

// newBackendFunc starts an app with the given handler.
func newBackendFunc(t *testing.T, handler http.HandlerFunc) *backend {
	t.Helper()
	b := newStoppedBackend(t, handler)
	b.start()
	return b
}

// newStoppedBackend returns an app that does not run yet.
func newStoppedBackend(t *testing.T, handler http.HandlerFunc) *backend {
	t.Helper()
	b := &backend{t: t, addr: deadAddress(t), handler: handler}
	t.Cleanup(b.stop)
	return b
}

func (b *backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != checkPath {
		b.hits.Add(1)
		b.handler.ServeHTTP(w, r)
		return
	}
	b.checks.Add(1)
	if b.failChecks.Load() {
		w.WriteHeader(http.StatusInternalServerError)
	}
}

func (b *backend) start() {
	b.t.Helper()
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", b.addr)
	if err != nil {
		b.t.Fatal(err)
	}
	b.server = &http.Server{Handler: b, ErrorLog: log.New(io.Discard, "", 0)}
	go runServer(b.t, b.server, listener)
}

// runServer serves until the server is closed.
func runServer(t *testing.T, server interface{ Serve(net.Listener) error }, listener net.Listener) {
	if err := server.Serve(listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
		t.Errorf("serving: %v", err)
	}
}

// stop stops the app and closes all connections. Further calls do nothing.
func (b *backend) stop() {
	if b.server != nil {
		_ = b.server.Close()
	}
}

// rawBackend starts a server that passes each connection to f, and closes it afterwards. It
// returns its address.
func rawBackend(t *testing.T, f func(net.Conn)) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", deadAddress(t))
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	t.Cleanup(conns.Wait)
	t.Cleanup(func() { _ = listener.Close() })
	conns.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer conn.Close()
				f(conn)
			})
		}
	})
	return listener.Addr().String()
}

// request reads a request, which must have been sent already.
func request(conn net.Conn) {
	if r, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
		_, _ = io.Copy(io.Discard, r.Body)
	}
}

// reply returns a handler for rawBackend that sends text in answer to a request.
func reply(text string) func(net.Conn) {
	return func(conn net.Conn) {
		request(conn)
		_, _ = io.WriteString(conn, text)
	}
}

// hang is a handler for rawBackend that never answers.
func hang(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

// tlsBackend starts an app that speaks TLS. It returns its address and the file of its CA
// certificate.
func tlsBackend(t *testing.T, name string, configure func(*httptest.Server)) (addr, certificate string) {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, name)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.TLS = new(tls.Config)
	if configure != nil {
		configure(server)
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	certificate = filepath.Join(t.TempDir(), "ca.pem")
	block := &pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}
	if err := os.WriteFile(certificate, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	return server.Listener.Addr().String(), certificate
}

// nameServer starts a DNS server that knows no names or, if silent, never answers. It
// returns its address.
func nameServer(t *testing.T, silent bool) string {
	t.Helper()
	conn, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		for {
			query := make([]byte, 512)
			n, from, err := conn.ReadFrom(query)
			if err != nil {
				return
			}
			if !silent && n > 3 {
				query[2] |= 0x80             // a response
				query[3] = query[3]&0xf0 | 3 // NXDOMAIN
				_, _ = conn.WriteTo(query[:n], from)
			}
		}
	}()
	return conn.LocalAddr().String()
}
