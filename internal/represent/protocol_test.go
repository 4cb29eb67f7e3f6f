package represent

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestChooseProtocol: a client of gRPC, gRPC-Web or Connect can read only the errors of its
// own protocol, whatever else its headers say.
func TestChooseProtocol(t *testing.T) {
	for contentType, want := range map[string]Format{
		"application/grpc":                    GRPC,
		"application/grpc+proto":              GRPC,
		"application/grpc+json":               GRPC,
		"Application/GRPC ; charset=utf-8":    GRPC,
		"application/grpc-web":                GRPCWeb,
		"application/grpc-web+proto":          GRPCWeb,
		"application/grpc-web-text":           GRPCWebText,
		"application/grpc-web-text+proto":     GRPCWebText,
		"application/connect+proto":           ConnectStream,
		"application/connect+json":            ConnectStream,
		"application/grpcx":                   Text,
		"application/grpc-weblog":             Text,
		"application/grpc-web-texts":          Text,
		"application/connect":                 Text,
		"text/plain; x=application/grpc":      Text,
		"application/proto":                   Connect,
		"Application/Proto; charset=utf-8":    Connect,
		"application/protobuf":                Text,
		"application/proto+x":                 Text,
		"application/grpc+x, text/html":       Text,
		"application/connect+x,text/html":     Text,
		"application/json; application/grpc ": Problem,
	} {
		t.Run(contentType, func(t *testing.T) {
			r := request("Content-Type", contentType)
			r.Method = http.MethodPost
			check(t, r, want)
			if want != Text && want != Problem {
				r.Header.Set("Accept", "text/html")
				r.Header.Set("Sec-Fetch-Dest", "empty")
				check(t, r, want)
			}
		})
	}
}

// TestChooseConnect: a unary Connect call is recognised by its header, by the type
// application/proto, or by the address if it is a GET.
func TestChooseConnect(t *testing.T) {
	for _, c := range []struct {
		method, target, version, contentType string
		want                                 Format
	}{
		{"POST", "/a.B/C", "1", "application/json", Connect},
		{"POST", "/a.B/C", "1", "application/proto", Connect},
		{"POST", "/a.B/C", "1", "application/connect+proto", ConnectStream},
		{"POST", "/a.B/C", "1", "application/grpc", GRPC},
		{"POST", "/a.B/C", "2", "application/json", Problem},
		{"POST", "/a.B/C", "", "application/json", Problem},
		{"POST", "/a.B/C", "", "application/proto", Connect},
		{"POST", "/a.B/C", "", "text/plain; x=application/proto", Text},
		{"PUT", "/a.B/C", "", "application/proto", Text},
		{"GET", "/a.B/C", "", "application/proto", Text},
		{"POST", "/a.B/C?connect=v1", "", "application/json", Problem},
		{"GET", "/a.B/C?connect=v1&encoding=json&message=%7B%7D", "", "", Connect},
		{"GET", "/a.B/C?encoding=json&message=%7B%7D&connect=v1", "", "", Connect},
		{"GET", "/a.B/C?connect=v2", "", "", Text},
		{"GET", "/a.B/C?disconnect=v1", "", "", Text},
		{"GET", "/a.B/C?x=connect=v1", "", "", Text},
	} {
		t.Run(c.method+" "+c.target+" "+c.contentType, func(t *testing.T) {
			r := httptest.NewRequest(c.method, c.target, nil)
			r.Header.Set("Connect-Protocol-Version", c.version)
			r.Header.Set("Content-Type", c.contentType)
			check(t, r, c.want)
		})
	}
}

// TestWantsEvents: an EventSource names event streams in a GET; a request that accepts anything
// is not one.
func TestWantsEvents(t *testing.T) {
	for _, c := range []struct {
		method, accept string
		want           bool
	}{
		{"GET", "text/event-stream", true},
		{"GET", "Text/Event-Stream; q=1", true},
		{"GET", "application/json, text/event-stream", true},
		{"POST", "text/event-stream", false},
		{"HEAD", "text/event-stream", false},
		{"GET", "*/*", false},
		{"GET", "text/*", false},
		{"GET", "text/event-streams", false},
		{"GET", "", false},
	} {
		r := request("Accept", c.accept)
		r.Method = c.method
		if got := WantsEvents(r); got != c.want {
			t.Errorf("%s %q: got %v, want %v", c.method, c.accept, got, c.want)
		}
	}
}
