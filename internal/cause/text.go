package cause

import (
	"slices"
	"strings"
)

// maxText is how much of an error's text is examined, in bytes. What matters comes first; a
// remote party may have written the rest.
const maxText = 4 << 10

// hint is a cause recognized by fragments of an error's text, which must all occur; the
// second may be empty.
type hint struct {
	first, second string
	cause         Cause
}

// hints are tried in order. They are for errors that have no type of their own or hide it;
// each fragment is written by Go, Windows or Caddy's transports.
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

	// Connections that were open, whatever the operating system adds.
	{"read tcp ", "timeout", ConnectionReadTimeout},
	{"read unix ", "timeout", ConnectionReadTimeout},
	{"write tcp ", "timeout", ConnectionReadTimeout},
	{"write unix ", "timeout", ConnectionReadTimeout},
	{"read tcp ", "", ConnectionTerminated},
	{"read unix ", "", ConnectionTerminated},
	{"write tcp ", "", ConnectionTerminated},
	{"write unix ", "", ConnectionTerminated},

	// Connections that could not be opened.
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

	// TLS. See also afterHandshake.
	{"failed to verify certificate", "", TLSCertificateError},
	{"x509: ", "", TLSCertificateError},
	{"remote error: tls: ", "", TLSAlertReceived},
	{"CRYPTO_ERROR", "(remote)", TLSAlertReceived},
	{"CRYPTO_ERROR", "(local)", TLSProtocolError},
	{"gave HTTP response to HTTPS client", "", TLSProtocolError},
	{"unexpected ALPN protocol", "", TLSProtocolError},
	{"could not negotiate protocol mutually", "", TLSProtocolError},
	{"tls: ", "", TLSProtocolError},

	// HTTP, timed out.
	{"timeout awaiting response headers", "", HTTPResponseTimeout},
	{"while reading body", "", ConnectionReadTimeout},
	{"exceeded while awaiting headers", "", HTTPResponseTimeout},
	{"deadline exceeded", "", HTTPResponseTimeout},
	{"no recent network activity", "", ConnectionReadTimeout},
	{"i/o timeout", "", ConnectionReadTimeout},

	// HTTP, aborted by the server: a stream error without this note was detected on our
	// side.
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

	// HTTP, not understood. Both versions name the length of a header.
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

	// Servers that speak first, such as mail or SSH: Go formats a nil error here.
	{"readLoopPeekFailLocked: %!w(<nil>)", "", HTTPProtocolError},

	// The transport's text for a connection that broke for any other reason.
	{"failed to read from server", "", ConnectionTerminated},
	{"connection broken", "", ConnectionTerminated},
}

// byText is the cause that the text of an error names, or empty.
func byText(text string) Cause {
	// Only at the end, where Go puts it: otherwise a remote party could include it and turn
	// its failure into a client that left.
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

// afterHandshakeHints occur in TLS failures that may come after a request was sent: the
// transport was reading or writing HTTP, or a record was damaged, which does not happen in
// a handshake.
var afterHandshakeHints = [...]string{
	"failed to read from server", "connection broken", "write error: ",
	"bad record MAC", "record overflow", "oversized record", "received record with version",
	"unexpected message", "decryption failed", "error decrypting", "error decoding", "user canceled",
}

// afterHandshake reports whether a TLS failure may have come after the handshake. Failures
// about certificates never count: with TLS 1.3 a server rejects the client's certificate
// when the client is already reading, but it has processed nothing by then.
func afterHandshake(text string) bool {
	return !strings.Contains(text, "certificate") &&
		slices.ContainsFunc(afterHandshakeHints[:], func(sign string) bool { return strings.Contains(text, sign) })
}

// unquoted returns text without double-quoted parts, a QUIC peer's message, and the value
// of anything malformed: others choose these words, and must not be able to choose the
// cause.
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
			i++ // an escaped quote does not end the quoted part
		case !quoted:
			b.WriteByte(text[i])
		}
	}
	return b.String()
}
