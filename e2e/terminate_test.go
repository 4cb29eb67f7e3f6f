package e2e

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// terminate tells the Caddy to end, has more happen meanwhile, and returns how long the end took and what it came to.
func (p *peer) terminate(meanwhile func()) (took time.Duration, err error) {
	p.t.Helper()
	began := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	meanwhile()
	err = p.cmd.Wait()
	p.cmd = nil
	return time.Since(began), err
}

// speak is an app that says something every now and then: as often as asked, or for ever.
func speak(w http.ResponseWriter, r *http.Request) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for i := 0; i < tenEvents || strings.HasSuffix(r.URL.Path, "forever"); i++ {
		fmt.Fprintf(w, "data: %d\n\n", i)
		_ = http.NewResponseController(w).Flush()
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}

const tenEvents = 10

// some is how many requests of a kind are under way at the end.
const some = 10

// each asks for something so many times at once. What it returns waits for the answers, of which each must be good.
func each(t *testing.T, ask inquiry, good func(body string) bool) (wait func()) {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: some}
	client := &http.Client{Transport: transport, Timeout: patience}
	var asking errgroup.Group
	for range some {
		asking.Go(func() error {
			body, err := ask(client)
			if err == nil && !good(body) {
				err = fmt.Errorf("it is not whole: %q", body)
			}
			return err
		})
	}
	return func() {
		t.Helper()
		if err := asking.Wait(); err != nil {
			t.Errorf("a request was lost: %v", err)
		}
		transport.CloseIdleConnections()
	}
}

// TestSIGTERM: a Caddy that is told to end finishes what it has within its grace period: requests, event streams, and
// requests that wait for an app, which comes back meanwhile.
func TestSIGTERM(t *testing.T) {
	const grace = 10 * time.Second
	for range 3 { // the order in which Caddy stops its apps is another each time
		steady := newApp(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/events" {
				speak(w, r)
				return
			}
			time.Sleep(time.Second) // the work
			fmt.Fprint(w, "done")
		})
		steady.start(t)
		late := newApp(t, echo)
		late.start(t)
		caddy := newCaddy(t, "grace_period "+grace.String(), fmt.Sprintf(
			"handle /late {\n\t%s\n\t}\n\thealthpool %s", toPool([]string{late.address}, ""), steady.address))
		caddy.start()
		site := "http://" + caddy.site
		late.stop()

		whole := func(text string) bool { return strings.Count(text, "data:") == tenEvents }
		waits := []func(){
			each(t, getting(site), func(text string) bool { return text == "done" }),
			each(t, getting(site+"/events"), whole),
			each(t, posting(site+"/late"), func(text string) bool { return text == "an order" }),
		}
		await(t, "all are under way", func() bool {
			return len(steady.requests.all(func(visit) bool { return true })) >= 2*some && caddy.pool().Held == some
		})
		took, err := caddy.terminate(func() {
			time.Sleep(300 * time.Millisecond) // how long the app is away
			late.start(t)
		})
		for _, wait := range waits {
			wait()
		}
		if err != nil || took > grace {
			t.Errorf("it ended after %v with: %v", took, err)
		}
		t.Logf("it ended after %v", took)
	}
}

// TestSIGTERMOfAll: apps and Caddy are told to end at the same time, as when a machine goes down, and nothing is lost.
func TestSIGTERMOfAll(t *testing.T) {
	ledger := newLedger(t)
	backends, addresses := startNotingBackends(t, 2, ledger)
	caddy := newCaddy(t, "grace_period 10s", toPool(addresses, ""))
	caddy.start()
	for _, b := range backends {
		if err := b.Set(t.Context(), "slow"); err != nil {
			t.Fatal(err)
		}
	}
	wait := each(t, posting("http://"+caddy.site), func(body string) bool { return body != "" })
	await(t, "the apps have all", func() bool { return strings.Count(tail(ledger.Name(), 1<<10), "\n") == some })
	took, err := caddy.terminate(func() {
		var ending errgroup.Group
		for _, b := range backends {
			ending.Go(func() error { b.Stop(syscall.SIGTERM); return nil })
		}
		_ = ending.Wait()
	})
	wait()
	if err != nil {
		t.Errorf("it ended after %v with: %v", took, err)
	}
}

// TestSIGTERMOfStream: a stream that has no end does not keep Caddy from its own.
func TestSIGTERMOfStream(t *testing.T) {
	const grace = 500 * time.Millisecond
	a := newApp(t, speak)
	a.start(t)
	caddy := newCaddy(t, "grace_period "+grace.String(), toPool([]string{a.address}, ""))
	caddy.start()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+caddy.site+"/forever", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	took, err := caddy.terminate(func() {})
	if err != nil || took > grace+atOnce {
		t.Errorf("it ended after %v with: %v", took, err)
	}
	if _, err := io.Copy(io.Discard, res.Body); !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client was told that the stream ended well, or: %v", err)
	}
}
