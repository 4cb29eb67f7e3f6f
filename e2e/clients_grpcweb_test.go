package e2e

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	grpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"
)

// frame is what gRPC-Web bodies consist of.
type frame struct {
	flags   byte
	payload []byte
}

// readFrames reads a body to its end.
func readFrames(body []byte) (frames []frame, err error) {
	for len(body) > 0 {
		const head = 5
		if len(body) < head {
			return frames, fmt.Errorf("%d bytes after the last frame: %q", len(body), body)
		}
		length := int(binary.BigEndian.Uint32(body[1:head]))
		if len(body)-head < length {
			return frames, fmt.Errorf("a frame of %d bytes has %d: %q", length, len(body)-head, body)
		}
		frames = append(frames, frame{body[0], body[head : head+length]})
		body = body[head+length:]
	}
	return frames, nil
}

// TestGRPCWebWhileDown reads what clients of gRPC-Web get while nothing can answer, byte by byte: their own content
// type, and one frame of trailers.
func TestGRPCWebWhileDown(t *testing.T) {
	site, _ := newH2CSite(t, http.HandlerFunc(echo))
	for version, client := range httpVersions {
		for _, sent := range []string{
			"application/grpc-web", "application/grpc-web+proto", "application/grpc-web+json",
			"application/grpc-web-text", "application/grpc-web-text+proto", "application/grpc-web+proto; charset=utf-8",
		} {
			t.Run(version+" "+sent, func(t *testing.T) {
				res := ask(t, client(), http.MethodPost, "http://"+site+"/e2e.Own/Unary", "\x00\x00\x00\x00\x00",
					"Content-Type", sent, "Accept", sent, "X-Grpc-Web", "1")
				want, _, _ := strings.Cut(sent, ";")
				if got := res.header.Get("Content-Type"); res.status != http.StatusOK || got != want {
					t.Errorf("got status %d, content type %q, want 200, %q", res.status, got, want)
				}
				if len(res.trailer) > 0 || res.header.Get("Grpc-Status") != "" {
					t.Errorf("want all in the body, got %v and trailers %v", res.header, res.trailer)
				}
				if length := strconv.Itoa(len(res.body)); res.header.Get("Content-Length") != length {
					t.Errorf("Content-Length %s, and %s bytes", res.header.Get("Content-Length"), length)
				}
				wantOneFrame(t, res, strings.Contains(sent, "-text"))
			})
		}
	}
}

// wantOneFrame checks that the body is a frame of trailers, and nothing else.
func wantOneFrame(t *testing.T, res reply, isText bool) {
	t.Helper()
	body := []byte(res.body)
	if isText {
		decoded, err := base64.StdEncoding.Strict().DecodeString(res.body)
		if err != nil {
			t.Fatalf("%v: %q", err, res.body)
		}
		body = decoded
	}
	frames, err := readFrames(body)
	if err != nil || len(frames) != 1 || frames[0].flags != 0x80 {
		t.Fatalf("got %q, %v, want one frame of trailers", frames, err)
	}
	trailers := readTrailers(t, string(frames[0].payload))
	message, err := url.PathUnescape(trailers["grpc-message"])
	if err != nil || trailers["grpc-status"] != "14" || !isOurText(message, notSent) {
		t.Errorf("got %q, want grpc-status 14 and our words", trailers)
	}
	wantNoLeak(t, "the message", message)
	wantDetails(t, readDetails(t, trailers["grpc-status-details-bin"], message), res.header.Get("Retry-After"), notSent)
}

// readTrailers reads trailers as gRPC-Web has them in a frame: names in lower case, each on a line of its own.
func readTrailers(t *testing.T, payload string) map[string]string {
	t.Helper()
	if !strings.HasSuffix(payload, "\r\n") {
		t.Errorf("the last line does not end: %q", payload)
	}
	trailers := make(map[string]string)
	for line := range strings.SplitSeq(strings.TrimSuffix(payload, "\r\n"), "\r\n") {
		name, value, ok := strings.Cut(line, ": ")
		if _, twice := trailers[name]; !ok || twice || name != strings.ToLower(name) || strings.ContainsAny(value, "\r\n") {
			t.Errorf("no trailer, or one too many: %q", line)
		}
		trailers[name] = value
	}
	return trailers
}

// readDetails reads the details of a status that says the same as grpc-status and grpc-message.
func readDetails(t *testing.T, encoded, message string) []proto.Message {
	t.Helper()
	s := new(grpcstatus.Status)
	decoded, err := base64.RawStdEncoding.DecodeString(encoded)
	if err := errors.Join(err, proto.Unmarshal(decoded, s)); err != nil || s.GetCode() != 14 || s.GetMessage() != message {
		t.Fatalf("grpc-status-details-bin: %v, %v", err, s)
	}
	details := make([]proto.Message, 0, len(s.GetDetails()))
	for _, d := range s.GetDetails() {
		m, err := d.UnmarshalNew()
		if err != nil {
			t.Fatal(err)
		}
		details = append(details, m)
	}
	return details
}
