package probe

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/proto"

	"github.com/healthpool/caddy-healthpool/internal/cause"
	"github.com/healthpool/caddy-healthpool/internal/health"
)

const (
	// frameHeaderSize is the size of what precedes each message, in bytes: a compression
	// flag and the length.
	frameHeaderSize = 5
	// maxMessage bounds the messages in both directions, in bytes. Those of the health
	// service have only a name or a number.
	maxMessage = 4 << 10
)

// GRPC checks that an upstream says SERVING in the standard gRPC health checking protocol
// (grpc.health.v1.Health/Check).
//
// It is built on net/http instead of a gRPC client, so that it uses the connections, TLS
// and sockets of requests. It sends no grpc-timeout: canceling the stream does the same,
// and two clocks would race for the cause. As for [HTTP], the transport bounds the size of
// headers.
type GRPC struct {
	// URL of the server: scheme, host and port. The method's path is appended.
	URL string
	// Host overrides the authority. Default: Header's Host, else the URL's.
	Host string
	// Service to ask about, at most 4 KiB. Default: the whole server.
	Service string
	// Header is the metadata to send. Fields that the protocol requires take precedence.
	Header http.Header
	// Timeout bounds the whole check. Default: only the context does.
	Timeout time.Duration
	// Transport sends the request, and must stop when its context ends. It must speak
	// HTTP/2, with TLS or without (h2c), as the URL says. Default: [http.DefaultTransport],
	// which speaks it only with TLS.
	Transport http.RoundTripper
}

// Probe runs one check. If ctx ends before there is a result, the cause is
// [cause.ClientGone] and the result means nothing.
func (p *GRPC) Probe(ctx context.Context) health.Result {
	return run(ctx, p.Timeout, httpCheck{
		transport: p.Transport, request: p.request, redirect: noRedirects, evaluate: p.evaluate,
	}.check)
}

// noRedirects follows no redirects: gRPC has none.
func noRedirects(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

func (p *GRPC) request(ctx context.Context) (*http.Request, error) {
	message, err := proto.Marshal(&grpc_health_v1.HealthCheckRequest{Service: p.Service})
	if err != nil {
		return nil, fmt.Errorf("naming the service: %w", err)
	}
	size := len(message)
	if size > maxMessage {
		return nil, errors.New("the name of the service is too long")
	}
	frame := binary.BigEndian.AppendUint32([]byte{0}, uint32(size))
	target := strings.TrimSuffix(p.URL, "/") + grpc_health_v1.Health_Check_FullMethodName
	// The client can resend a body of this type if a server that is closing the connection
	// did not accept the stream.
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(append(frame, message...)))
	if err != nil {
		return nil, fmt.Errorf("making the request: %w", err)
	}
	configure(req, p.Host, p.Header)
	req.Header.Set("Content-Type", "application/grpc")
	req.Header.Set("Te", "trailers")
	return req, nil
}

// evaluate reads the whole answer, because the status is in its trailers.
func (p *GRPC) evaluate(ctx context.Context, resp *http.Response, now *phase) *failure {
	switch {
	case resp.ProtoMajor < 2:
		return protocolViolation("the answer is %s, but gRPC needs HTTP/2 (h2c without TLS)", resp.Proto)
	case resp.StatusCode != http.StatusOK:
		return rejected("HTTP status %d, expected 200", resp.StatusCode)
	case !isGRPC(resp.Header.Get("Content-Type")):
		return protocolViolation("the content type %q is not that of gRPC", resp.Header.Get("Content-Type"))
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, frameHeaderSize+maxMessage+1))
	if err != nil {
		return failureOf(ctx, err, now.late())
	}
	if len(body) > frameHeaderSize+maxMessage {
		return protocolViolation("the answer is longer than %d bytes", frameHeaderSize+maxMessage)
	}
	end := resp.Trailer
	if len(body) == 0 && end.Get("Grpc-Status") == "" {
		end = resp.Header // a trailers-only response has them in its header
	}
	if f := p.evaluateTrailers(end); f != nil {
		return f
	}
	return evaluateMessage(body)
}

// evaluateTrailers returns whether the call failed.
func (p *GRPC) evaluateTrailers(end http.Header) *failure {
	text := end.Get("Grpc-Status")
	if text == "" {
		return protocolViolation("the answer ends without a grpc-status")
	}
	status, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return protocolViolation("%q is no grpc-status", text)
	}
	var note string
	switch code := codes.Code(status); code {
	case codes.OK:
		return nil
	case codes.Unimplemented:
		note = ", the app has no health service"
	case codes.NotFound:
		note = fmt.Sprintf(", the app does not know the service %q", p.Service)
	default:
	}
	if message := end.Get("Grpc-Message"); message != "" {
		if plain, err := url.PathUnescape(message); err == nil {
			message = plain
		}
		note += ": " + message
	}
	return rejected("grpc-status %d (%v)%s", status, codes.Code(status), note)
}

// evaluateMessage returns whether the service is not serving, from the message of a call
// that succeeded.
func evaluateMessage(body []byte) *failure {
	message, err := unframe(body)
	if err != nil {
		return protocolViolation("the answer %v", err)
	}
	var answer grpc_health_v1.HealthCheckResponse
	if err := proto.Unmarshal(message, &answer); err != nil {
		return protocolViolation("the answer is not that of a health service: %v", err)
	}
	if answer.Status != grpc_health_v1.HealthCheckResponse_SERVING {
		return rejected("the service is %v, expected SERVING", answer.Status)
	}
	return nil
}

// unframe returns the message, which must be all of body.
func unframe(body []byte) ([]byte, error) {
	if len(body) < frameHeaderSize {
		return nil, fmt.Errorf("has no message (%d bytes)", len(body))
	}
	message := body[frameHeaderSize:]
	switch length := int64(binary.BigEndian.Uint32(body[1:])); {
	case body[0] != 0:
		return nil, fmt.Errorf("has flags %#x, and nobody asked for compression", body[0])
	case length > int64(len(message)):
		return nil, fmt.Errorf("has %d bytes of a message of %d", len(message), length)
	case length < int64(len(message)):
		return nil, fmt.Errorf("has %d bytes after its message", int64(len(message))-length)
	default:
		return message, nil
	}
}

// isGRPC accepts the content type with a format ("+proto") or a parameter, but not
// gRPC-Web, which frames its trailers.
func isGRPC(contentType string) bool {
	rest, ok := strings.CutPrefix(strings.ToLower(contentType), "application/grpc")
	return ok && (rest == "" || rest[0] == '+' || rest[0] == ';')
}

// rejected is a failure by a well-formed answer.
func rejected(format string, args ...any) *failure {
	return &failure{cause: cause.UnexpectedStatus, detail: fmt.Sprintf(format, args...)}
}

// protocolViolation is a failure by an answer that breaks the protocol.
func protocolViolation(format string, args ...any) *failure {
	return &failure{cause: cause.HTTPProtocolError, detail: fmt.Sprintf(format, args...)}
}
