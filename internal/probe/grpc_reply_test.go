package probe

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/healthpool/caddy-healthpool/internal/badserver"
	"github.com/healthpool/caddy-healthpool/internal/cause"
)

const (
	isServing    = "\x00\x00\x00\x00\x02\x08\x01"
	isNotServing = "\x00\x00\x00\x00\x02\x08\x02"
)

// h2c serves f over HTTP/2 without TLS.
func h2c(t testing.TB, f http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewUnstartedServer(f)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	t.Cleanup(s.CloseClientConnections) // runs first
	return s.URL
}

// grpcReply is a server's answer and the expected result.
type grpcReply struct {
	name   string
	header map[string]string // Content-Type defaults to gRPC's
	status int
	body   []string // one chunk each
	want   cause.Cause
}

func grpcMessages() []grpcReply {
	ok := map[string]string{"Trailer:Grpc-Status": "0"}
	return []grpcReply{
		{"serving", ok, 200, []string{isServing}, ""},
		{"serving, split", ok, 200, strings.Split(isServing, ""), ""},
		{"serving, unknown field", ok, 200, []string{"\x00\x00\x00\x00\x04\x08\x01\x10\x07"}, ""},
		{"not serving", ok, 200, []string{isNotServing}, cause.UnexpectedStatus},
		{"unknown", ok, 200, []string{"\x00\x00\x00\x00\x02\x08\x00"}, cause.UnexpectedStatus},
		{"service unknown", ok, 200, []string{"\x00\x00\x00\x00\x02\x08\x03"}, cause.UnexpectedStatus},
		{"unheard of", ok, 200, []string{"\x00\x00\x00\x00\x02\x08\x7b"}, cause.UnexpectedStatus},
		{"empty message", ok, 200, []string{"\x00\x00\x00\x00\x00"}, cause.UnexpectedStatus},
		{"null bytes", ok, 200, []string{"\x00\x00\x00"}, cause.HTTPProtocolError},
		{"many null bytes", ok, 200, []string{strings.Repeat("\x00", 100)}, cause.HTTPProtocolError},
		{"no message", ok, 200, nil, cause.HTTPProtocolError},
		{"truncated", ok, 200, []string{isServing[:6]}, cause.HTTPProtocolError},
		{"truncated second", ok, 200, []string{isServing, "\x00\x00\x00\x00\x02\x08"}, cause.HTTPProtocolError},
		{"two messages", ok, 200, []string{isServing, isServing}, cause.HTTPProtocolError},
		{"message, then junk", ok, 200, []string{isServing, "\xff\xff\xff\xff\xff"}, cause.HTTPProtocolError},
		{"compressed", ok, 200, []string{"\x01" + isServing[1:]}, cause.HTTPProtocolError},
		{"bad flags", ok, 200, []string{"\x80" + isServing[1:]}, cause.HTTPProtocolError},
		{"bad message", ok, 200, []string{"\x00\x00\x00\x00\x02\x08\xff"}, cause.HTTPProtocolError},
		{"huge length", ok, 200, []string{"\x00\xff\xff\xff\xff\x08\x01"}, cause.HTTPProtocolError},
		{"largest", ok, 200, []string{"\x00\x00\x00\x10\x00\x08\x01\x12\xfb\x1f" + strings.Repeat("x", maxMessage-5)}, ""},
		{"oversized", ok, 200, []string{"\x00\x00\x00\x10\x01\x08\x01\x12\xfc\x1f" + strings.Repeat("x", maxMessage-4)}, cause.HTTPProtocolError},
		{"long", ok, 200, []string{isServing, strings.Repeat("x", 1<<20)}, cause.HTTPProtocolError},
	}
}

