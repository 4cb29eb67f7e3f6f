package command

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/healthpool/caddy-healthpool/internal/pool"
)

// TestOrderCommands: each command makes the right request, and describes the result.
func TestOrderCommands(t *testing.T) {
	open, idle, one := shop(), shop(), shop()
	idle.Upstreams[1].State, idle.Upstreams[1].InFlight = pool.Draining, 0
	one.State, one.Upstreams[1].State, one.Upstreams[1].InFlight = pool.Down, pool.Draining, 1
	three := shop()
	three.Upstreams[1].State, three.Upstreams[1].InFlight = pool.Draining, 3
	odd := oddNames()
	for _, tt := range []struct {
		pool          pool.Status
		status        int
		args          string
		asked, prints string
	}{
		{three, 200, "drain|shop|10.0.0.2:8080", "POST /healthpool/pools/shop/drain?upstream=10.0.0.2%3A8080", "10.0.0.2:8080 in shop is draining; 3 requests are still in flight.\n"},
		{idle, 200, "drain|shop|10.0.0.2:8080", "POST /", "is draining; no requests are still in flight.\n"},
		{one, 202, "drain|shop|10.0.0.2:8080", "POST /", "is draining; 1 request is still in flight. shop has no other upstream that is healthy.\nCaddy's storage has not taken this yet, so a restart would forget it. Caddy keeps trying.\n"},
		{open, 200, "undrain|shop|10.0.0.2:8080", "DELETE /healthpool/pools/shop/drain?upstream=10.0.0.2%3A8080", "10.0.0.2:8080 in shop gets requests again.\n"},
		{closedShop(), 200, "undrain|shop|10.0.0.2:8080", "DELETE /", "10.0.0.2:8080 in shop gets requests again once shop is open.\n"},
		{open, 200, "undrain|shop|10.0.0.3:8080", "DELETE /", "10.0.0.3:8080 in shop is no longer drained, and gets requests once it is healthy; it is unhealthy (connection_refused).\n"},
		{open, 200, "undrain|shop|10.0.0.9:8080", "DELETE /", "10.0.0.9:8080 in shop is not drained, and is none of its upstreams now.\n"},
		{odd[0], 200, "undrain|unix//run/app.sock 🦩|unix//run/a b", "DELETE /healthpool/pools/unix%2F%2Frun%2Fapp%2Esock%20%F0%9F%A6%A9/drain?upstream=unix%2F%2Frun%2Fa+b", "unix//run/a b in unix//run/app.sock 🦩 is not drained"},
		{odd[1], 200, "maintenance|off|..", "DELETE /healthpool/pools/%2E%2E/maintenance", "..  is closed"},
		{closedShop(), 200, "maintenance|on|shop", `POST /healthpool/pools/shop/maintenance {"message":"","until":null,"allow":[]}`, "shop is closed for maintenance, planned until "},
		{closedShop(), 202, "maintenance|on|shop|--message|Bäck, “soon”|--until|2999-11-22T18:30:00+01:00|--allow|10.0.0.0/8,::1|--allow|a", `POST /healthpool/pools/shop/maintenance {"message":"Bäck, “soon”","until":"2999-11-22T18:30:00+01:00","allow":["10.0.0.0/8","::1","a"]}`, ", and open to 10.0.0.0/8 192.0.2.7/32.\nCaddy's storage"},
		{open, 200, "maintenance|off|shop", "DELETE /healthpool/pools/shop/maintenance", "shop is open again; it is degraded, with 2 of 3 upstreams healthy.\n"},
	} {
		f := newFakeAdmin(t, tt.pool)
		f.status = tt.status
		out, err := orderCommand(t, f, strings.Split(tt.args, "|")...)
		asked := f.asked.Load()
		if err != nil || asked == nil || !strings.HasPrefix(*asked, tt.asked) || !strings.Contains(out, strings.ReplaceAll(tt.prints, "..  ", ".. ")) {
			t.Errorf("%s: %v, asked %v, printed %s", tt.args, err, *asked, out)
		}
	}
}

func orderCommand(t *testing.T, f *fakeAdmin, args ...string) (string, error) {
	t.Helper()
	cmd := map[string]func() *cobra.Command{"drain": drainCommand, "undrain": undrainCommand, "maintenance": maintenanceCommand}[args[0]]()
	return execute(t.Context(), cmd, append(args[1:], "--address", f.address())...)
}

