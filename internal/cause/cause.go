// Package cause names why a proxy could not get an answer, in the words of
// RFC 9209, and says what follows from it: the status a client gets, whether
// its request may have been processed, and what the owner should look at.
package cause

// Cause is why an upstream gave no answer or failed its check. The values are
// the error types of RFC 9209 §2.3 where it has one.
type Cause string

// The causes that Go can tell apart.
const (
	// DestinationUnavailable: no upstream was usable, so none was tried.
	DestinationUnavailable Cause = "destination_unavailable"
	// ConnectionLimitReached: every usable upstream is at its limit.
	ConnectionLimitReached Cause = "connection_limit_reached"
	// ConnectionRefused: nothing listens on that port or socket.
	ConnectionRefused Cause = "connection_refused"
	// ConnectionTimeout: no connection within the dial timeout.
	ConnectionTimeout Cause = "connection_timeout"
	// ConnectionTerminated: closed or reset before the response was complete.
	ConnectionTerminated Cause = "connection_terminated"
	// ConnectionReadTimeout: connected, but no data came in time.
	ConnectionReadTimeout Cause = "connection_read_timeout"
	// DNSError: the name does not resolve.
	DNSError Cause = "dns_error"
	// DNSTimeout: the name servers did not answer in time.
	DNSTimeout Cause = "dns_timeout"
	// DestinationIPUnroutable: there is no route to that address.
	DestinationIPUnroutable Cause = "destination_ip_unroutable"
	// TLSCertificateError: the certificate is not one to trust for that name.
	TLSCertificateError Cause = "tls_certificate_error"
	// TLSProtocolError: the other side does not speak TLS as we do.
	TLSProtocolError Cause = "tls_protocol_error"
	// TLSAlertReceived: the other side broke the handshake off.
	TLSAlertReceived Cause = "tls_alert_received"
	// HTTPResponseTimeout: the response headers did not come in time.
	HTTPResponseTimeout Cause = "http_response_timeout"
	// HTTPProtocolError: what came back is not HTTP.
	HTTPProtocolError Cause = "http_protocol_error"
	// ProxyInternalError: anything else, on this side of the connection.
	ProxyInternalError Cause = "proxy_internal_error"

	// UnexpectedStatus and UnexpectedBody are the answers of a check that
	// the owner's expectations do not accept; RFC 9209 has no word for them.
	UnexpectedStatus Cause = "unexpected_status"
	UnexpectedBody   Cause = "unexpected_body"

	// ClientGone: the client left before there was an answer. Nobody reads
	// what would be written, and no upstream is to blame.
	ClientGone Cause = "client_gone"
)

// Fate is what happened to the request of the client.
type Fate string

const (
	// NotSent means that nothing reached an upstream; it is safe to send it again.
	NotSent Fate = "not_sent"
	// Unknown means that it may have been processed; the client should look first.
	Unknown Fate = "unknown"
)
