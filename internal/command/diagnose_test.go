package command

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/healthpool/caddy-healthpool/internal/badserver"
	"github.com/healthpool/caddy-healthpool/internal/diagnose"
)

func TestDiagnose(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(s.Close)
	ok := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(ok.Close)
	at := ok.Listener.Addr().String()
	for args, want := range map[string]struct{ out, err string }{
		at:                           {"it answered with status 200", ""},
		at + " 8080":                 {`"8080" is a port without a host.`, "8080: no address to look at"},
		s.URL + " " + at:             {"It answers with status 404", s.URL + ": unexpected_status"},
		"--timeout 0s " + at:         {"", "timeout: must be greater than 0, got 0s"},
		"":                           {"", "must be at least one address or URL, as in diagnose app:8080"},
		"--timeout 1h unix//no/such": {"There is no socket /no/such.", "unix//no/such: connection_refused"},
	} {
		out, err := execute(t.Context(), diagnoseCommand(), strings.Fields(args)...)
		if (err == nil) != (want.err == "") || err != nil && !strings.Contains(err.Error(), want.err) {
			t.Errorf("%s: error %v", args, err)
		}
		if !strings.Contains(out, want.out) {
			t.Errorf("%s: got\n%s", args, out)
		}
	}
}

func TestDiagnoseJSON(t *testing.T) {
	out, err := execute(t.Context(), diagnoseCommand(), "--json", "8080", "unix//no/such")
	if err == nil {
		t.Error("no error")
	}
	var reports []diagnose.Report
	if err := json.Unmarshal([]byte(out), &reports); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if len(reports) != 2 || reports[1].Address != "unix//no/such" || len(reports[1].Steps) != 1 || reports[1].Advice == "" {
		t.Errorf("got %s", out)
	}
}

// TestDiagnoseStopped: Ctrl-C ends it, and the addresses that remain are not looked at.
func TestDiagnoseStopped(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	at := badserver.Listen(t, func(c net.Conn) {
		_, _ = c.Read(make([]byte, 1))
		cancel()
		badserver.Hang(c)
	})
	out, err := execute(ctx, diagnoseCommand(), "--timeout", "1h", at, "unix//no/such")
	if err == nil || !strings.HasPrefix(err.Error(), "stopped: ") || strings.Contains(out, "/no/such") {
		t.Errorf("%v: %s", err, out)
	}
}
