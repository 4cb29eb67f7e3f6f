// Package cause names why a proxy could not get an answer, with the error types of RFC
// 9209, and says what follows from it: the status for the client, whether its request may
// have been processed, and what the owner should look at.
package cause

// Cause is why an upstream gave no answer or failed its check. The values are the error
// types of RFC 9209 §2.3 where there is one.
type Cause string

// The causes that can be told apart in Go.
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
	// TLSCertificateError: the certificate cannot be trusted for that name.
	TLSCertificateError Cause = "tls_certificate_error"
	// TLSProtocolError: the handshake failed on our side, or the server does not speak TLS.
	TLSProtocolError Cause = "tls_protocol_error"
	// TLSAlertReceived: the server aborted the handshake.
	TLSAlertReceived Cause = "tls_alert_received"
	// HTTPResponseTimeout: the response headers did not come in time.
	HTTPResponseTimeout Cause = "http_response_timeout"
	// HTTPProtocolError: what came back is not HTTP.
	HTTPProtocolError Cause = "http_protocol_error"
	// ProxyInternalError: any other failure, on this side of the connection.
	ProxyInternalError Cause = "proxy_internal_error"

	// UnexpectedStatus and UnexpectedBody: the check got an answer other than the
	// configured one; RFC 9209 has no type for them.
	UnexpectedStatus Cause = "unexpected_status"
	UnexpectedBody   Cause = "unexpected_body"

	// ClientGone: the client left before there was an answer. Nobody reads a response, and
	// no upstream is to blame.
	ClientGone Cause = "client_gone"
)

// Fate is what happened to the client's request.
type Fate string

const (
	// NotSent means that nothing reached an upstream, so it is safe to send it again.
	NotSent Fate = "not_sent"
	// Unknown means that it may have been processed; the client should check first.
	Unknown Fate = "unknown"
)
