package cause

import "net/http"

// All returns every cause, in order of declaration.
func All() []Cause {
	return []Cause{
		DestinationUnavailable, ConnectionLimitReached, ConnectionRefused, ConnectionTimeout,
		ConnectionTerminated, ConnectionReadTimeout, DNSError, DNSTimeout, DestinationIPUnroutable,
		TLSCertificateError, TLSProtocolError, TLSAlertReceived, HTTPResponseTimeout,
		HTTPProtocolError, ProxyInternalError, UnexpectedStatus, UnexpectedBody, ClientGone,
	}
}

// OfRequests reports whether a request, not only a check, can fail for this cause and be
// answered.
func (c Cause) OfRequests() bool {
	switch c {
	case UnexpectedStatus, UnexpectedBody, ClientGone:
		return false
	default:
		return true
	}
}

// Status returns the HTTP status for the client.
func (c Cause) Status() int {
	switch c {
	case DestinationUnavailable, ConnectionLimitReached:
		return http.StatusServiceUnavailable
	case ConnectionTimeout, DNSTimeout, HTTPResponseTimeout, ConnectionReadTimeout:
		return http.StatusGatewayTimeout
	default:
		return http.StatusBadGateway
	}
}

// Fate returns whether the client's request may have been processed. It is NotSent only for
// failures that happen no later than the handshake.
func (c Cause) Fate() Fate {
	switch c {
	case DestinationUnavailable, ConnectionLimitReached,
		DNSError, DNSTimeout, DestinationIPUnroutable, ConnectionRefused, ConnectionTimeout,
		TLSCertificateError, TLSProtocolError, TLSAlertReceived:
		return NotSent
	default:
		return Unknown
	}
}

// Hard reports whether the upstream cannot be used at all: it accepts no connection, or it
// fails its own check. Other causes are soft: the upstream is slow or faulty, but may be
// better than none.
func (c Cause) Hard() bool {
	switch c {
	case DNSError, DNSTimeout, DestinationIPUnroutable, ConnectionRefused, ConnectionTimeout,
		TLSCertificateError, TLSProtocolError, TLSAlertReceived,
		UnexpectedStatus, UnexpectedBody:
		return true
	default:
		return false
	}
}

// Advice tells the owner what to look at; empty for an unknown cause.
func (c Cause) Advice() string { return advice[c] }

// advice is read-only.
var advice = map[Cause]string{
	DestinationUnavailable:  "No upstream is usable right now. See what is wrong with each of them.",
	ConnectionLimitReached:  "Every upstream is busy with as many requests as it may get. Add upstreams, or raise max_requests.",
	ConnectionRefused:       "Nothing listens on that port. Is the app running, and is the port right?",
	ConnectionTimeout:       "The address does not take connections. Is the host up and not overloaded, and does a firewall let the proxy through?",
	ConnectionTerminated:    "The app closed the connection before it had answered. Did it crash or restart? Its log may tell.",
	ConnectionReadTimeout:   "The connection stands, but nothing comes. Is the app overloaded or stuck?",
	DNSError:                "The name does not resolve. Is it spelled right, and do the name servers know it?",
	DNSTimeout:              "The name servers do not answer. Can this machine reach them?",
	DestinationIPUnroutable: "There is no way to that address from here. Are the address, the network and the routes right?",
	TLSCertificateError:     "The certificate cannot be trusted for that name. Has it expired, is it for another name, or is its authority unknown here?",
	TLSProtocolError:        "The TLS handshake failed. Does that port speak TLS, and do both sides have a version in common?",
	TLSAlertReceived:        "The app broke the TLS handshake off. Does it want a client certificate, another server name or another TLS version?",
	HTTPResponseTimeout:     "The app takes connections but does not answer in time. Is it overloaded or stuck, or is the timeout too short?",
	HTTPProtocolError:       "What came back is not the HTTP that was expected. Is it the right port, and does it want TLS or another HTTP version?",
	ProxyInternalError:      "The proxy itself could not do it, for example for a missing permission or too many open files. The detail says more.",
	UnexpectedStatus:        "The app answers its check with a status that means no. Open the check's address: is the path right, and what does the app say?",
	UnexpectedBody:          "The app answers its check, but not with the expected text. Open the check's address and compare.",
	ClientGone:              "The client left before there was an answer. Nothing is wrong with the upstream.",
}
