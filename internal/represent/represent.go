// Package represent decides what kind of answer a client can use when there
// is nothing to proxy to: a person gets a page, a program gets data, and an
// image tag gets nothing but the status.
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
	// JSON has the members of Problem under the name application/json, for
	// clients that asked for nothing else.
	JSON Format = "json"
	// XML is application/problem+xml (RFC 9457, Appendix B).
	XML Format = "problem+xml"
	// Markdown is for agents.
	Markdown Format = "markdown"
	// Text is for terminals and logs.
	Text Format = "text"
	// GRPC is a response of gRPC without messages.
	GRPC Format = "grpc"
	// GRPCWeb and GRPCWebText are the same for browsers.
	GRPCWeb     Format = "grpc-web"
	GRPCWebText Format = "grpc-web-text"
	// Connect is an error of a unary call of Connect, ConnectStream one of a
	// stream.
	Connect       Format = "connect"
	ConnectStream Format = "connect-stream"
	// EventStream is a stream without events that has an EventSource connect
	// again. Only owners who want it have it: see WantsEvents.
	EventStream Format = "event-stream"
	// Bare is the status without a body, for what nobody reads: a script, an
	// image, a WebSocket handshake. An image would even be drawn, and hide
	// the error from the page that embeds it.
	Bare Format = "bare"
)

// All lists every format, in the order of their declaration.
func All() []Format {
	return []Format{
		HTML, Problem, JSON, XML, Markdown, Text, GRPC, GRPCWeb, GRPCWebText, Connect, ConnectStream, EventStream, Bare,
	}
}

// Choose returns the format that the client of r can use. What a browser says
// about the destination of a request counts more than its Accept header, which
// is much the same for all of them.
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

// isDocument has the destinations where a person reads the response.
var isDocument = set("document", "iframe", "frame", "fencedframe", "object", "embed")

// isSubresource has the destinations of which only the status is looked at.
// A value in neither set says nothing, as the Fetch Metadata specification
// wants it: servers ignore what they don't know.
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

// isUpgrade tells whether r wants to turn its connection into something else.
// HTTP/2 and 3 do it by extended CONNECT: net/http leaves :protocol among the
// headers, quic-go puts it where the version of HTTP would be. An offer of h2c,
// which curl and Java make along with any request, is none: they go on with
// HTTP/1.1 and read the answer.
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

// fromHints chooses for a client that takes anything: code that runs in a
// page or that sends JSON can use JSON, everything else is read by people.
func fromHints(r *http.Request, dest string, a accept) Format {
	isProgram := dest == "empty" || r.Header.Get("X-Requested-With") != "" || isJSON(r.Header.Get("Content-Type"))
	if isProgram && a.takes(Problem) {
		return Problem
	}
	if a.takes(Text) {
		return Text
	}
	if f, some := a.first(); some {
		return f
	}
	// Nothing we have is acceptable. RFC 9110 lets a server send it anyway,
	// and a few lines of text are what harms least.
	return Text
}

// isJSON tells whether a media type, with or without parameters, is JSON.
func isJSON(contentType string) bool {
	name := essence(contentType)
	return name == "application/json" || strings.HasSuffix(name, "+json")
}

// essence is a media type without its parameters.
func essence(contentType string) string {
	name, _, _ := strings.Cut(contentType, ";")
	return strings.ToLower(strings.TrimSpace(name))
}

// WantsEvents tells whether r is that of an EventSource.
func WantsEvents(r *http.Request) bool {
	return r.Method == http.MethodGet && hasToken(r.Header["Accept"], "text/event-stream")
}

// hasToken tells whether one of the comma-separated values of a header is
// token, whatever parameters follow it.
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
