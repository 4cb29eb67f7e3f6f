package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
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

// peer is one of several Caddys that share their storage.
type peer struct {
	t           *testing.T
	site, admin string
	config      string
	log         bytes.Buffer
	cmd         *exec.Cmd
}

// newPeer prepares a Caddy in front of some upstreams.
func newPeer(t *testing.T, storage string, upstreams ...string) *peer {
	t.Helper()
	p := &peer{t: t, site: freeAddress(t), admin: freeAddress(t), config: filepath.Join(t.TempDir(), "Caddyfile")}
	text := fmt.Sprintf(`{
	admin %s
	auto_https off
	persist_config off
	storage file_system %q
	healthpool {
		sync_interval 100ms
	}
}
http://%s {
	healthpool %s {
		name shop
	}
}
`, p.admin, storage, p.site, strings.Join(upstreams, " "))
	if err := os.WriteFile(p.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.kill(syscall.SIGKILL)
		if t.Failed() {
			t.Logf("Caddy's log:\n%.4000s", p.log.String())
		}
	})
	return p
}

// start starts the Caddy and waits until its pool is up.
func (p *peer) start() {
	p.t.Helper()
	p.launch()
	await(p.t, "the pool is up", func() bool { return strings.Contains(p.status(), `"state":"up"`) })
}

// launch starts the Caddy.
func (p *peer) launch() {
	p.t.Helper()
	p.cmd = exec.CommandContext(context.WithoutCancel(p.t.Context()), os.Args[0])
	p.cmd.Env = append(os.Environ(), caddyConfig+"="+p.config)
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
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

// TestShared: Caddys that share their storage share drains and maintenance: ordered at the same time none is lost, and
// one that was killed knows of them before its first request.
func TestShared(t *testing.T) {
	const half = 3
	upstreams := make([]string, 0, 2*half+1)
	for range cap(upstreams) {
		a := newApp(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Host) })
		a.start(t)
		upstreams = append(upstreams, a.address)
	}
	storage := t.TempDir()
	one, two := newPeer(t, storage, upstreams...), newPeer(t, storage, upstreams...)
	one.start()
	two.start()

	var orders sync.WaitGroup
	for i, upstream := range upstreams[:2*half] {
		p := []*peer{one, two}[i%2]
		orders.Go(func() { p.drain(upstream) })
	}
	orders.Wait()
	for _, p := range []*peer{one, two} {
		await(t, "all are drained", func() bool { return p.draining() == 2*half })
	}

	one.kill(syscall.SIGKILL)
	if status, body := two.send(http.MethodPost, "/maintenance"); status != http.StatusOK {
		t.Errorf("closing: %d %s", status, body)
	}
	if status, body := two.send(http.MethodDelete, "/drain?upstream="+url.QueryEscape(upstreams[0])); status != http.StatusOK {
		t.Errorf("undraining: %d %s", status, body)
	}
	one.launch()
	first := 0
	await(t, "it answers", func() bool {
		first, _ = one.ask(http.MethodGet, "http://"+one.site)
		return first != 0
	})
	if first != http.StatusServiceUnavailable {
		t.Errorf("a closed pool answered the first request after a restart with %d", first)
	}
	if n := one.draining(); n != 2*half-1 {
		t.Errorf("%d are drained after a restart, want %d", n, 2*half-1)
	}
	if status, _ := one.send(http.MethodDelete, "/maintenance"); status != http.StatusOK {
		t.Errorf("opening: %d", status)
	}
	await(t, "the other one knows", func() bool { return !strings.Contains(two.status(), "maintenance") })
}
