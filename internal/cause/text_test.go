package cause

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// textCase is the text of an error whose type is hidden.
type textCase struct {
	text     string
	want     Cause
	decisive bool
}

func connectionTexts() []textCase {
	return []textCase{
		{"no upstreams available", DestinationUnavailable, false},
		{"dial tcp 127.0.0.1:1: connect: connection refused", ConnectionRefused, true},
		{"dialing backend: dial unix /run/php.sock: connect: no such file or directory", ConnectionRefused, true},
		{"dial unix /run/php.sock: connect: resource temporarily unavailable", ConnectionTimeout, false},
		{"dial unix /run/php.sock: connect: permission denied", ProxyInternalError, false},
		{"open /etc/cert.pem: no such file or directory", ProxyInternalError, false},
		{"dial tcp [::1]:80: connectex: No connection could be made because the target machine actively refused it.", ConnectionRefused, true},
		{"dial tcp 10.0.0.1:80: connectex: A connection attempt failed because the connected party did not properly respond after a period of time, or established connection failed because connected host has failed to respond.", ConnectionTimeout, false},
		{"dial tcp 10.0.0.1:80: connectex: A socket operation was attempted to an unreachable network.", DestinationIPUnroutable, false},
		{"read tcp 10.0.0.2:5->10.0.0.1:80: wsarecv: An existing connection was forcibly closed by the remote host.", ConnectionTerminated, false},
		{"dial tcp: lookup x.invalid: no such host", DNSError, true},
		{"dial tcp: lookup x on 1.2.3.4:53: no such host", DNSError, true},
		{"dial tcp: lookup x on 1.2.3.4:53: server misbehaving", DNSError, false},
		{"dial tcp: lookup x: Temporary failure in name resolution", DNSError, false},
		{"dial tcp: lookup x on 1.2.3.4:53: read udp 1.1.1.1:5->1.2.3.4:53: read: connection refused", DNSError, false},
		{"dial tcp: lookup x on 1.2.3.4:53: read udp 1.1.1.1:5->1.2.3.4:53: i/o timeout", DNSTimeout, false},
		{"dial tcp: lookup x: operation was canceled", ClientGone, false},
		{"dial tcp 10.0.0.1:80: i/o timeout", ConnectionTimeout, false},
		{"dial tcp 10.0.0.1:80: i/o timeout (Client.Timeout exceeded while awaiting headers)", ConnectionTimeout, false},
		{"dial tcp 10.0.0.1:80: connect: connection timed out", ConnectionTimeout, false},
		{"dial tcp 10.0.0.1:80: connect: no route to host", DestinationIPUnroutable, false},
		{"dial tcp 10.0.0.1:80: connect: network is unreachable", DestinationIPUnroutable, false},
		{"dial tcp 10.0.0.1:80: connect: cannot assign requested address", ProxyInternalError, false},
		{"dial tcp 10.0.0.1:80: socket: too many open files", ProxyInternalError, false},
		{"dial tcp 10.0.0.1:80: operation was canceled", ClientGone, false},
		{"read tcp 10.0.0.2:5->10.0.0.1:80: read: no route to host", ConnectionTerminated, false},
		{"read tcp 10.0.0.2:5->10.0.0.1:80: read: connection refused", ConnectionTerminated, false},
		{"read tcp 10.0.0.2:5->10.0.0.1:80: i/o timeout", ConnectionReadTimeout, false},
		{"write tcp 10.0.0.2:5->10.0.0.1:80: write: broken pipe", ConnectionTerminated, false},
		{"net/http: TLS handshake timeout", ConnectionTimeout, false},
		{"timeout: handshake did not complete in time", ConnectionTimeout, false},
		{"timeout: no recent network activity", ConnectionReadTimeout, false},
		{"tls: failed to verify certificate: x509: certificate signed by unknown authority", TLSCertificateError, true},
		{"CRYPTO_ERROR 0x12a (local): tls: failed to verify certificate: x509: certificate is valid for a, not b", TLSCertificateError, true},
		{"CRYPTO_ERROR 0x128 (remote): whatever the peer says: context canceled", TLSAlertReceived, false},
		{"remote error: tls: handshake failure", TLSAlertReceived, false},
		{"net/http: HTTP/1.x transport connection broken: remote error: tls: internal error", ConnectionTerminated, false},
		{"net/http: Transport failed to read from server: remote error: tls: certificate required", TLSAlertReceived, false},
		{"remote error: tls: bad record MAC", ConnectionTerminated, false},
		{"local error: tls: protocol version not supported", TLSProtocolError, false},
		{"tls: first record does not look like a TLS handshake", TLSProtocolError, false},
		{"http: server gave HTTP response to HTTPS client", TLSProtocolError, false},
		{`http2: unexpected ALPN protocol ""; want "h2"`, TLSProtocolError, false},
	}
}

