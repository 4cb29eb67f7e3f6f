package cause

import (
	"slices"
	"strings"
)

// maxText is how much of an error's text is looked at, in bytes. What matters
// stands at its beginning; a remote party may have made the rest.
const maxText = 4 << 10

// hint is a cause that is known by fragments of an error's text. All of them
// must be there; the second may be empty.
type hint struct {
	first, second string
	cause         Cause
}

// hints are tried in order. They are for errors that have no type of their
// own or hide it; each fragment is what Go, Windows or Caddy's transports write.
var hints = [...]hint{
	{"no upstreams available", "", DestinationUnavailable},

	{"malformed ", "", HTTPProtocolError},

	// A resolver's text may hold the failures of its own connections.
	{"lookup ", "timeout", DNSTimeout},
	{"lookup ", "timed out", DNSTimeout},
	{"lookup ", "deadline exceeded", DNSTimeout},
	{"lookup ", "", DNSError},
	{"no such host", "", DNSError},
	{"no suitable address", "", DNSError},

	// Connections that stood, whatever the operating system adds.
	{"read tcp ", "timeout", ConnectionReadTimeout},
	{"read unix ", "timeout", ConnectionReadTimeout},
	{"write tcp ", "timeout", ConnectionReadTimeout},
	{"write unix ", "timeout", ConnectionReadTimeout},
	{"read tcp ", "", ConnectionTerminated},
	{"read unix ", "", ConnectionTerminated},
	{"write tcp ", "", ConnectionTerminated},
	{"write unix ", "", ConnectionTerminated},

	// Connections that did not come about.
	{"connection refused", "", ConnectionRefused},
	{"actively refused it", "", ConnectionRefused},
	{"dial unix", "no such file or directory", ConnectionRefused},
	{"dial unix", "not a directory", ConnectionRefused},
	{"dial unix", "protocol wrong type for socket", ConnectionRefused},
	{"dial unix", "resource temporarily unavailable", ConnectionTimeout},
	{"no route to host", "", DestinationIPUnroutable},
	{"network is unreachable", "", DestinationIPUnroutable},
	{"network is down", "", DestinationIPUnroutable},
	{"host is down", "", DestinationIPUnroutable},
	{"unreachable network", "", DestinationIPUnroutable},
	{"unreachable host", "", DestinationIPUnroutable},
	{"did not properly respond after a period of time", "", ConnectionTimeout},
	{"connection timed out", "", ConnectionTimeout},
	{"dial ", "timeout", ConnectionTimeout},
	{"dial ", "deadline exceeded", ConnectionTimeout},
	{"handshake", "timeout", ConnectionTimeout}, // TLS, QUIC

	// TLS. See afterHandshake, too.
	{"failed to verify certificate", "", TLSCertificateError},
	{"x509: ", "", TLSCertificateError},
	{"remote error: tls: ", "", TLSAlertReceived},
	{"CRYPTO_ERROR", "(remote)", TLSAlertReceived},
	{"CRYPTO_ERROR", "(local)", TLSProtocolError},
	{"gave HTTP response to HTTPS client", "", TLSProtocolError},
	{"unexpected ALPN protocol", "", TLSProtocolError},
	{"could not negotiate protocol mutually", "", TLSProtocolError},
	{"tls: ", "", TLSProtocolError},

	// HTTP, waiting.
	{"timeout awaiting response headers", "", HTTPResponseTimeout},
	{"while reading body", "", ConnectionReadTimeout},
	{"exceeded while awaiting headers", "", HTTPResponseTimeout},
	{"deadline exceeded", "", HTTPResponseTimeout},
	{"no recent network activity", "", ConnectionReadTimeout},
	{"i/o timeout", "", ConnectionReadTimeout},

	// HTTP, broken off by the other side: a stream error without this note
	// is what we found fault with.
	{"received from peer", "", ConnectionTerminated},
	{"GOAWAY", "", ConnectionTerminated},
	{"client conn", "", ConnectionTerminated}, // http2: client conn is closed, client connection lost
	{"server closed", "", ConnectionTerminated},
	{"idle connection timeout", "", ConnectionTerminated},
	{"connection reset by peer", "", ConnectionTerminated},
	{"broken pipe", "", ConnectionTerminated},
	{"forcibly closed by the remote host", "", ConnectionTerminated},
	{"established connection was aborted", "", ConnectionTerminated},
	{"use of closed", "", ConnectionTerminated},
	{"received a stateless reset", "", ConnectionTerminated},
	{"(remote)", "", ConnectionTerminated}, // QUIC and HTTP/3
	{"EOF", "", ConnectionTerminated},

	// HTTP, not understood. The length of a header is named by both versions.
	{"stream error: ", "", HTTPProtocolError},
	{"connection error: ", "", HTTPProtocolError},
	{"http2: frame too large", "", HTTPProtocolError},
	{"http2: unsupported frame", "", HTTPProtocolError},
	{"response headers exceeded", "", HTTPProtocolError},
	{"response header list larger", "", HTTPProtocolError},
	{"read limit of ", "exhausted", HTTPProtocolError},
	{"too many 1xx", "", HTTPProtocolError},
	{"Content-Length", "", HTTPProtocolError},
	{"ransfer encoding", "", HTTPProtocolError}, // with a small t, or as Go quotes it
	{"ransfer-encoding", "", HTTPProtocolError},
	{"chunk", "", HTTPProtocolError},
	{"trailer", "", HTTPProtocolError},
	{"header line too long", "", HTTPProtocolError},
	{"unknown status code", "", HTTPProtocolError}, // of a forward proxy
	{"parse Location header", "", HTTPProtocolError},
	{"fcgi: ", "", HTTPProtocolError},
	{"H3_", "", HTTPProtocolError},

	// What speaks first, such as a mail or SSH server, is found here because
	// Go formats the error that it does not have.
	{"readLoopPeekFailLocked: %!w(<nil>)", "", HTTPProtocolError},

	// How the transport says that a connection broke, for any other reason.
	{"failed to read from server", "", ConnectionTerminated},
	{"connection broken", "", ConnectionTerminated},
}

