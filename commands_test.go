package healthpool_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

// command runs caddy healthpool as Caddy's command line would, and returns its output.
func (s *site) command(args ...string) (string, error) {
	s.t.Helper()
	var out bytes.Buffer
	cmd := &cobra.Command{Use: "healthpool"}
	caddycmd.Commands()["healthpool"].CobraFunc(cmd)
	at := 1
	if args[0] == cobra.ShellCompRequestCmd {
		at = 2
	}
	cmd.SetArgs(slices.Insert(args, at, "--address", s.admin))
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	err := cmd.ExecuteContext(s.t.Context())
	return out.String(), err
}

// says checks that the output of a command contains all of these texts.
func (s *site) says(wants []string, args ...string) {
	s.t.Helper()
	out, err := s.command(args...)
	if err != nil {
		s.t.Fatalf("%v: %v", args, err)
	}
	for _, want := range wants {
		if !strings.Contains(out, want) {
			s.t.Errorf("%v: no %q in %s", args, want, out)
		}
	}
}

// TestStatusCommand checks what an operator sees of a pool with one dead upstream.
func TestStatusCommand(t *testing.T) {
	t.Setenv("LC_ALL", "C.UTF-8")
	a, dead := newBackend(t, "a"), deadAddress(t)
	s := run(t, fmt.Sprintf("healthpool %s %s {\nname shop\n}", a.addr, dead))
	await(t, "all is known", func() bool {
		states, _ := s.statesOfShop()
		return states[a.addr] == "healthy" && states[dead] == "unhealthy"
	})
	s.says([]string{
		"shop: degraded for ", ", 1 of 2 healthy, 0 held, 0 waiting\n  UPSTREAM", "\n  " + dead + "  unhealthy",
		"\n      connection_refused: dial tcp " + dead, "Nothing listens on that port.", "\n  " + a.addr + "  healthy", "▁",
	}, "status")
	var p poolStatus
	out, err := s.command("status", "--json", "shop")
	if err != nil || json.Unmarshal([]byte(out), &p) != nil || p.Name != "shop" || len(p.Upstreams) != 2 {
		t.Errorf("status --json: %v %s", err, out)
	}
	for args, want := range map[string]string{
		"status none":                             `no pool is named "none": there is shop`,
		"drain shop 192.0.2.1:80":                 `pool shop has no upstream "192.0.2.1:80": it has ` + a.addr,
		"maintenance on shop --until yesterday":   "until: must be a time",
		"maintenance on shop --allow example.com": "allow: must be IP addresses or ranges",
		"status --address " + deadAddress(t):      "may not be running",
		"stats shop":                              "unknown",
	} {
		if _, err := s.command(strings.Fields(args)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", args, err, want)
		}
	}
}

// TestOrderCommands controls a running Caddy, as an operator would.
func TestOrderCommands(t *testing.T) {
	s, a, _ := twoOf(t, "first")
	s.says([]string{a.addr + " in shop is draining; no requests are still in flight.\n"}, "drain", "shop", a.addr)
	if got := s.get("/"); got.body != "b" {
		t.Errorf("drained, got %q", got.body)
	}
	s.says([]string{"\n  " + a.addr + "  draining"}, "status")
	s.says([]string{a.addr + "\tdraining\n:4\n"}, cobra.ShellCompRequestCmd, "undrain", "shop", "")
	s.says([]string{a.addr + " in shop gets requests again.\n"}, "undrain", "shop", a.addr)

	s.says(
		[]string{"shop is closed for maintenance, planned until ", ", and open to 192.0.2.0/24.\n"},
		"maintenance", "on", "shop", "--until", "2h", "--message", "We are moving.", "--allow", "192.0.2.0/24",
	)
	if got := s.get("/", "Accept", "text/html"); got.status != 503 || !strings.Contains(got.body, "We are moving.") {
		t.Errorf("closed, got %d %s", got.status, got.body)
	}
	s.says([]string{"shop: maintenance for ", "We are moving.", "planned until ", "let through: 192.0.2.0/24\n"}, "status", "shop")
	s.says([]string{"shop is open again; it is up, with 2 of 2 upstreams healthy.\n"}, "maintenance", "off", "shop")
	if got := s.get("/"); got.body != "a" {
		t.Errorf("open again, got %q", got.body)
	}
}
