package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
)

// caddyConfig is the environment variable that makes the test binary a Caddy with that Caddyfile.
const caddyConfig = "HEALTHPOOL_E2E_CADDY"

// runAsCaddy is Caddy as a process of its own.
func runAsCaddy(config string) {
	os.Args = []string{"caddy", "run", "--config", config, "--adapter", "caddyfile"}
	caddycmd.Main()
}

// peer is a Caddy as a process of its own.
type peer struct {
	t           *testing.T
	site, admin string
	dir         string // has its config, its log, and its storage unless that is another one
	cmd         *exec.Cmd
}

// newCaddy prepares a Caddy with a site of these directives, and more global options.
func newCaddy(t *testing.T, globals, directives string) *peer {
	t.Helper()
	p := &peer{t: t, site: freeAddress(t), admin: freeAddress(t), dir: t.TempDir()}
	p.configure(globals, directives)
	t.Cleanup(func() {
		p.kill(syscall.SIGKILL)
		p.wantSoundLog()
		if t.Failed() {
			t.Logf("Caddy's log:\n%s", tail(p.log(), 8<<10))
		}
	})
	return p
}

// toPool is a site with the pool shop, which has these upstreams and options.
func toPool(upstreams []string, options string) string {
	return fmt.Sprintf("healthpool %s {\n\t\tname shop\n%s\n\t}", strings.Join(upstreams, " "), options)
}

// configure writes the config that the Caddy starts with, or is reloaded with.
func (p *peer) configure(globals, directives string) {
	p.t.Helper()
	text := fmt.Sprintf(`{
	admin %s
	auto_https off
	persist_config off
	log {
		exclude admin.api
	}
	%s
}
http://%s {
	%s
}
`, p.admin, globals, p.site, directives)
	if err := os.WriteFile(p.config(), []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) config() string { return filepath.Join(p.dir, "Caddyfile") }
func (p *peer) log() string    { return filepath.Join(p.dir, "log") }

// unsound is what no log of a process may have.
var unsound = regexp.MustCompile(`(?m)^(panic: |fatal error: |WARNING: DATA RACE)|"(msg|error)":"[^"]*(panic|invalid memory)`)

// wantSoundLog fails the test if the Caddy had a panic or a data race.
func (p *peer) wantSoundLog() {
	log, err := os.ReadFile(p.log())
	if err != nil && !os.IsNotExist(err) {
		p.t.Error(err)
	}
	if at := unsound.FindIndex(log); at != nil {
		p.t.Errorf("Caddy's log has %.4000s", log[at[0]:])
	}
}

// start starts the Caddy and waits until its pool is up.
func (p *peer) start() {
	p.t.Helper()
	p.launch()
	await(p.t, "the pool is up", func() bool { return p.pool().State == "up" })
}

// launch starts the Caddy.
func (p *peer) launch() {
	p.t.Helper()
	log, err := os.OpenFile(p.log(), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = log.Close() }() // the process has its own
	p.cmd = exec.CommandContext(context.WithoutCancel(p.t.Context()), os.Args[0])
	p.cmd.Env = append(os.Environ(), caddyConfig+"="+p.config(), "XDG_DATA_HOME="+p.dir, "XDG_CONFIG_HOME="+p.dir,
		"GORACE=atexit_sleep_ms=0") // the race detector has a process wait for a second before it ends
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
}

// kill ends the process and waits for that.
func (p *peer) kill(sig os.Signal) {
	if p.cmd != nil {
		_ = p.cmd.Process.Signal(sig)
		_ = p.cmd.Wait()
		p.cmd = nil
	}
}

// reload has the Caddy take another config over, as caddy reload does.
func (p *peer) reload(globals, directives string) {
	p.t.Helper()
	p.configure(globals, directives)
	text, err := os.ReadFile(p.config())
	if err != nil {
		p.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, "http://"+p.admin+"/load", bytes.NewReader(text))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "text/caddyfile")
	req.Header.Set("Idempotency-Key", "") // has net/http try again if the reload before just closed the connection
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); err != nil || res.StatusCode != http.StatusOK {
		p.t.Fatalf("reloading: %d %s %v\n%s", res.StatusCode, body, err, text)
	}
}

// poolStatus and upstreamStatus are what the admin API says of a pool, and of an upstream.
type poolStatus struct {
	State                         string
	Healthy, Total, Held, Waiting int
	Upstreams                     []upstreamStatus
}

type upstreamStatus struct {
	Address, State, Cause, Detail, History string
	InFlight                               int `json:"in_flight"`
}

// pool is what the admin API says of the pool; nothing while that does not answer.
func (p *peer) pool() (pool poolStatus) {
	if text := p.status(); text != "" {
		if err := json.Unmarshal([]byte(text), &pool); err != nil {
			p.t.Errorf("status %s: %v", text, err)
		}
	}
	return pool
}

// upstream is what the admin API says of one upstream of the pool; nothing if there is no such one.
func (p *peer) upstream(address string) upstreamStatus {
	upstreams := p.pool().Upstreams
	i := slices.IndexFunc(upstreams, func(u upstreamStatus) bool { return u.Address == address })
	if i < 0 {
		return upstreamStatus{}
	}
	return upstreams[i]
}

// awaitUpstream waits until an upstream of the pool is in a state.
func (p *peer) awaitUpstream(address, state string) {
	p.t.Helper()
	await(p.t, address+" is "+state, func() bool { return p.upstream(address).State == state })
}

// status is what the admin API says of the pool; empty while it says nothing.
func (p *peer) status() string {
	_, body := p.send(http.MethodGet, "")
	return body
}

// send asks the admin API for something about the pool.
func (p *peer) send(method, path string) (status int, body string) {
	return p.ask(method, "http://"+p.admin+"/healthpool/pools/shop"+path)
}

// ask returns the answer, if there is one.
func (p *peer) ask(method, address string) (status int, body string) {
	req, err := http.NewRequestWithContext(p.t.Context(), method, address, nil)
	if err != nil {
		p.t.Error(err)
		return 0, ""
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, ""
	}
	defer res.Body.Close()
	all, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, ""
	}
	return res.StatusCode, string(all)
}

// drain drains an upstream.
func (p *peer) drain(upstream string) {
	p.t.Helper()
	if status, body := p.send(http.MethodPost, "/drain?upstream="+url.QueryEscape(upstream)); status != http.StatusOK {
		p.t.Errorf("draining %s: %d %s", upstream, status, body)
	}
}

// draining is how many upstreams are drained as this Caddy knows it.
func (p *peer) draining() int { return strings.Count(p.status(), `"state":"draining"`) }