// byText is the cause that the text of an error names, or empty.
func byText(text string) Cause {
	// Only at the end, where Go puts it: whoever could smuggle it in elsewhere
	// would turn a failure into a client that left.
	if strings.HasSuffix(text, "operation was canceled") || strings.HasSuffix(text, "context canceled") ||
		strings.HasPrefix(text, "net/http: request canceled") {
		return ClientGone
	}
	for i := range hints {
		if h := &hints[i]; strings.Contains(text, h.first) && strings.Contains(text, h.second) {
			return h.cause
		}
	}
	return ""
}

// lateSigns are in the text of failures of TLS that may come when a request was
// already sent: the transport says that it was reading or writing HTTP, or a
// record was damaged, which is nothing that a handshake fails at.
var afterHandshakeHints = [...]string{
	"failed to read from server", "connection broken", "write error: ",
	"bad record MAC", "record overflow", "oversized record", "received record with version",
	"unexpected message", "decryption failed", "error decrypting", "error decoding", "user canceled",
}

// afterHandshake reports whether a failure of TLS may have come after the
// handshake. What is about certificates never counts: with TLS 1.3, a server
// rejects that of the client when the client already reads, but it has
// processed nothing then either.
func afterHandshake(text string) bool {
	return !strings.Contains(text, "certificate") &&
		slices.ContainsFunc(afterHandshakeHints[:], func(sign string) bool { return strings.Contains(text, sign) })
}

// unquoted is text without what is in double quotes, what a QUIC peer wrote, and
// what is said to be malformed: others choose these words, and they must not
// choose the cause.
func unquoted(text string) string {
	text = text[:min(len(text), maxText)]
	for _, mark := range [...]string{"(remote)", "malformed "} {
		if i := strings.Index(text, mark); i >= 0 {
			text = text[:i+len(mark)]
		}
	}
	if !strings.Contains(text, `"`) {
		return text
	}
	var b strings.Builder
	quoted := false
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '"':
			quoted = !quoted
		case quoted && text[i] == '\\':
			i++ // what is escaped does not end the quote
		case !quoted:
			b.WriteByte(text[i])
		}
	}
	return b.String()
}
