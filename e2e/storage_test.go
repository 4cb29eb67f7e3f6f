package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// How long things may take that must not wait for a storage, and those that wait for it a little; both with what a busy
// machine takes.
const (
	atOnce     = time.Second
	afterAWait = 2*time.Second + atOnce
)

// TestStorage: whatever the storage does, requests are served, orders count at once, reloads and starts go on, and what
// was ordered meanwhile is stored when the storage is well again.
func TestStorage(t *testing.T) {
	t.Parallel()
	for fault, answer := range map[string]int{
		"slow": http.StatusOK, "corrupt": http.StatusOK, "lost": http.StatusOK,
		"fails": http.StatusAccepted, "read-only": http.StatusAccepted, "hangs": http.StatusAccepted,
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			testStorage(t, fault, answer)
		})
	}
}

// keeper is a Caddy with a storage that can be faulty, and two apps of which the first is to be drained.
type keeper struct {
	*peer
	root, globals, site string
	drained             string
}

func newKeeper(t *testing.T) *keeper {
	t.Helper()
	names := []string{"one", "two"}
	upstreams := make([]string, 0, len(names))
	for _, name := range names {
		a := newApp(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, name) })
		a.start(t)
		upstreams = append(upstreams, a.address)
	}
	k := &keeper{root: t.TempDir(), site: toPool(upstreams, "lb_policy round_robin"), drained: upstreams[0]}
	k.globals = fmt.Sprintf("storage faulty %q\n\thealthpool {\n\t\tsync_interval 100ms\n\t}", k.root)
	k.peer = newCaddy(t, k.globals, k.site)
	return k
}

func testStorage(t *testing.T, fault string, answer int) {
	k := newKeeper(t)
	k.start()
	load := newTraffic(t, 50, getting("http://"+k.peer.site))
	await(t, "the first is used", func() bool { return load.served("one") > 0 })

	setFault(t, k.root, fault)
	answered := make(chan int, 1)
	ordered := time.Now()
	go func() {
		status, _ := k.send(http.MethodPost, "/drain?upstream="+url.QueryEscape(k.drained))
		answered <- status
	}()
	if fault != "lost" { // nobody can tell that from an order that was taken back
		k.awaitUpstream(k.drained, "draining")
		if took := time.Since(ordered); took > atOnce {
			t.Errorf("the order counts after %v", took)
		}
	}
	if got := <-answered; got != answer && fault != "slow" || time.Since(ordered) > afterAWait {
		t.Errorf("the order was answered with %d after %v, want %d", got, time.Since(ordered), answer)
	}
	if fault != "lost" {
		k.stands(t, load, "while the storage is faulty")
		began := time.Now()
		k.reload(k.globals, k.site+"\n\theader X-Reloaded yes")
		if took := time.Since(began); took > afterAWait {
			t.Errorf("a reload took %v", took)
		}
		k.stands(t, load, "after a reload")
	}
	setFault(t, k.root, "")
	await(t, "the order is stored", k.stored)
	k.awaitUpstream(k.drained, "draining")
	load.stop()
	k.survivesRestarts(t, fault)
}

// stands checks that the order is heeded.
func (k *keeper) stands(t *testing.T, load *traffic, when string) {
	t.Helper()
	const underWay = 1
	await(t, "no request is under way there", func() bool { return k.upstream(k.drained).InFlight == 0 })
	load.goesOn(5) // until its answers are counted
	was := load.served("one")
	load.goesOn(20)
	if now := load.served("one"); now > was+underWay || k.upstream(k.drained).State != "draining" {
		t.Errorf("%s, the one that is drained got %d requests; it is %+v", when, now-was, k.upstream(k.drained))
	}
}

// stored tells whether the storage has the order.
func (k *keeper) stored() bool {
	files, err := filepath.Glob(filepath.Join(k.root, "files", "healthpool", "intents", "*.json"))
	if err != nil || len(files) != 1 {
		return false
	}
	text, err := os.ReadFile(files[0])
	return err == nil && json.Valid(text)
}

// survivesRestarts checks that a Caddy that starts with a good storage heeds the order from the first request on; and
// that one that starts with a faulty one serves, and heeds it as soon as it can be known.
func (k *keeper) survivesRestarts(t *testing.T, fault string) {
	t.Helper()
	restart := func() (first string) {
		k.kill(syscall.SIGKILL)
		began := time.Now()
		k.launch()
		await(t, "it answers", func() bool {
			_, first = k.ask(http.MethodGet, "http://"+k.peer.site)
			return first != ""
		})
		if took := time.Since(began); took > afterAWait+atOnce {
			t.Errorf("a start took %v", took)
		}
		return first
	}
	for range 3 {
		if first := restart(); first != "two" {
			t.Errorf("the first request after a restart was answered by %q", first)
		}
	}
	setFault(t, k.root, fault)
	restart()
	setFault(t, k.root, "")
	k.awaitUpstream(k.drained, "draining")
}
