package represent

import (
	"net/http"
	"net/url"
	"strings"
)

// protocol returns the format for a remote procedure call, by the protocol that the client
// says it speaks. It is empty for any other request.
func protocol(r *http.Request) Format {
	name := essence(r.Header.Get("Content-Type"))
	switch {
	case is(name, "application/grpc"):
		return GRPC
	case is(name, "application/grpc-web"):
		return GRPCWeb
	case is(name, "application/grpc-web-text"):
		return GRPCWebText
	case name != "application/connect" && is(name, "application/connect"):
		return ConnectStream
	case isConnectUnary(r, name):
		return Connect
	}
	return ""
}

// isConnectUnary reports whether r is a unary Connect call. Connect-Protocol-Version is
// optional, but application/proto is the type of no other protocol; application/json
// without the header could be anybody's.
func isConnectUnary(r *http.Request, contentType string) bool {
	switch {
	case r.Header.Get("Connect-Protocol-Version") == "1":
		return true
	case r.Method == http.MethodPost:
		return contentType == "application/proto"
	}
	return r.Method == http.MethodGet && isConnectGet(r.URL)
}

// isConnectGet reports whether u is the address of a unary Connect call by GET. A query that
// merely contains connect=v1 is not enough.
func isConnectGet(u *url.URL) bool {
	if !strings.Contains(u.RawQuery, "connect=v1") {
		return false
	}
	q := u.Query()
	return q.Get("connect") == "v1" && q.Has("encoding") && q.Has("message")
}

// is reports whether a media type is base, or base with a message format, such as
// application/grpc+proto. A list of several types is neither. No client sends one, and
// since the answer repeats the type, a browser could be made to use the last of the list.
func is(name, base string) bool {
	rest, ok := strings.CutPrefix(name, base)
	return ok && (rest == "" || rest[0] == '+') && !strings.Contains(rest, ",")
}
