package probe

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/healthpool/caddy-healthpool/internal/badserver"
	"github.com/healthpool/caddy-healthpool/internal/cause"
	"github.com/healthpool/caddy-healthpool/internal/health"
)

const (
	// plenty is a timeout that a test reaches only if it fails.
	plenty = 30 * time.Second
	// little is a timeout that tests reach.
	little = 500 * time.Millisecond
)

// want checks the result of a check.
func want(t *testing.T, got health.Result, c cause.Cause, decisive bool) {
	t.Helper()
	if got.Cause != c || got.Decisive != decisive {
		t.Errorf("got %q (decisive %v), want %q (decisive %v); %s", got.Cause, got.Decisive, c, decisive, got.Detail)
	}
	if got.Passed() != (got.Detail == "") {
		t.Errorf("%q has detail %q", got.Cause, got.Detail)
	}
	if got.At.IsZero() || got.Duration <= 0 || got.Duration > plenty {
		t.Errorf("at %v for %v", got.At, got.Duration)
	}
	if !utf8.ValidString(got.Detail) || utf8.RuneCountInString(got.Detail) > maxDetail || strings.ContainsFunc(got.Detail, unicode.IsControl) {
		t.Errorf("detail %q", got.Detail)
	}
}

func failingDial(err error) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) { return nil, err }
}

func hangingDial(ctx context.Context, network, _ string) (net.Conn, error) {
	<-ctx.Done()
	return nil, &net.OpError{Op: "dial", Net: network, Err: ctx.Err()}
}

// hidden hides a dial error as the reverse proxy does.
type hidden struct{ error }

func TestTCP(t *testing.T) {
	taken := make(chan string, 1)
	open := badserver.Listen(t, func(c net.Conn) {
		sent, _ := io.ReadAll(c) // ends when the probe closes the connection
		taken <- string(sent)
	})
	notFound := &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "x", IsNotFound: true}}
	slowName := &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "i/o timeout", Name: "x", IsTimeout: true}}
	tests := []struct {
		name     string
		probe    TCP
		want     cause.Cause
		decisive bool
	}{
		{"open", TCP{Address: open, Timeout: plenty}, "", false},
		{"open, no timeout", TCP{Network: "tcp4", Address: open}, "", false},
		{"refused", TCP{Address: badserver.Nobody(t), Timeout: plenty}, cause.ConnectionRefused, true},
		{"no socket", TCP{Network: "unix", Address: filepath.Join(t.TempDir(), "x"), Timeout: plenty}, cause.ConnectionRefused, true},
		{"no name", TCP{Dial: failingDial(notFound)}, cause.DNSError, true},
		{"slow name", TCP{Dial: failingDial(slowName)}, cause.DNSTimeout, false},
		{"hidden", TCP{Dial: failingDial(hidden{notFound})}, cause.DNSError, true},
		{"hanging", TCP{Dial: hangingDial, Timeout: little}, cause.ConnectionTimeout, false},
		{"hanging for long", TCP{Address: open, Timeout: time.Nanosecond}, cause.ConnectionTimeout, false},
		{"bad address", TCP{Address: "x:99999999", Timeout: plenty}, cause.ProxyInternalError, false},
		{"no connection", TCP{Dial: failingDial(nil)}, cause.ProxyInternalError, false},
		{"panic", TCP{Dial: func(context.Context, string, string) (net.Conn, error) { panic("oh\nno") }}, cause.ProxyInternalError, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			want(t, test.probe.Probe(t.Context()), test.want, test.decisive)
			if test.want == "" {
				if sent := <-taken; sent != "" {
					t.Errorf("it sent %q", sent)
				}
			}
		})
	}
}

func TestCanceled(t *testing.T) {
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	expired, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	for _, ctx := range []context.Context{stopped, expired} {
		tcp := TCP{Dial: hangingDial, Timeout: plenty}
		want(t, tcp.Probe(ctx), cause.ClientGone, false)
		tcp.Dial = failingDial(errors.New("connection refused"))
		want(t, tcp.Probe(ctx), cause.ClientGone, false)
		http := HTTP{URL: "http://" + badserver.Nobody(t), Timeout: plenty}
		want(t, http.Probe(ctx), cause.ClientGone, false)
	}
}
