package page

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/healthpool/caddy-healthpool/internal/represent"
)

// FuzzCalls: in gRPC-Web and Connect, the error is in one frame and has the right message.
func FuzzCalls(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, service, message, reference, poll, label string) {
		x := texts{service, message, reference, poll, label}
		shown, _, unary := x.answered(t, represent.Connect)
		checkSays(t, unary, &shown)
		_, _, stream := x.answered(t, represent.ConnectStream)
		var end struct {
			Error json.RawMessage `json:"error"`
		}
		flags, payload := unframe(t, stream)
		strictly(t, payload, &end)
		checkSays(t, string(end.Error), &shown)

		if flags != connectEndStream {
			t.Errorf("flags %x", flags)
		}
		_, _, web := x.answered(t, represent.GRPCWeb)
		checkTrailers(t, web, &shown)
		_, _, text := x.answered(t, represent.GRPCWebText)
		decoded, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		checkTrailers(t, string(decoded), &shown)
	})
}

// checkSays checks that a Connect error is that of a notice.
func checkSays(t *testing.T, text string, shown *Notice) {
	t.Helper()
	var e connectError
	strictly(t, text, &e)
	if want := detail(shown, http.MethodPost); e.Code != "unavailable" || e.Message != want || len(e.Details) == 0 {
		t.Errorf("got %+v, want %q", e, want)
	}
}

// checkTrailers checks that the body of a gRPC-Web response is the error of a notice and no more.
func checkTrailers(t *testing.T, body string, shown *Notice) {
	t.Helper()
	flags, payload := unframe(t, body)
	if got, err := url.PathUnescape(trailers(t, payload)("grpc-message")); flags != grpcWebTrailers || err != nil || got != detail(shown, http.MethodPost) {
		t.Errorf("flags %x, grpc-message %q: %v", flags, got, err)
	}
}

// FuzzEvents: whatever a text is, an event stream has the same lines.
func FuzzEvents(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, service, message, reference, poll, label string) {
		x := texts{service, message, reference, poll, label}
		shown, h, body := x.answered(t, represent.EventStream)
		_, _, plain := harmless(shown).answered(t, represent.EventStream)
		if strings.Count(body, "\n") != strings.Count(plain, "\n") || strings.ContainsAny(body, "\r\x00") {
			t.Errorf("got %q, want lines as in %q", body, plain)
		}
		checkHeaders(t, h)
	})
}