func grpcHeaders() []grpcReply {
	type header = map[string]string
	return []grpcReply{
		{"no trailers", nil, 200, []string{isServing}, cause.HTTPProtocolError},
		{"no status", header{"Trailer:X": "0"}, 200, []string{isServing}, cause.HTTPProtocolError},
		{"bad status", header{"Trailer:Grpc-Status": "well"}, 200, []string{isServing}, cause.HTTPProtocolError},
		{"huge status", header{"Trailer:Grpc-Status": "99999999999"}, 200, []string{isServing}, cause.HTTPProtocolError},
		{"empty", nil, 200, nil, cause.HTTPProtocolError},
		{"failed after all", header{"Trailer:Grpc-Status": "13"}, 200, []string{isServing}, cause.UnexpectedStatus},
		{"bad text", header{"Trailer:Grpc-Status": "2", "Trailer:Grpc-Message": "%zz\t%"}, 200, nil, cause.UnexpectedStatus},
		{"only trailers", header{"Grpc-Status": "12", "Grpc-Message": "no%0Asuch"}, 200, nil, cause.UnexpectedStatus},
		{"only trailers, no failure", header{"Grpc-Status": "0"}, 200, nil, cause.HTTPProtocolError},
		{"trailers too early", header{"Grpc-Status": "0"}, 200, []string{isServing}, cause.HTTPProtocolError},

		{"with a format", header{"Content-Type": "application/grpc+proto", "Trailer:Grpc-Status": "0"}, 200, []string{isServing}, ""},
		{"with a parameter", header{"Content-Type": "Application/gRPC;x=y", "Trailer:Grpc-Status": "0"}, 200, []string{isServing}, ""},
		{"gRPC-Web", header{"Content-Type": "application/grpc-web+proto", "Trailer:Grpc-Status": "0"}, 200, []string{isServing}, cause.HTTPProtocolError},
		{"page", header{"Content-Type": "text/html"}, 200, []string{"<p>Welcome"}, cause.HTTPProtocolError},
		{"no type", header{"Content-Type": "", "Trailer:Grpc-Status": "0"}, 200, []string{isServing}, cause.HTTPProtocolError},
		{"HTTP status", header{"Content-Type": "text/plain"}, 503, []string{"no"}, cause.UnexpectedStatus},
		{"not found", header{"Grpc-Status": "0"}, 404, nil, cause.UnexpectedStatus},
		{"HTTP status despite all", header{"Trailer:Grpc-Status": "0"}, 202, []string{isServing}, cause.UnexpectedStatus},
		{"redirect", header{"Location": "/elsewhere"}, 307, nil, cause.UnexpectedStatus},
	}
}

func TestGRPCReplies(t *testing.T) {
	for _, test := range append(grpcMessages(), grpcHeaders()...) {
		t.Run(test.name, func(t *testing.T) {
			url := h2c(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/grpc")
				for name, value := range test.header {
					w.Header().Set(name, value)
				}
				w.WriteHeader(test.status)
				for _, chunk := range test.body {
					_, _ = io.WriteString(w, chunk)
					w.(http.Flusher).Flush()
				}
			})
			probe := GRPC{URL: url, Timeout: plenty, Transport: ownH2C(t)}
			want(t, probe.Probe(t.Context()), test.want, false)
		})
	}
}

func TestGRPCEndless(t *testing.T) {
	url := h2c(t, func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			w.WriteHeader(http.StatusEarlyHints)
		}
	})
	probe := GRPC{URL: url, Timeout: little, Transport: ownH2C(t)}
	if got := probe.Probe(t.Context()); got.Cause != cause.HTTPResponseTimeout && got.Cause != cause.HTTPProtocolError {
		t.Errorf("interim responses: %+v", got)
	}
	probe.URL = h2c(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		for _, err := io.WriteString(w, isServing); err == nil; {
			_, err = io.WriteString(w, strings.Repeat(isServing, 1000))
		}
	})
	probe.Timeout = plenty
	began := time.Now()
	want(t, probe.Probe(t.Context()), cause.HTTPProtocolError, false)
	if spent := time.Since(began); spent > plenty/2 {
		t.Errorf("it took %v", spent)
	}
	probe.URL = h2c(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		_, _ = io.WriteString(w, isServing)
		w.(http.Flusher).Flush()
		<-r.Context().Done() // the trailers never come
	})
	probe.Timeout = little
	want(t, probe.Probe(t.Context()), cause.HTTPResponseTimeout, false)
}

