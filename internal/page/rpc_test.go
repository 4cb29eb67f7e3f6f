package page

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/healthpool/caddy-healthpool/internal/represent"
)

// rpcDetail is the message of the error for notice, for a POST.
const rpcDetail = "The service behind this address is not answering. The problem is on its side, not yours. " +
	"We are moving to a new house. The request was not passed on, so it is safe to repeat it."

// call returns the response to a remote procedure call.
func call(t testing.TB, format represent.Format, contentType string) (code int, h http.Header, body string) {
	t.Helper()
	w := fullPage.respond(t, ask(http.MethodPost, "Content-Type", contentType), format, notice())
	return w.Code, w.Header(), w.Body.String()
}

// rpcDetails decodes a google.rpc.Status and its details.
func rpcDetails(t testing.TB, marshalled []byte) (*errdetails.ErrorInfo, *errdetails.RetryInfo) {
	t.Helper()
	var s status.Status
	if err := proto.Unmarshal(marshalled, &s); err != nil {
		t.Fatal(err)
	}
	if s.GetCode() != 14 || s.GetMessage() == "" {
		t.Errorf("status %d %q", s.GetCode(), s.GetMessage())
	}
	var info *errdetails.ErrorInfo
	var retry *errdetails.RetryInfo
	for _, d := range s.GetDetails() {
		m, err := d.UnmarshalNew()
		if err != nil {
			t.Fatal(err)
		}
		switch m := m.(type) {
		case *errdetails.ErrorInfo:
			info = m
		case *errdetails.RetryInfo:
			retry = m
		default:
			t.Errorf("unknown detail %T", m)
		}
	}
	return info, retry
}

// checkGRPC checks the status that gRPC and gRPC-Web have in common.
func checkGRPC(t *testing.T, get func(name string) string) {
	t.Helper()
	if got := get("grpc-status"); got != "14" {
		t.Errorf("grpc-status %q", got)
	}
	if got, err := url.PathUnescape(get("grpc-message")); err != nil || got != rpcDetail {
		t.Errorf("grpc-message %q: %v", got, err)
	}
	marshalled, err := base64.RawStdEncoding.DecodeString(get("grpc-status-details-bin"))
	if err != nil {
		t.Fatal(err)
	}
	checkDetails(t, marshalled)
}

func checkDetails(t *testing.T, marshalled []byte) {
	t.Helper()
	info, retry := rpcDetails(t, marshalled)
	if info.GetReason() != "DESTINATION_UNAVAILABLE" || info.GetDomain() == "" ||
		info.GetMetadata()["request_fate"] != "not_sent" || info.GetMetadata()["reference"] != "7QX4-M2KD" {
		t.Errorf("ErrorInfo %v", info)
	}
	if retry.GetRetryDelay().AsDuration().Seconds() != 30 {
		t.Errorf("RetryInfo %v", retry)
	}
}

// TestGRPC: the headers are the trailers, and there is no message.
func TestGRPC(t *testing.T) {
	for _, contentType := range []string{"application/grpc", "application/grpc+proto", "application/grpc+json"} {
		code, h, body := call(t, represent.GRPC, contentType)
		if code != http.StatusOK || body != "" || h.Get("Content-Type") != contentType {
			t.Errorf("got %d %q %q", code, h.Get("Content-Type"), body)
		}
		checkGRPC(t, h.Get)
	}
	if _, h, _ := call(t, represent.GRPC, "application/grpc ; charset=utf-8"); h.Get("Content-Type") != "application/grpc" {
		t.Errorf("parameters make the type %q", h.Get("Content-Type"))
	}
}

// TestGRPCMessage: everything but printable ASCII is percent-encoded, so that the header is valid
// and decodes to the original message.
func TestGRPCMessage(t *testing.T) {
	n := notice()
	n.Message = "100 % – Zürich 家"
	got := answer(t, http.MethodPost, represent.GRPC, n).Header().Get("Grpc-Message")
	mustHave(t, got, "100 %25 %E2%80%93 Z%C3%BCrich %E5%AE%B6")
	if decoded, err := url.PathUnescape(got); err != nil || !strings.Contains(decoded, n.Message) {
		t.Errorf("decoded %q: %v", decoded, err)
	}
}

