package command

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/healthpool/caddy-healthpool/internal/badserver"
	"github.com/healthpool/caddy-healthpool/internal/operator"
	"github.com/healthpool/caddy-healthpool/internal/pool"
)

// fakeAdmin is an admin API that answers as it is told to.
type fakeAdmin struct {
	*httptest.Server
	pools atomic.Pointer[[]pool.Status]
	// status is that of answers to orders.
	status int
	// gets is the number of requests for the pools.
	gets atomic.Int64
	// onGet is called with that number before each of them is answered; nil for nothing.
	onGet func(n int64)
	// asked is the latest order, with its body.
	asked atomic.Pointer[string]
}

// newFakeAdmin starts one with these pools.
func newFakeAdmin(t *testing.T, pools ...pool.Status) *fakeAdmin {
	t.Helper()
	f := &fakeAdmin{status: http.StatusOK}
	f.pools.Store(&pools)
	f.listen(t, "127.0.0.1:0")
	return f
}

// listen starts its server at an address.
func (f *fakeAdmin) listen(t *testing.T, address string) {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	f.Server = &httptest.Server{Listener: listener, Config: &http.Server{Handler: f}}
	f.Start()
	t.Cleanup(f.Close)
}

func (f *fakeAdmin) address() string { return f.Listener.Addr().String() }

func (f *fakeAdmin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	all := *f.pools.Load()
	if r.Method == http.MethodGet && r.URL.Path == operator.PoolsPath {
		if n := f.gets.Add(1); f.onGet != nil {
			f.onGet(n)
		}
		_ = json.NewEncoder(w).Encode(all)
		return
	}
	body, _ := io.ReadAll(r.Body)
	asked := strings.TrimSpace(r.Method + " " + r.URL.RequestURI() + " " + string(body))
	f.asked.Store(&asked)
	i := slices.IndexFunc(all, func(p pool.Status) bool { return strings.HasPrefix(r.URL.Path, operator.PoolsPath+"/"+p.Name+"/") })
	if i < 0 {
		w.WriteHeader(http.StatusNotFound)
		name, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, operator.PoolsPath+"/"), "/")
		_ = json.NewEncoder(w).Encode(map[string]string{"error": operator.NoPool(name, all).Error()})
		return
	}
	if f.status >= http.StatusBadRequest {
		w.WriteHeader(f.status)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": operator.NoUpstream("x", &all[i]).Error()})
		return
	}
	w.WriteHeader(f.status)
	_ = json.NewEncoder(w).Encode(all[i])
}

// execute runs a command and returns what it writes.
func execute(ctx context.Context, cmd *cobra.Command, args ...string) (string, error) {
	var out bytes.Buffer
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	err := cmd.ExecuteContext(ctx)
	return out.String(), err
}

// wantError checks that an error contains all of these words.
func wantError(t *testing.T, err error, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want %q in it", err, want)
		}
	}
}

// answering returns the address of a server that always gives this answer.
func answering(t *testing.T, status int, body string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// TestUnreachable: if Caddy does not answer, the error says why, and what was tried.
func TestUnreachable(t *testing.T) {
	short := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		fmt.Fprint(w, "[")
	}))
	defer short.Close()
	dead := badserver.Nobody(t)
	for _, tt := range []struct {
		address string
		wants   []string
	}{
		{dead, []string{"cannot reach Caddy's admin API at " + dead, "refused", "may not be running", "--address"}},
		{"unix/" + filepath.Join(t.TempDir(), "none.sock"), []string{"none.sock", "may not be running"}},
		{"localhost:1-9", []string{"invalid admin address"}},
		{answering(t, http.StatusForbidden, `{"error":"host not allowed\u001b: x"}`), []string{"host not allowed?: x"}},
		{answering(t, http.StatusNotFound, "404 page not found"), []string{"has no healthpool"}},
		{answering(t, http.StatusBadGateway, "<html>\n"), []string{"status 502 <html>"}},
		{answering(t, http.StatusOK, "<html>"), []string{"does not do so as Caddy's admin API"}},
		{short.Listener.Addr().String(), []string{"cannot reach", "unexpected EOF"}},
	} {
		for _, args := range [][]string{{"status"}, {"status", "shop"}, {"status", "--json"}, {"status", "--watch"}, {"drain", "shop", "a:80"}, {"undrain", "shop", "a:80"}, {"maintenance", "on", "shop"}} {
			cmd := map[string]func() *cobra.Command{"status": statusCommand, "drain": drainCommand, "undrain": undrainCommand, "maintenance": maintenanceCommand}[args[0]]()
			out, err := execute(t.Context(), cmd, append(args[1:], "--address", tt.address)...)
			wantError(t, err, tt.wants...)
			if out != "" {
				t.Errorf("%v: writes %q", args, out)
			}
		}
	}
}