// HTTP/2 frame types and flags that the tests use.
const (
	typeData, typeHeaders, typeReset, typeSettings, typeGoAway = 0, 1, 3, 4, 7
	endStream, endHeaders                                      = 1, 4
)

// h2Frame returns an HTTP/2 frame without priority or padding.
func h2Frame(kind, flags byte, stream uint32, payload string) string {
	size := len(payload)
	if size > 1<<14 {
		panic("too long for a frame")
	}
	head := binary.BigEndian.AppendUint32(nil, uint32(size)<<8|uint32(kind))
	return string(binary.BigEndian.AppendUint32(append(head, flags), stream)) + payload
}

// field returns an uncompressed header field.
func field(name, value string) string {
	return fmt.Sprintf("\x00%c%s%c%s", len(name), name, len(value), value)
}

// framing answers each request with these frames once it has received all of it, and then
// closes the connection if close is set.
func framing(t testing.TB, close bool, frames ...string) string {
	t.Helper()
	return badserver.Listen(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		if _, err := r.Discard(len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")); err != nil {
			return
		}
		_, _ = io.WriteString(c, h2Frame(typeSettings, 0, 0, ""))
		for head := make([]byte, 9); ; {
			if _, err := io.ReadFull(r, head); err != nil {
				return
			}
			if _, err := r.Discard(int(binary.BigEndian.Uint32(head) >> 8)); err != nil {
				return
			}
			if head[3] != typeData || head[4]&endStream == 0 {
				continue
			}
			_, _ = io.WriteString(c, strings.Join(frames, ""))
			if close {
				return
			}
		}
	})
}

func TestGRPCFrames(t *testing.T) {
	head := h2Frame(typeHeaders, endHeaders, 1, "\x88"+field("content-type", "application/grpc"))
	data := h2Frame(typeData, 0, 1, isServing)
	end := h2Frame(typeHeaders, endHeaders|endStream, 1, field("grpc-status", "0"))
	reset := func(code byte) string { return h2Frame(typeReset, 0, 1, "\x00\x00\x00"+string(code)) }
	goAway := func(last, code byte) string {
		return h2Frame(typeGoAway, 0, 0, "\x00\x00\x00"+string(last)+"\x00\x00\x00"+string(code))
	}
	tests := []struct {
		name   string
		close  bool
		frames []string
		want   cause.Cause
	}{
		{"serving", false, []string{head, data, end}, ""},
		{"serving, then closes", true, []string{head, data, end}, ""},
		{"only trailers", false, []string{h2Frame(typeHeaders, endHeaders|endStream, 1, "\x88"+field("content-type", "application/grpc")+field("grpc-status", "14"))}, cause.UnexpectedStatus},
		{"going away", false, []string{goAway(1, 0), head, data, end}, ""},
		{"going away meanwhile", true, []string{head, goAway(1, 0), data, end}, ""},
		{"going away in error", true, []string{goAway(1, 2)}, cause.ConnectionTerminated},
		{"going away half done", true, []string{head, data, goAway(1, 2)}, cause.ConnectionTerminated},
		{"reset", false, []string{reset(2)}, cause.ConnectionTerminated},
		{"reset as canceled", false, []string{reset(8)}, cause.ConnectionTerminated},
		{"reset after the head", false, []string{head, reset(2)}, cause.ConnectionTerminated},
		{"reset after the message", false, []string{head, data, reset(0)}, cause.ConnectionTerminated},
		{"reset after the end", false, []string{head, data, end, reset(0)}, ""},
		{"closes", true, nil, cause.ConnectionTerminated},
		{"closes after the head", true, []string{head}, cause.ConnectionTerminated},
		{"closes before the end", true, []string{head, data}, cause.ConnectionTerminated},
		{"closes in a frame", true, []string{head, data[:12]}, cause.ConnectionTerminated},
		{"data first", false, []string{data, end}, cause.HTTPProtocolError},
		{"bad header", false, []string{h2Frame(typeHeaders, endHeaders, 1, "\xff\xff\xff")}, cause.HTTPProtocolError},
		{"bad frames", true, []string{strings.Repeat("\xff", 100)}, cause.HTTPProtocolError},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			probe := GRPC{URL: "http://" + framing(t, test.close, test.frames...), Timeout: plenty, Transport: ownH2C(t)}
			want(t, probe.Probe(t.Context()), test.want, false)
		})
	}
}

