package probe

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/healthpool/caddy-healthpool/internal/cause"
)

func FuzzReply(f *testing.F) {
	for _, reply := range []string{
		"", "\x00", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 204 No Content\r\nConnection: keep-alive\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nwell",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwell\r\n0\r\nA: b\r\n\r\n",
		"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", "HTTP/1.1 302 Found\r\nLocation: https://[::1\r\n\r\n",
		"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 500 No\r\n\r\n", "HTTP/1.1 101 What\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b\x08\x00", "\x15\x03\x01\x00\x02\x02\x46",
		"HTTP/1.1 context canceled\r\n\r\n", "SSH-2.0-x\r\n",
	} {
		f.Add([]byte(reply), true, true)
		f.Add([]byte(reply), false, false)
	}
	known := append(cause.All(), "")
	f.Fuzz(func(t *testing.T, reply []byte, follow, search bool) {
		transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
			client, server := net.Pipe()
			go func() { _, _ = io.Copy(io.Discard, server) }() // ends when the other does
			go func() {
				defer server.Close()
				_, _ = server.Write(reply)
			}()
			return client, nil
		}}
		defer transport.CloseIdleConnections()
		probe := HTTP{URL: "http://app.test/", FollowRedirects: follow, Timeout: plenty, Transport: transport}
		if search {
			probe.ExpectBody = regexp.MustCompile("well")
		}
		got := probe.Probe(t.Context())
		if !slices.Contains(known, got.Cause) || got.Cause == cause.ClientGone {
			t.Errorf("%q: cause %q", reply, got.Cause)
		}
		want(t, got, got.Cause, got.Decisive)
	})
}

func FuzzGRPCReply(f *testing.F) {
	for _, body := range []string{
		"", isServing, isNotServing, isServing + isServing, isServing[:6], "\x00\x00\x00\x00\x00", "\x01" + isServing[1:],
		"\x00\xff\xff\xff\xff\x08\x01", "\x00\x00\x00\x00\x04\x08\x01\x10\x07", "\x00\x00\x00\x00\x04\x08\x01\x08\x02",
	} {
		f.Add([]byte(body), "application/grpc", "0", "")
		f.Add([]byte(body), "application/grpc+proto", "12", "no%0Asuch")
	}
	known := append(cause.All(), "")
	f.Fuzz(func(t *testing.T, body []byte, contentType, status, message string) {
		probe := GRPC{URL: "http://app.test", Timeout: plenty, Transport: answering(http.Response{
			Header: http.Header{"Content-Type": {contentType}}, Body: io.NopCloser(bytes.NewReader(body)),
			Trailer: http.Header{"Grpc-Status": {status}, "Grpc-Message": {message}},
		})}
		got := probe.Probe(t.Context())
		if !slices.Contains(known, got.Cause) || got.Cause == cause.ClientGone {
			t.Errorf("%q: cause %q", body, got.Cause)
		}
		// Passing requires a call that succeeded and a single message that fills the body
		// and has the status field.
		if got.Passed() && (strings.Trim(status, "0") != "" || !bytes.Contains(body, []byte("\x08")) ||
			len(body) != frameHeaderSize+int(binary.BigEndian.Uint32(body[1:]))) {
			t.Errorf("%q with status %q passes", body, status)
		}
		want(t, got, got.Cause, false)
	})
}
