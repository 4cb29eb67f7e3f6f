package e2e

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// newPeer prepares a Caddy in front of some upstreams that shares its storage with others.
func newPeer(t *testing.T, storage string, upstreams ...string) *peer {
	t.Helper()
	globals := fmt.Sprintf("storage file_system %q\n\thealthpool {\n\t\tsync_interval 100ms\n\t}", storage)
	return newCaddy(t, globals, toPool(upstreams, ""))
}

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
	await(t, "its admin API knows the pool", func() bool {
		status, _ := one.send(http.MethodGet, "")
		return status == http.StatusOK
	})
	if n := one.draining(); n != 2*half-1 {
		t.Errorf("%d are drained after a restart, want %d", n, 2*half-1)
	}
	if status, _ := one.send(http.MethodDelete, "/maintenance"); status != http.StatusOK {
		t.Errorf("opening: %d", status)
	}
	await(t, "the other one knows", func() bool { return !strings.Contains(two.status(), "maintenance") })
}
