package command

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/intent"
	"github.com/healthpool/caddy-healthpool/internal/pool"
)

var update = flag.Bool("update", false, "write the golden files")

// noon is the current time in tests.
var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.FixedZone("CET", 3600))

// member is an upstream that has been in a state for some time, with these checks.
func member(address, state string, since time.Duration, history string) pool.UpstreamStatus {
	return pool.UpstreamStatus{
		Address: address, Tier: "primary", State: state, Since: noon.Add(-since), History: history,
		LastCheck: &pool.CheckStatus{At: noon, DurationMS: 0.412, Passed: strings.HasSuffix(history, "P")},
		LatencyMS: 4.2, Weight: 1,
	}
}

// shop is a pool with one upstream of three that does not work.
func shop() pool.Status {
	bad := member("10.0.0.3:8080", "unhealthy", 200*time.Second, strings.Repeat("P", 24)+"FFFF")
	bad.Cause, bad.Detail = "connection_refused", "dial tcp 10.0.0.3:8080: connect: connection refused"
	bad.Advice = "Nothing listens on that port. Is the app running, and is the port right?"
	bad.LatencyMS = 0
	busy := member("10.0.0.2:8080", "healthy", 26*time.Hour, strings.Repeat("P", 64))
	busy.InFlight, busy.LatencyMS, busy.LastCheck.DurationMS = 12, 1234.5, 45
	return pool.Status{
		Name: "shop", State: pool.Degraded, Since: noon.Add(-200 * time.Second), Healthy: 2, Total: 3, Held: 4, Waiting: 17,
		Upstreams: []pool.UpstreamStatus{member("10.0.0.1:8080", "healthy", 2*time.Hour, strings.Repeat("P", 30)+"FP"), busy, bad},
	}
}

// closedShop is a pool in maintenance, with a backup.
func closedShop() pool.Status {
	p := shop()
	p.State = pool.InMaintenance
	p.Maintenance = &intent.Maintenance{
		Message: "We move to “new” servers.\x1b[2J", Until: noon.Add(150 * time.Minute),
		Allow: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.7/32")},
	}
	p.Upstreams = p.Upstreams[:2]
	p.Upstreams[0].Tier, p.Upstreams[0].State = "backup", pool.Draining
	p.Upstreams[1].Warming = true
	return p
}

// oddNames are pools and upstreams with unusual names.
func oddNames() []pool.Status {
	long := member("unix//run/a very long path/with spaces/büro/茶/app.sock", "checking", 0, "")
	long.LastCheck, long.Since, long.LatencyMS = nil, time.Time{}, 0
	odd := member("[2001:db8::1]:8080", "unhealthy", -time.Second, "F")
	odd.Cause, odd.Detail, odd.Advice = "unexpected_status", "status 500: \x1b]0;owned\x07\r\nand\u202emore", "Look at its log."
	return []pool.Status{
		{Name: "unix//run/app.sock 🦩", State: pool.Down, Total: 2, Upstreams: []pool.UpstreamStatus{long, odd}},
		{Name: "..", State: pool.Down, Since: noon, Maintenance: &intent.Maintenance{Until: noon.Add(-30 * time.Hour)}},
		{Name: "none", State: pool.InMaintenance, Since: noon, Maintenance: new(intent.Maintenance), Upstreams: []pool.UpstreamStatus{}},
	}
}

// thousand is a pool of a thousand upstreams, some of which do not work.
func thousand() pool.Status {
	p := pool.Status{Name: "many", State: pool.Degraded, Since: noon.Add(-time.Minute), Healthy: 997, Total: 1000}
	for i := range 1000 {
		u := member(fmt.Sprintf("10.0.%d.%d:80", i/250, i%250), "healthy", 49*time.Hour, "PPPP")
		switch i {
		case 500, 900:
			u.State, u.Cause, u.Detail = "ejected", "connection_terminated", "EOF"
		case 999:
			u.State, u.Cause, u.Advice = "unhealthy", "dns_error", "Is the name right?"
		}
		p.Upstreams = append(p.Upstreams, u)
	}
	return p
}

var (
	wideASCII = terminal{}
	wideFine  = terminal{unicode: true}
	inColor   = terminal{unicode: true, color: true, ansi: true, width: 120, rows: 40}
)

