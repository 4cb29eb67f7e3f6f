package cause

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"os"
	"strings"
)

// Of classifies an error of dialing, of an [http.RoundTripper], or of reading the body of
// its response. It returns "" for a nil error.
//
// Types decide first, and text only what they leave open: the reverse proxy hides every
// dial error behind a type that cannot be unwrapped. If in doubt, the result is a cause
// whose fate is [Unknown]: nobody may be told that a request was not sent when it was.
func Of(err error) Cause {
	if err == nil {
		return ""
	}
	text := unquoted(err.Error())
	c := byType(err, text)
	if c == "" {
		c = cmp.Or(byText(text), ProxyInternalError)
	}
	if (c == TLSAlertReceived || c == TLSProtocolError) && afterHandshake(text) {
		return ConnectionTerminated
	}
	return c
}

// Decisive reports whether this error alone proves that the upstream is down: nothing
// listens there, its name does not exist, or its certificate is invalid. A failing name
// server proves nothing about the upstream.
func Decisive(err error) bool {
	switch Of(err) {
	case ConnectionRefused, TLSCertificateError:
		return true
	case DNSError:
		if dns, ok := errors.AsType[*net.DNSError](err); ok {
			return dns.IsNotFound
		}
		return strings.Contains(unquoted(err.Error()), "no such host")
	default:
		return false
	}
}

func byType(err error, text string) Cause {
	if errors.Is(err, context.Canceled) {
		return ClientGone
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		if dns.IsTimeout {
			return DNSTimeout
		}
		return DNSError
	}
	op := innermost(err)
	if c := ofTLS(err, op, text); c != "" {
		return c
	}
	if c := ofErrno(err, op); c != "" {
		return c
	}
	if timedOut(err) {
		return ofTimeout(err, op, text)
	}
	return ofOpenConnection(err)
}

// innermost returns the operation closest to the failure, because a connection through a
// forward proxy nests them. It is the zero value if there is none.
func innermost(err error) net.OpError {
	var op net.OpError
	for {
		next, ok := errors.AsType[*net.OpError](err)
		if !ok {
			return op
		}
		op, err = *next, next.Err
	}
}

func ofTLS(err error, op net.OpError, text string) Cause {
	switch {
	case isCertificate(err):
		return TLSCertificateError
	case op.Op == "remote error": // how crypto/tls marks an alert; its type is not exported
		return TLSAlertReceived
	case op.Op == "local error", is[tls.RecordHeaderError](err), is[*tls.ECHRejectionError](err),
		errors.Is(err, http.ErrSchemeMismatch):
		return TLSProtocolError
	case is[tls.AlertError](err): // QUIC only, and for the alerts of both sides
		if strings.Contains(text, "(local)") {
			return TLSProtocolError
		}
		return TLSAlertReceived
	default:
		return ""
	}
}

// isCertificate also recognizes bare x509 errors: a custom verification hook returns them
// without the wrapper of crypto/tls.
func isCertificate(err error) bool {
	return is[*tls.CertificateVerificationError](err) ||
		is[x509.UnknownAuthorityError](err) ||
		is[x509.HostnameError](err) ||
		is[x509.CertificateInvalidError](err) ||
		is[x509.ConstraintViolationError](err) ||
		is[x509.UnhandledCriticalExtension](err) ||
		is[x509.InsecureAlgorithmError](err) ||
		is[x509.SystemRootsError](err)
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// timedOut looks behind wrappers that implement net.Error but do not see that the error
// they wrap is a timeout.
func timedOut(err error) bool {
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	for {
		timeout, ok := errors.AsType[net.Error](err)
		if !ok {
			return false
		}
		if timeout.Timeout() {
			return true
		}
		err = errors.Unwrap(timeout)
	}
}

// ofTimeout tells the phases apart. A TLS handshake that takes too long is a
// connection_timeout, not a tls_protocol_error: RFC 9209 defines it as a timeout of the
// attempt to open a connection, and nobody violated TLS.
func ofTimeout(err error, op net.OpError, text string) Cause {
	if connecting(op) {
		return ConnectionTimeout
	}
	switch c := byText(text); c {
	case ConnectionTimeout, DNSTimeout, HTTPResponseTimeout, ConnectionReadTimeout:
		return c
	default:
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return HTTPResponseTimeout
	}
	return ConnectionReadTimeout
}

// ofOpenConnection classifies errors of a connection that was open.
func ofOpenConnection(err error) Cause {
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, net.ErrClosed), errors.Is(err, io.ErrClosedPipe):
		return ConnectionTerminated
	case is[textproto.ProtocolError](err):
		return HTTPProtocolError
	default:
		return ""
	}
}