// unframe splits a body that must be a single frame.
func unframe(t *testing.T, body string) (flags byte, payload string) {
	t.Helper()
	const head = 5
	if len(body) < head || int(binary.BigEndian.Uint32([]byte(body[1:head]))) != len(body)-head {
		t.Fatalf("not one frame: %q", body)
	}
	return body[0], body[head:]
}

// trailers parses the trailers of gRPC-Web, whose names are in lower case.
func trailers(t *testing.T, payload string) func(name string) string {
	t.Helper()
	all := map[string]string{}
	for line := range strings.SplitAfterSeq(payload, "\r\n") {
		if line == "" {
			continue
		}
		name, value, ok := strings.Cut(strings.TrimSuffix(line, "\r\n"), ": ")
		if !ok || !strings.HasSuffix(line, "\r\n") || name != strings.ToLower(name) {
			t.Errorf("not a trailer: %q", line)
		}
		all[name] = value
	}
	return func(name string) string { return all[name] }
}

// TestGRPCWeb: the trailers are in the body, in base64 if the client wants that.
func TestGRPCWeb(t *testing.T) {
	for contentType, format := range map[string]represent.Format{
		"application/grpc-web": represent.GRPCWeb, "application/grpc-web+proto": represent.GRPCWeb,
		"application/grpc-web-text": represent.GRPCWebText, "application/grpc-web-text+proto": represent.GRPCWebText,
	} {
		code, h, body := call(t, format, contentType)
		if code != http.StatusOK || h.Get("Content-Type") != contentType {
			t.Errorf("got %d %q, want %q", code, h.Get("Content-Type"), contentType)
		}
		if format == represent.GRPCWebText {
			decoded, err := base64.StdEncoding.DecodeString(body)
			if err != nil {
				t.Fatal(err)
			}
			body = string(decoded)
		}
		flags, payload := unframe(t, body)
		if flags != 0x80 {
			t.Errorf("flags are %#x", flags)
		}
		checkGRPC(t, trailers(t, payload))
	}
}

// checkConnect checks a Connect error.
func checkConnect(t *testing.T, e connectError) {
	t.Helper()
	if e.Code != "unavailable" || e.Message != rpcDetail {
		t.Errorf("got %s %q", e.Code, e.Message)
	}
	types := map[string]int{}
	for _, d := range e.Details {
		types[d.Type]++
		if value, err := base64.RawStdEncoding.DecodeString(d.Value); err != nil || len(value) == 0 {
			t.Errorf("%s: %q: %v", d.Type, d.Value, err)
		}
	}
	if len(types) != 2 || types["google.rpc.ErrorInfo"] != 1 || types["google.rpc.RetryInfo"] != 1 {
		t.Errorf("details are %v", types)
	}
}

// strictly decodes JSON that has no members but those of v.
func strictly(t *testing.T, text string, v any) {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(v); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
}

// TestConnect: a unary call fails with the status and the code for unavailable, in JSON whatever
// the encoding of the call.
func TestConnect(t *testing.T) {
	for _, contentType := range []string{"application/proto", "application/json", ""} {
		code, h, body := call(t, represent.Connect, contentType)
		if code != http.StatusServiceUnavailable || h.Get("Content-Type") != "application/json" {
			t.Errorf("got %d %q", code, h.Get("Content-Type"))
		}
		var e connectError
		strictly(t, body, &e)
		checkConnect(t, e)
	}
}

// TestConnectStream: a stream ends with the error at once.
func TestConnectStream(t *testing.T) {
	for _, contentType := range []string{"application/connect+proto", "application/connect+json"} {
		code, h, body := call(t, represent.ConnectStream, contentType)
		if code != http.StatusOK || h.Get("Content-Type") != contentType {
			t.Errorf("got %d %q, want %q", code, h.Get("Content-Type"), contentType)
		}
		flags, payload := unframe(t, body)
		if flags != 0x02 {
			t.Errorf("flags are %#x", flags)
		}
		var end struct {
			Error connectError `json:"error"`
		}
		strictly(t, payload, &end)
		checkConnect(t, end.Error)
	}
}