// TestStatusGolden compares complete outputs with golden files.
func TestStatusGolden(t *testing.T) {
	healthy := shop()
	healthy.State, healthy.Healthy, healthy.Upstreams = pool.Up, 2, healthy.Upstreams[:2]
	for name, tt := range map[string]struct {
		terminal
		pools []pool.Status
	}{
		"none":         {wideFine, nil},
		"healthy":      {wideFine, []pool.Status{healthy}},
		"mixed":        {wideFine, []pool.Status{shop(), healthy}},
		"mixed-ascii":  {wideASCII, []pool.Status{shop()}},
		"mixed-color":  {inColor, []pool.Status{shop()}},
		"mixed-80":     {terminal{unicode: true, width: 80}, []pool.Status{shop(), closedShop()}},
		"mixed-40":     {terminal{unicode: true, width: 40}, []pool.Status{shop(), closedShop()}},
		"mixed-20":     {terminal{width: 20}, []pool.Status{shop(), closedShop()}},
		"maintenance":  {wideFine, []pool.Status{closedShop()}},
		"odd-names":    {wideFine, oddNames()},
		"odd-names-50": {terminal{unicode: true, width: 50}, oddNames()},
		"thousand":     {wideFine, []pool.Status{thousand()}},
	} {
		t.Run(name, func(t *testing.T) {
			got := statusText(tt.pools, tt.terminal, noon)
			compareGolden(t, name, got)
			checkShown(t, got, tt.terminal)
		})
	}
}

// compareGolden compares a text with a golden file.
func compareGolden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", "status", name+".txt")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || got != string(want) {
		t.Errorf("%s: got\n%swant\n%s%v", name, got, want, err)
	}
}

var colors = regexp.MustCompile(`\x1b\[[0-9]+m`)

// checkShown checks that a text fits a terminal and is safe for it.
func checkShown(t *testing.T, text string, on terminal) {
	t.Helper()
	if !on.color && colors.MatchString(text) {
		t.Error("has colours")
	}
	text = colors.ReplaceAllString(text, "")
	for line := range strings.SplitSeq(text, "\n") {
		if n := len([]rune(line)); on.width > 20 && n > on.width {
			t.Errorf("line of %d in %d: %s", n, on.width, line)
		}
		if strings.TrimRight(line, " ") != line {
			t.Errorf("%q ends with space", line)
		}
	}
	if strings.ContainsAny(text, "\x1b\x07\r\u202e") {
		t.Error("has control characters")
	}
}

// TestStatusCommand: into a file goes plain text, without colours.
func TestStatusCommand(t *testing.T) {
	t.Setenv("LC_ALL", "C")
	f := newFakeAdmin(t, oddNames()...)
	for args, wants := range map[string][]string{
		"":     {"unix//run/app.sock 🦩: down", "\n\n..: down"},
		"..":   {"..: down"},
		"none": {"none: maintenance"},
	} {
		out, err := execute(t.Context(), statusCommand(), append(strings.Fields(args), "--address", f.address())...)
		for _, want := range wants {
			if err != nil || !strings.Contains(out, want) {
				t.Errorf("%s: no %q in %s, %v", args, want, out, err)
			}
		}
	}
	_, err := execute(t.Context(), statusCommand(), "shop", "--address", f.address())
	wantError(t, err, `no pool is named "shop"`, "there is unix//run/app.sock 🦩, .. and none")
	_, err = execute(t.Context(), statusCommand(), "shop", "--json", "--address", f.address())
	wantError(t, err, `no pool is named "shop"`)
	_, err = execute(t.Context(), statusCommand(), "--json", "--watch", "--address", f.address())
	wantError(t, err, "json", "watch")
	_, err = execute(t.Context(), statusCommand(), "a", "b")
	wantError(t, err, "at most 1 arg")
	f.pools.Store(new([]pool.Status))
	_, err = execute(t.Context(), statusCommand(), "shop", "--address", f.address())
	wantError(t, err, "the running config has no healthpool")
	if out, err := execute(t.Context(), statusCommand(), "--address", f.address()); err != nil || out != noPools+"\n" {
		t.Errorf("%q %v", out, err)
	}
}

// TestStatusJSON: programs get the JSON of the admin API.
func TestStatusJSON(t *testing.T) {
	all := append(oddNames(), shop())
	f := newFakeAdmin(t, all...)
	for args, shown := range map[string]any{"": all, "shop": all[3]} {
		var want bytes.Buffer
		raw, err := json.Marshal(shown)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Indent(&want, raw, "", "  "); err != nil {
			t.Fatal(err)
		}
		out, err := execute(t.Context(), statusCommand(), append(strings.Fields(args), "--json", "--address", f.address())...)
		if err != nil || out != want.String()+"\n" {
			t.Errorf("%s: %s %v", args, out, err)
		}
	}
}

