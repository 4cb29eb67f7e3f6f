// Package represent decides which kind of answer suits a client when no upstream can
// answer: a person gets a page, a program gets data, and an image tag gets only the status.
package represent

import (
	"net/http"
	"strings"
)

// Format is a kind of answer. The values name it in metrics and logs.
type Format string

// The formats there are.
const (
	// HTML is the page for people.
	HTML Format = "html"
	// Problem is application/problem+json (RFC 9457).
	Problem Format = "problem+json"
	// JSON is the same body as Problem with the type application/json, for clients that
	// accept only that.
	JSON Format = "json"
	// XML is application/problem+xml (RFC 9457, Appendix B).
	XML Format = "problem+xml"
	// Markdown is for AI agents.
	Markdown Format = "markdown"
	// Text is for terminals and logs.
	Text Format = "text"
	// GRPC is a gRPC error: a response with headers and no messages.
	GRPC Format = "grpc"
	// GRPCWeb and GRPCWebText are the same error for gRPC-Web, in binary and in base64.
	GRPCWeb     Format = "grpc-web"
	GRPCWebText Format = "grpc-web-text"
	// Connect is the error of a unary Connect call, ConnectStream that of a stream.
	Connect       Format = "connect"
	ConnectStream Format = "connect-stream"
	// EventStream is an empty event stream that makes an EventSource reconnect. Choose
	// never returns it: it is an option of the site's owner, see WantsEvents.
	EventStream Format = "event-stream"
	// Bare is the status without a body, where nobody reads one: scripts, images, WebSocket
	// handshakes. A browser would even draw an image, and so hide the error from the page
	// that embeds it.
	Bare Format = "bare"
)

// All lists every format, in the order of their declaration.
func All() []Format {
	return []Format{
		HTML, Problem, JSON, XML, Markdown, Text, GRPC, GRPCWeb, GRPCWebText, Connect, ConnectStream, EventStream, Bare,
	}
}

// Choose returns the format for the client of r. Where a browser says what the response is
// for (Sec-Fetch-Dest), that counts more than its Accept header, which differs little
// between one kind of request and another.
func Choose(r *http.Request) Format {
	if f := protocol(r); f != "" {
		return f
	}
	if isUpgrade(r) {
		return Bare
	}
	dest := strings.ToLower(r.Header.Get("Sec-Fetch-Dest"))
	switch {
	case isDocument[dest], strings.EqualFold(r.Header.Get("Sec-Fetch-Mode"), "navigate"):
		return HTML
	case isSubresource[dest]:
		return Bare
	case hasToken(r.Header["Sec-Purpose"], "prefetch"):
		return Bare
	}
	return fromAccept(r, dest)
}

// isDocument holds the values of Sec-Fetch-Dest with which a person reads the response.
var isDocument = set("document", "iframe", "frame", "fencedframe", "object", "embed")

// isSubresource holds the values of Sec-Fetch-Dest with which only the status matters.
// Values in neither set are ignored, as the Fetch Metadata specification requires.
var isSubresource = set(
	"audio", "audioworklet", "font", "image", "json", "manifest", "paintworklet",
	"report", "script", "serviceworker", "sharedworker", "speculationrules",
	"style", "text", "track", "video", "webidentity", "worker", "xslt",
)

func set(values ...string) map[string]bool {
	m := make(map[string]bool, len(values))
	for _, v := range values {
		m[v] = true
	}
	return m
}

// isUpgrade reports whether r asks to switch its connection to another protocol, such as
// WebSocket. HTTP/2 and HTTP/3 use extended CONNECT for that: net/http keeps :protocol
// among the headers, quic-go puts it into r.Proto. An offer of h2c does not count: curl and
// Java add it to ordinary requests and read the HTTP/1.1 answer.
func isUpgrade(r *http.Request) bool {
	if r.Method == http.MethodConnect {
		return len(r.Header[":protocol"]) > 0 || r.ProtoMajor >= 3 && !strings.HasPrefix(r.Proto, "HTTP/")
	}
	upgrade := r.Header.Get("Upgrade")
	return upgrade != "" && !strings.EqualFold(upgrade, "h2c") && hasToken(r.Header["Connection"], "upgrade")
}

// fromAccept chooses by the Accept header (RFC 9110 §12.5.1).
func fromAccept(r *http.Request, dest string) Format {
	a := parseAccept(r.Header["Accept"])
	if dest == "" && a.onlySubresources() {
		return Bare
	}
	if f, named := a.best(); named {
		return f
	}
	return fromHints(r, dest, a)
}

// fromHints chooses for a client whose Accept header names no format of ours. Scripts in a
// page and clients that send JSON get JSON; anyone else is probably a person at a terminal.
func fromHints(r *http.Request, dest string, a accept) Format {
	isProgram := dest == "empty" || r.Header.Get("X-Requested-With") != "" || isJSON(r.Header.Get("Content-Type"))
	if isProgram && a.takes(formatProblem) {
		return Problem
	}
	if a.takes(formatText) {
		return Text
	}
	if f, some := a.first(); some {
		return f
	}
	// The client accepts nothing we have. RFC 9110 §12.5.1 lets a server answer anyway, and
	// a few lines of text do the least harm.
	return Text
}

// isJSON reports whether a media type, with or without parameters, is JSON.
func isJSON(contentType string) bool {
	name := essence(contentType)
	return name == "application/json" || strings.HasSuffix(name, "+json")
}

// essence returns a media type in lower case and without its parameters.
func essence(contentType string) string {
	name, _, _ := strings.Cut(contentType, ";")
	return strings.ToLower(strings.TrimSpace(name))
}

// WantsEvents reports whether r comes from an EventSource.
func WantsEvents(r *http.Request) bool {
	return r.Method == http.MethodGet && hasToken(r.Header["Accept"], "text/event-stream")
}

// hasToken reports whether token is one of the comma-separated values of a header, with or
// without parameters.
func hasToken(values []string, token string) bool {
	for _, v := range values {
		for part := range strings.SplitSeq(v, ",") {
			name, _, _ := strings.Cut(part, ";")
			if strings.EqualFold(strings.TrimSpace(name), token) {
				return true
			}
		}
	}
	return false
}