// TestTimeout: a request without an answer is given up, and no other one is sent while it
// is under way.
func TestTimeout(t *testing.T) {
	asked := make(chan bool, 10)
	release := make(chan bool)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked <- true
		<-release
		fmt.Fprint(w, "[]")
	}))
	defer s.Close()
	c := &client{address: s.Listener.Addr().String(), timeout: 200 * time.Millisecond, turn: make(chan struct{}, 1)}
	for range 3 {
		_, _, err := c.pools(t.Context())
		wantError(t, err, "no answer within 200ms", c.address)
	}
	if len(asked) != 1 {
		t.Errorf("asked %d times", len(asked))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := c.pools(ctx)
	wantError(t, err, "context canceled")
	close(release)
	c.timeout = commandTimeout
	if _, _, err := c.pools(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestAddressOfConfig: the address of the admin API is taken from a config.
func TestAddressOfConfig(t *testing.T) {
	f := newFakeAdmin(t, shop())
	name := filepath.Join(t.TempDir(), "caddy.json")
	if err := os.WriteFile(name, fmt.Appendf(nil, `{"admin": {"listen": %q}}`, f.address()), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := execute(t.Context(), statusCommand(), "--config", name); err != nil || !strings.Contains(out, "shop: degraded") {
		t.Errorf("%s %v", out, err)
	}
	none := filepath.Join(t.TempDir(), "none.json")
	for _, cmd := range []*cobra.Command{statusCommand(), drainCommand(), maintenanceCommand()} {
		args := map[string][]string{"drain": {"shop", "a:80"}, "maintenance": {"on", "shop"}}[cmd.Name()]
		_, err := execute(t.Context(), cmd, append(args, "--config", none)...)
		wantError(t, err, "determining the address of the admin API", "no such file")
	}
}

// TestCompletion: a shell offers the pools and upstreams that an argument can be.
func TestCompletion(t *testing.T) {
	p := shop()
	p.Upstreams[1].State = pool.Draining
	f := newFakeAdmin(t, p, pool.Status{Name: "api", State: pool.Up})
	for _, tt := range []struct {
		args, want string
	}{
		{"status|", "shop\tdegraded|api\tup"},
		{"status|shop|", ""},
		{"drain|", "shop\tdegraded|api\tup"},
		{"drain|shop|", "10.0.0.1:8080\thealthy|10.0.0.3:8080\tunhealthy"},
		{"drain|none|", ""},
		{"drain|shop|10.0.0.1:8080|", ""},
		{"undrain|shop|", "10.0.0.2:8080\tdraining"},
		{"maintenance|", "on|off"},
		{"maintenance|on|", "shop\tdegraded|api\tup"},
		{"maintenance|on|shop|", ""},
	} {
		for address, want := range map[string]string{f.address(): tt.want, badserver.Nobody(t): ""} {
			if tt.args == "maintenance|" {
				want = tt.want
			}
			root := &cobra.Command{Use: "healthpool"}
			root.AddCommand(statusCommand(), drainCommand(), undrainCommand(), maintenanceCommand())
			args := strings.Split(tt.args, "|")
			args = slices.Insert(args, 1, "--address", address)
			out, err := execute(t.Context(), root, append([]string{cobra.ShellCompRequestCmd}, args...)...)
			got, _, _ := strings.Cut(out, ":4\n")
			if got := strings.ReplaceAll(strings.TrimSpace(got), "\n", "|"); err != nil || got != want || !strings.Contains(out, ":4\n") {
				t.Errorf("%s: got %q, want %q; %v in %s", tt.args, got, want, err, out)
			}
		}
	}
	root := &cobra.Command{Use: "healthpool"}
	root.AddCommand(statusCommand())
	out, _ := execute(t.Context(), root, cobra.ShellCompRequestCmd, "status", "--config", "/none.json", "")
	if !strings.HasPrefix(out, ":4\n") {
		t.Errorf("without a config: %s", out)
	}
}
