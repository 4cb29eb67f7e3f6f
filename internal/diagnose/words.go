package diagnose

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"strings"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/cause"
	"github.com/healthpool/caddy-healthpool/internal/plain"
)

// printable is the beginning of what others say, fit for a terminal.
func printable(s string) string { return plain.Short(s, '·', maxText) }

// maxText bounds what others may make us say, in characters.
const maxText = 200

// brief is an error without what the line says anyway.
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

// problem has this finding, and the advice for its cause. The first sentence of
// that says again what is wrong, only less exactly.
func problem(c cause.Cause, finding string) *Problem {
	if c == cause.ProxyInternalError {
		return &Problem{Cause: c, Finding: finding, Advice: "The reason is on this side: is there a permission missing, or are too many files open?"}
	}
	_, advice, found := strings.Cut(c.Advice(), ". ")
	if !found {
		advice = c.Advice()
	}
	return &Problem{Cause: c, Finding: finding, Advice: advice}
}

// in is a time as people say it.
func in(d time.Duration) string {
	switch ms := float64(d) / float64(time.Millisecond); {
	case ms < 10:
		return fmt.Sprintf("%.1f ms", ms)
	case ms < 1000:
		return fmt.Sprintf("%.0f ms", ms)
	default:
		return fmt.Sprintf("%g s", math.Round(ms/100)/10)
	}
}

// took is how long a step took, as people say it.
func (s Step) took() string { return in(time.Duration(s.Milliseconds * float64(time.Millisecond))) }

// String is the step as a line of a table.
func (s Step) String() string {
	what, outcome := s.Subject, "failed"
	if s.Result != "" {
		what += " -> " + s.Result
	}
	if s.OK {
		outcome = "ok"
	}
	return fmt.Sprintf("%-8s %-60s %8s  %s", strings.ToUpper(s.Name), what, s.took(), outcome)
}

// Conclusion is what is wrong and what to do, each in a line.
func (r Report) Conclusion() string {
	if r.Advice == "" {
		return r.Finding
	}
	return r.Finding + "\n" + r.Advice
}
