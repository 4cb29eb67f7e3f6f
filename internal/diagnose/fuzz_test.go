package diagnose

import (
	"context"
	"io"
	"net"
	"syscall"
	"testing"
)

// FuzzReply: whatever an upstream answers, the report is safe for a terminal, and says what
// to do unless all is well.
func FuzzReply(f *testing.F) {
	for _, reply := range []string{
		"", "\x00", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 503 \x1b[2J\r\nContent-Length: 3\r\n\r\nno\n", "HTTP/1.1 301 Moved\r\nLocation: https://\u202e\r\n\r\n",
		"HTTP/1.1 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n", "HTTP/1.1 103 Early Hints\r\n\r\n", "\x15\x03\x01\x00\x02\x02\x46",
		"\x00\x00\x06\x04\x00\x00\x00\x00\x00", "SSH-2.0-x\r\n", "220 mail ESMTP\r\n", "HTTP/1.1 200 OK\r\nX: " + "\xff\r\n\r\n",
	} {
		f.Add([]byte(reply))
	}
	f.Fuzz(func(t *testing.T, reply []byte) {
		walk := &Walk{Timeout: plenty, InContainer: no, Dial: func(context.Context, string, string) (net.Conn, error) {
			client, server := net.Pipe()
			go func() { _, _ = io.Copy(io.Discard, server) }() // ends when the other does
			go func() {
				defer server.Close()
				_, _ = server.Write(reply)
			}()
			return client, nil
		}}
		for _, address := range []string{"http://192.0.2.1:80/", "https://192.0.2.1:443/", "h2c://192.0.2.1:80/"} {
			checkReport(t, walk.Run(t.Context(), address))
		}
	})
}

// FuzzAnswer: the same for whatever a name server answers.
func FuzzAnswer(f *testing.F) {
	const question = "\x03app\x04test\x00\x00\x01\x00\x01"
	f.Add([]byte("\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00" + question + "\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc0\x00\x02\x01"))
	f.Add([]byte("\x81\x83\x00\x01\x00\x00\x00\x00\x00\x00" + question))
	f.Add([]byte("\x81\x82\x00\x01\x00\x00\x00\x00\x00\x00" + question))
	f.Add([]byte("\x83\x80\x00\x01\x00\x01\x00\x00\x00\x00" + question + "\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x00\x00\x02\xc0\x0c"))
	f.Add([]byte("\x81\x80\xff\xff\xff\xff\xff\xff\xff\xff\xc0\x00"))
	f.Add([]byte(""))
	f.Fuzz(func(t *testing.T, answer []byte) {
		walk := &Walk{
			Timeout: little, InContainer: no, Resolver: &net.Resolver{PreferGo: true, Dial: nameServerSaying(answer)},
			Dial: func(_ context.Context, network, _ string) (net.Conn, error) {
				return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
			},
		}
		checkReport(t, walk.Run(t.Context(), "http://app.test.:80/"))
	})
}

// nameServerSaying dials a name server that has one answer to every query.
func nameServerSaying(answer []byte) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer server.Close()
			query := make([]byte, 4) // its length, and what tells it from others
			if _, err := io.ReadFull(server, query); err != nil {
				return
			}
			go func() { _, _ = io.Copy(io.Discard, server) }() // ends when the other does
			reply := append(query[2:], answer...)
			_, _ = server.Write(append([]byte{byte(len(reply) >> 8 & 0xff), byte(len(reply) & 0xff)}, reply...))
		}()
		return client, nil
	}
}

// checkReport checks that a report is safe for a terminal and says what to do.
func checkReport(t *testing.T, r Report) {
	t.Helper()
	for _, s := range r.Steps {
		wantLine(t, s.Subject)
		wantLine(t, s.Result)
	}
	wantLine(t, r.Finding)
	wantLine(t, r.Advice)
	if r.Finding == "" || !r.OK && (r.Advice == "" || r.Cause == "") || len(r.Steps) == 0 {
		t.Errorf("%+v", r)
	}
}