// TestOrderErrors: an order that fails says why, and one that makes no sense is not even
// sent.
func TestOrderErrors(t *testing.T) {
	big := shop()
	for range 10 {
		big.Upstreams = append(big.Upstreams, big.Upstreams[0])
	}
	for _, tt := range []struct {
		args  string
		asked bool
		wants []string
	}{
		{"drain|none|a:80", true, []string{`no pool is named "none": there is shop`}},
		{"maintenance|on|none", true, []string{`no pool is named "none"`}},
		{"drain|shop|x", true, []string{`pool shop has no upstream "x": it has 10.0.0.1:8080, `, "10.0.0.3:8080", " and 3 more"}},
		{"undrain|shop|x", true, []string{`pool shop has no upstream "x": it has 10.0.0.1:8080, `, " and 3 more"}},
		{"drain||x", false, []string{"pool: must be given"}},
		{"drain|shop", false, []string{"must be the name of a pool and the address of an upstream, as in drain shop 10.0.0.1:8080", `; got "shop"`}},
		{"undrain", false, []string{"as in undrain shop 10.0.0.1:8080; got no arguments"}},
		{"undrain|a|b|c", false, []string{`got "a", "b" and "c"`}},
		{"maintenance|shop", false, []string{"must be on or off and the name of a pool", `got "shop"`}},
		{"maintenance|maybe|shop", false, []string{`got "maybe"`}},
		{"maintenance|off|shop|--message|x", false, []string{"message: is for maintenance on only"}},
		{"maintenance|on|shop|--until|soon", false, []string{"until: must be a time such as 18:30", `got "soon"`}},
		{"maintenance|on|shop|--until|2020-01-01 10:00", false, []string{"until: must be in the future, got 2020-01-01 10:00"}},
		{"maintenance|on|shop|--until|9999-12-31T23:59:59-10:00", true, []string{"has no upstream"}},
	} {
		f := newFakeAdmin(t, big)
		f.status = http.StatusNotFound
		out, err := orderCommand(t, f, strings.Split(tt.args, "|")...)
		wantError(t, err, tt.wants...)
		if out != "" || (f.asked.Load() != nil) != tt.asked {
			t.Errorf("%s: printed %q, asked %v", tt.args, out, f.asked.Load())
		}
	}
	f := newFakeAdmin(t, pool.Status{Name: "shop"})
	f.status = http.StatusNotFound
	_, err := orderCommand(t, f, "drain", "shop", "x")
	wantError(t, err, "has no upstream")
	f.status = http.StatusBadRequest
	_, err = orderCommand(t, f, "drain", "shop", "x")
	wantError(t, err, "has no upstream")
}

// TestUntil: --until takes times as people write them.
func TestUntil(t *testing.T) {
	for text, want := range map[string]string{
		"2026-11-22T18:30:00Z":      "2026-11-22T18:30:00Z",
		"2026-11-22T18:30:00+01:00": "2026-11-22T17:30:00Z",
		"2026-11-23 18:30":          "2026-11-23T17:30:00Z",
		"18:30":                     "2026-11-22T17:30:00Z",
		"12:00":                     "2026-11-23T11:00:00Z",
		"9:05":                      "2026-11-23T08:05:00Z",
		"00:00":                     "2026-11-22T23:00:00Z",
		"2h30m":                     "2026-11-22T13:30:00Z",
		"1d":                        "2026-11-23T11:00:00Z",
	} {
		got, err := parseUntil(text, noon)
		if err != nil || got.UTC().Format(time.RFC3339) != want {
			t.Errorf("%s: got %s, want %s, %v", text, got, want, err)
		}
	}
	for text, want := range map[string]string{
		"":                     "must be a time",
		"24:00":                "must be a time",
		"tomorrow":             "must be a time",
		"2026-13-01 10:00":     "must be a time",
		"5":                    "must be a time",
		"0s":                   "must be in the future",
		"-1h":                  "must be in the future",
		"2026-11-22 11:59":     "must be in the future",
		"2026-11-22T11:00:00Z": "must be in the future",
	} {
		_, err := parseUntil(text, noon)
		wantError(t, err, "until: "+want)
	}
}
