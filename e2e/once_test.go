package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/healthpool/caddy-healthpool/e2e/internal/chaos"
)

// purchase is one POST, and what became of it.
type purchase struct {
	path           string
	sent, answered time.Time
	status         int
	fate           string // as the client was told, if it was told that the order failed
	err            error
}

// shoppers send orders, each once, at a steady rate.
type shoppers struct {
	url     string
	client  *http.Client
	stopped chan struct{}
	sending sync.WaitGroup

	mu   sync.Mutex
	sent []purchase
}

func newShoppers(t *testing.T, url string, perSecond int) *shoppers {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: perSecond}
	t.Cleanup(transport.CloseIdleConnections)
	o := &shoppers{url: url, client: &http.Client{Transport: transport, Timeout: patience}, stopped: make(chan struct{})}
	tick := time.NewTicker(time.Second / time.Duration(perSecond))
	o.sending.Go(func() {
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-tick.C:
				o.sending.Go(func() { o.send(t, fmt.Sprintf("/orders/%d", i)) })
			case <-o.stopped:
				return
			}
		}
	})
	return o
}

// stop returns all orders once each has its answer.
func (o *shoppers) stop() []purchase {
	close(o.stopped)
	o.sending.Wait()
	return o.sent
}

func (o *shoppers) send(t *testing.T, path string) {
	done := purchase{path: path, sent: time.Now()}
	done.status, done.fate, done.err = o.post(t, path)
	done.answered = time.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sent = append(o.sent, done)
}

func (o *shoppers) post(t *testing.T, path string) (status int, fate string, err error) {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, o.url+path, strings.NewReader("an order"))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Accept", "application/problem+json")
	res, err := o.client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode == http.StatusOK {
		return res.StatusCode, "", err
	}
	var problem struct {
		Fate string `json:"request_fate"`
	}
	return res.StatusCode, problem.Fate, json.Unmarshal(body, &problem)
}

// TestPOSTsOnce: whether apps are told to end or are killed, each in turn, no order is processed twice. One that is killed
// costs what it had been given by then. One that is told to end loses nothing that it began with: it costs only what
// crosses, on its way, the closing of a connection that was idle. Clients are told that theirs may have been processed.
func TestPOSTsOnce(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		t.Run(sig.String(), func(t *testing.T) {
			ledger := newLedger(t)
			backends, addresses := startNotingBackends(t, 3, ledger)
			caddy := newCaddy(t, "", toPool(addresses, "health_uri /healthz\nhealth_passes 1\nhealth_down_interval 100ms"))
			caddy.start()

			shoppers := newShoppers(t, "http://"+caddy.site, 300)
			const rounds = 4
			ends := make([]time.Time, 0, rounds*2*len(backends)) // by pairs: when an app began to end, and when it was gone
			for range rounds {
				for i, b := range backends {
					ends = append(ends, time.Now())
					b.Stop(sig)
					ends = append(ends, time.Now())
					caddy.awaitUpstream(addresses[i], "unhealthy")
					if err := b.Start(t.Context()); err != nil {
						t.Error(err)
					}
					caddy.awaitUpstream(addresses[i], "healthy")
				}
			}
			sent := shoppers.stop()
			processed := wantOnce(t, sent, ledger.Name())
			wantOnlyDoomed(t, sent, ends, func(o purchase) bool {
				return sig == syscall.SIGKILL || processed[o.path] == 0
			})
		})
	}
}

// newLedger returns an empty file to note in.
func newLedger(t *testing.T) *os.File {
	t.Helper()
	ledger, err := os.OpenFile(filepath.Join(t.TempDir(), "ledger"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ledger.Close() })
	return ledger
}

// startNotingBackends is startBackends with apps that note the orders that they process.
func startNotingBackends(t *testing.T, n int, ledger *os.File) (backends []*chaos.Backend, addresses []string) {
	t.Helper()
	backends, addresses = startBackends(t, n)
	for _, b := range backends {
		b.Stop(syscall.SIGKILL)
		b.Ledger = ledger
		if err := b.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return backends, addresses
}

// wantOnce checks that what was answered well was processed, and nothing twice. It returns how often each was.
func wantOnce(t *testing.T, sent []purchase, ledger string) (processed map[string]int) {
	t.Helper()
	text, err := os.ReadFile(ledger)
	if err != nil {
		t.Fatal(err)
	}
	processed = make(map[string]int)
	for path := range strings.Lines(string(text)) {
		processed[strings.TrimSpace(path)]++
	}
	for _, o := range sent {
		if n := processed[o.path]; n > 1 || n == 0 && o.status == http.StatusOK {
			t.Errorf("%s, answered with %d, was processed %d times", o.path, o.status, n)
		}
	}
	return processed
}

// wantOnlyDoomed checks that only those orders failed that were under way when an app ended, and of these only what may,
// and that clients were told so.
func wantOnlyDoomed(t *testing.T, sent []purchase, ends []time.Time, may func(purchase) bool) {
	t.Helper()
	const noticed = 100 * time.Millisecond // how long the proxy may take to see that connections are closed
	failed := 0
	for _, o := range sent {
		if o.err == nil && o.status == http.StatusOK {
			continue
		}
		failed++
		doomed := false
		for i := 0; i < len(ends); i += 2 {
			doomed = doomed || o.sent.Before(ends[i+1].Add(noticed)) && o.answered.After(ends[i])
		}
		if o.err != nil || o.fate != unknown || !doomed || !may(o) {
			t.Errorf("%s: status %d, fate %q, error %v, after %v; under way when an app ended: %v; may fail: %v",
				o.path, o.status, o.fate, o.err, o.answered.Sub(o.sent), doomed, may(o))
		}
	}
	t.Logf("%d of %d orders failed", failed, len(sent))
}
