package represent

import (
	"net/http"
	"net/url"
	"strings"
)

// protocol returns the format of a remote call, by what its client says it speaks;
// empty for anything else.
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
	case r.Header.Get("Connect-Protocol-Version") == "1",
		r.Method == http.MethodGet && isConnectGet(r.URL):
		return Connect
	}
	return ""
}

// isConnectGet tells whether a query is that of a unary call of Connect by GET, and
// not just one that has a word in common with it.
func isConnectGet(u *url.URL) bool {
	if !strings.Contains(u.RawQuery, "connect=v1") {
		return false
	}
	q := u.Query()
	return q.Get("connect") == "v1" && q.Has("encoding") && q.Has("message")
}

// is tells whether a media type is base, or base with a message format, such as
// application/grpc+proto. Of several types, which no client sends, it is none: the type
// is that of the answer, and browsers would take the last.
func is(name, base string) bool {
	rest, ok := strings.CutPrefix(name, base)
	return ok && (rest == "" || rest[0] == '+') && !strings.Contains(rest, ",")
}
