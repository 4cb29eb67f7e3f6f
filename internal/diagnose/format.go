package diagnose

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/plain"
)

// maxText bounds the text of others that is shown, in characters.
const maxText = 200

// printable returns the beginning of what others say, made safe for a terminal.
func printable(s string) string { return plain.Short(s, '·', maxText) }

// formatDuration formats how long something took, or may take.
func formatDuration(d time.Duration) string {
	return plain.Milliseconds(float64(d) / float64(time.Millisecond))
}

// brief is an error without what the rest of the line says anyway.
func brief(err error) string {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		if dns.IsTimeout {
			return "no answer in time"
		}
		return dns.Err
	}
	if timedOut(err) {
		return "no answer in time"
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return "connection closed"
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		err = op.Err
	}
	if call, ok := errors.AsType[*os.SyscallError](err); ok {
		err = call.Err
	}
	text := strings.TrimPrefix(err.Error(), "net/http: HTTP/1.x transport connection broken: ")
	return strings.TrimPrefix(strings.TrimPrefix(text, "tls: "), "failed to verify certificate: x509: ")
}

func timedOut(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		return true
	}
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}

// String is the step as a line of a table.
func (s Step) String() string {
	what, outcome := s.Subject, "failed"
	if s.Result != "" {
		what += " -> " + s.Result
	}
	if s.OK {
		outcome = "ok"
	}
	return fmt.Sprintf("%-8s %-60s %8s  %s", strings.ToUpper(s.Name), what, plain.Milliseconds(s.Milliseconds), outcome)
}

// Conclusion is what is wrong and what to do, each on a line.
func (r Report) Conclusion() string {
	if r.Advice == "" {
		return r.Finding
	}
	return r.Finding + "\n" + r.Advice
}