// TestConnectionsClosed: Go's client retries at once when a new connection did not take its
// request. A check must not do that until its timeout.
func TestConnectionsClosed(t *testing.T) {
	tests := map[string]string{
		"goes away":      h2Frame(typeGoAway, 0, 0, "\x00\x00\x00\x00\x00\x00\x00\x00"),
		"protocol error": h2Frame(typeReset, 0, 1, "\x00\x00\x00\x01"),
	}
	for name, frame := range tests {
		t.Run(name, func(t *testing.T) {
			var dials atomic.Int32
			transport := ownH2C(t)
			transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
				dials.Add(1)
				return new(net.Dialer).DialContext(ctx, network, address)
			}
			url := "http://" + framing(t, true, frame)
			byGRPC := GRPC{URL: url, Timeout: plenty, Transport: transport}
			want(t, byGRPC.Probe(t.Context()), cause.ConnectionTerminated, false)
			byHTTP := HTTP{Method: http.MethodPost, Body: "x", URL: url, Timeout: plenty, Transport: transport}
			want(t, byHTTP.Probe(t.Context()), cause.ConnectionTerminated, false)
			if got := dials.Load(); got > 2*(maxConnections+1) {
				t.Errorf("%d connections for two checks", got)
			}
		})
	}
}

// TestGRPCNotHTTP2: a server that speaks another protocol differs from one that cannot be
// reached.
func TestGRPCNotHTTP2(t *testing.T) {
	old := server(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) })
	tlsServer := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(tlsServer.Close)
	modern := "http://" + grpcServer(t, func(*grpc.Server) {})
	speaksFirst := "http://" + badserver.Listen(t, badserver.SpeakFirst("SSH-2.0-x\r\n"))
	tests := []struct {
		name, url string
		transport http.RoundTripper
		want      cause.Cause
		closes    bool // which makes it a race which is seen first
	}{
		{"HTTP/1 by h2c", old, ownH2C(t), cause.HTTPProtocolError, true},
		{"HTTP/1 by HTTP/1", old, own(t), cause.HTTPProtocolError, false},
		{"HTTP/1 by TLS", tlsServer.URL, tlsServer.Client().Transport, cause.HTTPProtocolError, false},
		{"gRPC by HTTP/1", modern, own(t), cause.HTTPProtocolError, true},
		{"TLS by h2c", "http" + strings.TrimPrefix(tlsServer.URL, "https"), ownH2C(t), cause.HTTPProtocolError, true},
		{"gRPC by TLS", "https" + strings.TrimPrefix(modern, "http"), own(t), cause.TLSProtocolError, true},
		{"speaks first", speaksFirst, ownH2C(t), cause.HTTPProtocolError, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			probe := GRPC{URL: test.url, Timeout: plenty, Transport: test.transport}
			got := probe.Probe(t.Context())
			if test.closes && got.Cause == cause.ConnectionTerminated {
				test.want = got.Cause
			}
			want(t, got, test.want, false)
			t.Log(got.Cause, got.Detail)
		})
	}
}
