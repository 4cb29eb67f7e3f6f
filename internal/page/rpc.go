package page

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/healthpool/caddy-healthpool/internal/represent"
)

// Flags of the frame that ends a response.
const (
	grpcWebTrailers  = 0x80 // gRPC-Web: its payload is the trailers
	connectEndStream = 0x02 // Connect: its payload is JSON
)

// renderRPC writes n as the error of a remote procedure call. Its code is "unavailable" in
// every protocol: the call may succeed later.
func renderRPC(b *bytes.Buffer, r *http.Request, format represent.Format, n *Notice, out *body) {
	s := rpcStatus(n, r.Method)
	// Clients accept only the content type that they sent.
	contentType, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	out.status, out.contentType = http.StatusOK, strings.TrimSpace(contentType)
	switch format {
	case represent.GRPC:
		out.rpc = grpcHeaders(s) // a response without messages has its trailers as headers
	case represent.GRPCWeb:
		writeFrame(b, grpcWebTrailers, grpcTrailers(s))
	case represent.GRPCWebText:
		frame := new(bytes.Buffer)
		writeFrame(frame, grpcWebTrailers, grpcTrailers(s))
		b.WriteString(base64.StdEncoding.EncodeToString(frame.Bytes()))
	case represent.ConnectStream:
		end, _ := json.Marshal(map[string]connectError{"error": connectErrorOf(s)})
		writeFrame(b, connectEndStream, end)
	default: // a unary call of Connect
		out.status, out.contentType = http.StatusServiceUnavailable, "application/json"
		_ = json.NewEncoder(b).Encode(connectErrorOf(s))
	}
}

// rpcStatus returns n in the error model of Google APIs, which gRPC and Connect share.
func rpcStatus(n *Notice, method string) *status.Status {
	s := &status.Status{Code: int32(codes.Unavailable), Message: detail(n, method)}
	info := &errdetails.ErrorInfo{
		Reason: strings.ToUpper(string(n.Cause)), Domain: "caddy-healthpool",
		Metadata: map[string]string{"request_fate": string(n.Fate), "reference": strings.ToValidUTF8(n.Reference, "")},
	}
	details := []proto.Message{info}
	if n.RetryAfter > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(time.Duration(n.RetryAfter) * time.Second)})
	}
	s.Message = strings.ToValidUTF8(s.Message, "")
	for _, d := range details {
		if packed, err := anypb.New(d); err == nil {
			s.Details = append(s.Details, packed)
		}
	}
	return s
}

// grpcHeaders returns the headers of a response without messages ("Trailers-Only" in gRPC's
// PROTOCOL-HTTP2), names and values in turn.
func grpcHeaders(s *status.Status) []string {
	headers := []string{"Grpc-Status", strconv.Itoa(int(s.GetCode())), "Grpc-Message", percentEncode(s.GetMessage())}
	if details, err := (proto.MarshalOptions{Deterministic: true}).Marshal(s); err == nil {
		headers = append(headers, "Grpc-Status-Details-Bin", base64.RawStdEncoding.EncodeToString(details))
	}
	return headers
}

// grpcTrailers returns the same for the body of a gRPC-Web response.
func grpcTrailers(s *status.Status) []byte {
	var b bytes.Buffer
	headers := grpcHeaders(s)
	for i := 0; i < len(headers); i += 2 {
		fmt.Fprintf(&b, "%s: %s\r\n", strings.ToLower(headers[i]), headers[i+1])
	}
	return b.Bytes()
}

// writeFrame writes a message as gRPC, gRPC-Web and Connect frame it: one byte of flags, four
// bytes of length, the payload.
func writeFrame(b *bytes.Buffer, flags byte, payload []byte) {
	head := binary.BigEndian.AppendUint64(nil, uint64(flags)<<32|uint64(len(payload)))
	b.Write(head[3:])
	b.Write(payload)
}

// percentEncode encodes a message for the grpc-message header.
func percentEncode(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c >= ' ' && c <= '~' && c != '%' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// connectError is the JSON of a Connect error.
type connectError struct {
	Code    string          `json:"code"`
	Message string          `json:"message"`
	Details []connectDetail `json:"details"`
}

type connectDetail struct {
	Type  string `json:"type"`
	Value string `json:"value"`
}

func connectErrorOf(s *status.Status) connectError {
	e := connectError{Code: "unavailable", Message: s.GetMessage()}
	for _, d := range s.GetDetails() {
		_, name, _ := strings.Cut(d.GetTypeUrl(), "/")
		e.Details = append(e.Details, connectDetail{name, base64.RawStdEncoding.EncodeToString(d.GetValue())})
	}
	return e
}