// TestTerminal: what the environment variables say about a terminal.
func TestTerminal(t *testing.T) {
	env := func(pairs string) func(string) string {
		return func(name string) string {
			for pair := range strings.FieldsSeq(pairs) {
				if k, v, _ := strings.Cut(pair, "="); k == name {
					return v
				}
			}
			return ""
		}
	}
	for _, tt := range []struct {
		system, env    string
		unicode, moves bool
	}{
		{"linux", "", false, true},
		{"linux", "LANG=C", false, true},
		{"linux", "LANG=de_DE.UTF-8", true, true},
		{"linux", "LANG=en_US.utf8 TERM=dumb", true, false},
		{"linux", "LANG=en_US.UTF-8 LC_ALL=C TERM=xterm", false, true},
		{"linux", "LANG=C LC_CTYPE=C.UTF-8", true, true},
		{"windows", "", true, false},
		{"windows", "WT_SESSION=1", true, true},
		{"windows", "TERM=xterm LANG=C", false, true},
		{"windows", "TERM=dumb", true, false},
	} {
		if showsUnicode(env(tt.env), tt.system) != tt.unicode || movesCursor(env(tt.env), tt.system) != tt.moves {
			t.Errorf("%s %s: %+v", tt.system, tt.env, tt)
		}
	}
}

// TestWrap: text is broken at spaces, and long words anywhere.
func TestWrap(t *testing.T) {
	for _, tt := range []struct {
		width int
		text  string
		want  string
	}{
		{0, "aa bb", "aa bb"},
		{5, "aa bb", "aa bb"},
		{4, "aa bb", "aa|  bb"},
		{6, "  aa bb cc", "  aa|  bb|  cc"},
		{4, "aa bcdefg hi", "aa|  bc|  de|  fg|  hi"},
		{4, "aaaaaa", "aaaa|  aa"},
		{4, "\x1b[1maaaaaa\x1b[0m b", "\x1b[1maaaaaa\x1b[0m|  b"},
		{1, "ab c", "a|  b|  c"},
	} {
		if got := strings.Join(terminal{width: tt.width}.wrap(strings.TrimLeft(tt.text, " "), tt.text[:len(tt.text)-len(strings.TrimLeft(tt.text, " "))], indent), "|"); got != tt.want {
			t.Errorf("%d %q: got %q, want %q", tt.width, tt.text, got, tt.want)
		}
	}
}

// TestBlockLines: if there is not enough room, the least important lines are left out.
func TestBlockLines(t *testing.T) {
	p := shop()
	closed := pool.Status{Name: "none", Maintenance: &intent.Maintenance{Message: "Soon."}}
	one := shop()
	one.Upstreams = one.Upstreams[2:]
	for _, tt := range []struct {
		pool pool.Status
		most int
		want string
	}{
		{p, 1, "shop: degraded for"},
		{p, 2, "shop: degraded for"},
		{p, 3, "shop: degraded for|  UPSTREAM|  ... and 1 unhealthy, 2 healthy"},
		{p, 4, "shop: degraded for|  UPSTREAM|  10.0.0.3:8080|  ... and 2 healthy"},
		{p, 5, "shop: degraded for|  UPSTREAM|  10.0.0.3:8080|      connection_refused|  ... and 2 healthy"},
		{p, 6, "shop: degraded for|  UPSTREAM|  10.0.0.3:8080|      connection_refused|  10.0.0.1:8080|  10.0.0.2:8080"},
		{one, 2, "shop: degraded for"},
		{one, 3, "shop: degraded for|  UPSTREAM|  10.0.0.3:8080"},
		{closed, 1, "none: "},
		{closed, 2, "none: |  \"Soon.\""},
	} {
		lines := blockOf(&tt.pool, wideASCII, noon).lines(tt.most)
		want := strings.Split(tt.want, "|")
		if len(lines) != len(want) {
			t.Errorf("%d: got %q", tt.most, lines)
			continue
		}
		for i := range want {
			if !strings.HasPrefix(lines[i], want[i]) {
				t.Errorf("%d: got %q, want %q", tt.most, lines[i], want[i])
			}
		}
	}
}
