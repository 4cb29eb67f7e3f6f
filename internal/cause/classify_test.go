package cause

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"net/url"
	"os"
	"syscall"
	"testing"
)

// opaque hides an error from errors.As, as the reverse proxy's type for dial errors does.
type opaque struct{ error }

func TestOfTypes(t *testing.T) {
	dial := func(network string, err error) error { return &net.OpError{Op: "dial", Net: network, Err: err} }
	sys := func(call string, errno syscall.Errno) error { return os.NewSyscallError(call, errno) }
	tests := []struct {
		name     string
		err      error
		want     Cause
		decisive bool
	}{
		{"nil", nil, "", false},
		{"canceled", fmt.Errorf("x: %w", context.Canceled), ClientGone, false},
		{"canceled lookup", dial("tcp", &net.DNSError{UnwrapErr: context.Canceled, IsTimeout: true}), ClientGone, false},
		{"name not found", dial("tcp", &net.DNSError{Err: "no such host", Name: "x", IsNotFound: true}), DNSError, true},
		{"name server in trouble", dial("tcp", &net.DNSError{Err: "server misbehaving", IsTemporary: true}), DNSError, false},
		{"name server silent", dial("tcp", &net.DNSError{Err: "i/o timeout", IsTimeout: true, IsTemporary: true}), DNSTimeout, false},
		{"refused", dial("tcp", sys("connect", syscall.ECONNREFUSED)), ConnectionRefused, true},
		{"refused, bare", syscall.ECONNREFUSED, ConnectionRefused, true},
		{"refused on Windows", dial("tcp", sys("connectex", wsaConnRefused)), ConnectionRefused, true},
		{"refused behind a forward proxy", &net.OpError{Op: "proxyconnect", Net: "tcp", Err: opaque{dial("tcp", sys("connect", syscall.ECONNREFUSED))}}, ConnectionRefused, true},
		{"refused later", &net.OpError{Op: "read", Net: "udp", Err: sys("read", syscall.ECONNREFUSED)}, ConnectionTerminated, false},
		{"socket missing", dial("unix", sys("connect", syscall.ENOENT)), ConnectionRefused, true},
		{"socket busy", dial("unix", sys("connect", syscall.EAGAIN)), ConnectionTimeout, false},
		{"socket forbidden", dial("unix", sys("connect", syscall.EACCES)), ProxyInternalError, false},
		{"other file missing", &os.PathError{Op: "open", Path: "x", Err: syscall.ENOENT}, ProxyInternalError, false},
		{"no more files", dial("tcp", sys("socket", syscall.EMFILE)), ProxyInternalError, false},
		{"no route", dial("tcp", sys("connect", syscall.EHOSTUNREACH)), DestinationIPUnroutable, false},
		{"no network", dial("tcp", sys("connect", syscall.ENETUNREACH)), DestinationIPUnroutable, false},
		{"route lost", &net.OpError{Op: "read", Net: "tcp", Err: sys("read", syscall.EHOSTUNREACH)}, ConnectionTerminated, false},
		{"connect timed out", dial("tcp", sys("connect", syscall.ETIMEDOUT)), ConnectionTimeout, false},
		{"read timed out", &net.OpError{Op: "read", Net: "tcp", Err: sys("read", syscall.ETIMEDOUT)}, ConnectionReadTimeout, false},
		{"read deadline", &net.OpError{Op: "read", Net: "tcp", Err: os.ErrDeadlineExceeded}, ConnectionReadTimeout, false},
		{"dial deadline", dial("tcp", os.ErrDeadlineExceeded), ConnectionTimeout, false},
		{"deadline", context.DeadlineExceeded, HTTPResponseTimeout, false},
		{"hidden timeout", &url.Error{Op: "Get", URL: "http://x/", Err: fmt.Errorf("x: %w", timeout{})}, ConnectionReadTimeout, false},
		{"reset", &net.OpError{Op: "read", Net: "tcp", Err: sys("read", syscall.ECONNRESET)}, ConnectionTerminated, false},
		{"reset, bare", syscall.ECONNRESET, ConnectionTerminated, false},
		{"EOF", fmt.Errorf("x: %w", io.EOF), ConnectionTerminated, false},
		{"closed", net.ErrClosed, ConnectionTerminated, false},
		{"wrong name", x509.HostnameError{Certificate: &x509.Certificate{}, Host: "x"}, TLSCertificateError, true},
		{"alert", &net.OpError{Op: "remote error", Err: errors.New("tls: handshake failure")}, TLSAlertReceived, false},
		{"alert of QUIC", tls.AlertError(40), TLSAlertReceived, false},
		{"own alert of QUIC", fmt.Errorf("CRYPTO_ERROR 0x128 (local): %w", tls.AlertError(40)), TLSProtocolError, false},
		{"alert later", fmt.Errorf("net/http: Transport failed to read from server: %w", &net.OpError{Op: "remote error", Err: errors.New("tls: internal error")}), ConnectionTerminated, false},
		{"own alert", &net.OpError{Op: "local error", Err: errors.New("tls: no application protocol")}, TLSProtocolError, false},
		{"bad header", fmt.Errorf("x: %w", textproto.ProtocolError("context canceled")), HTTPProtocolError, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := Of(test.err); got != test.want {
				t.Errorf("%v: got %q, want %q", test.err, got, test.want)
			}
			if got := Decisive(test.err); got != test.decisive {
				t.Errorf("%v: decisive is %v", test.err, got)
			}
		})
	}
}

type timeout struct{}

func (timeout) Error() string   { return "too late" }
func (timeout) Timeout() bool   { return true }
func (timeout) Temporary() bool { return false }