func httpTexts() []textCase {
	return []textCase{
		{"net/http: timeout awaiting response headers", HTTPResponseTimeout, false},
		{"http2: timeout awaiting response headers", HTTPResponseTimeout, false},
		{"context deadline exceeded (Client.Timeout exceeded while awaiting headers)", HTTPResponseTimeout, false},
		{"context deadline exceeded (Client.Timeout or context cancellation while reading body)", ConnectionReadTimeout, false},
		{"context deadline exceeded", HTTPResponseTimeout, false},
		{"http: server closed idle connection", ConnectionTerminated, false},
		{"http2: server sent GOAWAY and closed the connection; LastStreamID=1, ErrCode=NO_ERROR, debug=\"lookup \"", ConnectionTerminated, false},
		{"http2: Transport received Server's graceful shutdown GOAWAY", ConnectionTerminated, false},
		{"http2: client connection lost", ConnectionTerminated, false},
		{"stream error: stream ID 1; INTERNAL_ERROR; received from peer", ConnectionTerminated, false},
		{"stream error: stream ID 1; PROTOCOL_ERROR", HTTPProtocolError, false},
		{"connection error: PROTOCOL_ERROR", HTTPProtocolError, false},
		{"http2: failed reading the frame payload: http2: frame too large, note that the frame header looked like an HTTP/1.1 header", HTTPProtocolError, false},
		{`malformed HTTP response "operation was canceled`, HTTPProtocolError, false},
		{`malformed MIME header line: no such host: context canceled`, HTTPProtocolError, false},
		{`net/http: HTTP/1.x transport connection broken: malformed HTTP status code "lookup"`, HTTPProtocolError, false},
		{`net/http: HTTP/1.x transport connection broken: unsupported transfer encoding: "tls: \" x509: "`, HTTPProtocolError, false},
		{"net/http: server response headers exceeded 1 bytes; aborted", HTTPProtocolError, false},
		{"readLoopPeekFailLocked: %!w(<nil>)", HTTPProtocolError, false},
		{"fcgi: invalid header version", HTTPProtocolError, false},
		{"net/http: HTTP/1.x transport connection broken: what", ConnectionTerminated, false},
		{"net/http: request canceled while waiting for connection", ClientGone, false},
		{"context canceled", ClientGone, false},
		{"something else", ProxyInternalError, false},
		{"", ProxyInternalError, false},
	}
}

func TestOfText(t *testing.T) {
	for _, test := range append(connectionTexts(), httpTexts()...) {
		err := errors.New(test.text)
		if got := Of(err); got != test.want {
			t.Errorf("%s: got %s, want %s", test.text, got, test.want)
		}
		if got := Decisive(err); got != test.decisive {
			t.Errorf("%s: decisive is %v", test.text, got)
		}
	}
}

func TestUnquoted(t *testing.T) {
	tests := map[string]string{
		``:                       ``,
		`a "b" c`:                `a  c`,
		`a "b\"c" d "e`:          `a  d `,
		`a "b\`:                  `a `,
		`x (remote): y`:          `x (remote)`,
		`x malformed y: "z" end`: `x malformed `,
	}
	for in, want := range tests {
		if got := unquoted(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
	if got := unquoted(strings.Repeat("x", 2*maxText)); len(got) != maxText {
		t.Errorf("%d bytes are looked at", len(got))
	}
}

func FuzzOf(f *testing.F) {
	for _, h := range hints {
		f.Add(h.first + h.second)
	}
	f.Add(`malformed HTTP response "\x15\x03\x01"`)
	f.Add("dial tcp: lookup \xff on \"\\")
	all := All()
	f.Fuzz(func(t *testing.T, text string) {
		for _, err := range []error{errors.New(text), opaque{errors.New(text)}} {
			c := Of(err)
			if !slices.Contains(all, c) {
				t.Fatalf("%q: unknown cause %q", text, c)
			}
			if Decisive(err) && !c.Hard() {
				t.Fatalf("%q: %s is decisive but not hard", text, c)
			}
		}
	})
}
