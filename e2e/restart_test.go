package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const (
	rate     = 50 // requests per second
	downtime = 2 * time.Second
	hold     = 5 * time.Second // what dynamic healthpool holds by default
)

// shot is one request of a load and what came back.
type shot struct {
	began  time.Duration // since the load began
	took   time.Duration
	status int
	body   string
	want   string
	err    error
}

// load sends n requests to a site, one every interval whether or not the earlier ones are answered, GET and POST
// in turn. Before the request whose number is in events, that event is waited for.
func load(t *testing.T, site string, n int, interval time.Duration, events map[int]func(idle func())) []shot {
	t.Helper()
	client := &http.Client{
		Timeout:   patience,
		Transport: &http.Transport{MaxIdleConnsPerHost: n},
	}
	defer client.CloseIdleConnections()
	shots := make([]shot, n)
	var flying sync.WaitGroup
	var open atomic.Int64
	idle := func() { await(t, "all requests are answered", func() bool { return open.Load() == 0 }) }
	start := time.Now()
	for i := range shots {
		wait := time.NewTimer(time.Until(start.Add(time.Duration(i) * interval)))
		select {
		case <-wait.C:
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		}
		if event := events[i]; event != nil {
			event(idle)
		}
		open.Add(1)
		flying.Go(func() {
			shots[i] = shoot(t, client, site, i, start)
			open.Add(-1)
		})
	}
	flying.Wait()
	return shots
}

// shoot sends request number i.
func shoot(t *testing.T, client *http.Client, site string, i int, start time.Time) (s shot) {
	s.began = time.Since(start)
	defer func() { s.took = time.Since(start) - s.began }()
	path := fmt.Sprintf("/%d", i)
	method, body := http.MethodGet, ""
	s.want = path
	if i%2 == 1 {
		method, body = http.MethodPost, fmt.Sprintf("order %d: %s", i, strings.Repeat("x", i))
		s.want = body
	}
	req, err := http.NewRequestWithContext(t.Context(), method, site+path, strings.NewReader(body))
	if err != nil {
		return shot{err: err}
	}
	req.Header.Set("Accept", "text/html")
	res, err := client.Do(req)
	if err != nil {
		s.err = err
		return s
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	s.status, s.body, s.err = res.StatusCode, string(answer), err
	return s
}

// wantAllServed fails the test for every request that did not get its own answer from an app.
func wantAllServed(t *testing.T, shots []shot) {
	t.Helper()
	failed, slowest := 0, time.Duration(0)
	for i, s := range shots {
		slowest = max(slowest, s.took)
		if s.err == nil && s.status == http.StatusOK && s.body == s.want {
			continue
		}
		if failed++; failed <= 5 {
			t.Errorf("request %d, sent after %v, took %v: status %d, error %v, body %.80q, want 200 and %.80q",
				i, s.began, s.took, s.status, s.err, s.body, s.want)
		}
	}
	t.Logf("%d of %d requests failed; the slowest took %v", failed, len(shots), slowest)
}

// restart kills an app between two requests (what an app took and did not answer, nobody can repeat for it) and starts it
// again after the downtime. The returned function waits for that.
func restart(t *testing.T, p *process, sig os.Signal) (event func(idle func()), done func()) {
	t.Helper()
	var restarted sync.WaitGroup
	return func(idle func()) {
		idle()
		p.stop(sig)
		time.Sleep(50 * time.Millisecond) // until the proxy has seen that its connections are closed
		restarted.Go(func() {
			time.Sleep(downtime) // the scenario itself
			if err := p.start(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}, restarted.Wait
}

func TestRestartOfTheOnlyApp(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			p := startProcess(t)
			site := freeAddress(t)
			runCaddy(t, fmt.Sprintf("http://%s {\n\thealthpool %s\n}\n", site, p.address))

			event, done := restart(t, p, sig)
			shots := load(t, "http://"+site, 5*rate, time.Second/rate, map[int]func(func()){rate: event})
			done()
			wantAllServed(t, shots)
			if held := shots[rate+1].took; held < downtime/2 {
				t.Errorf("the request after the stop took %v: was the app down at all?", held)
			}
		})
	}
}

func TestRestartOfOneOfThreeApps(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			apps := []*process{startProcess(t), startProcess(t), startProcess(t)}
			site := freeAddress(t)
			runCaddy(t, fmt.Sprintf("http://%s {\n\thealthpool %s %s %s\n}\n",
				site, apps[0].address, apps[1].address, apps[2].address))

			event, done := restart(t, apps[1], sig)
			shots := load(t, "http://"+site, 5*rate, time.Second/rate, map[int]func(func()){rate: event})
			done()
			wantAllServed(t, shots)
		})
	}
}

func TestAppGoneForGood(t *testing.T) {
	p := startProcess(t)
	site := freeAddress(t)
	runCaddy(t, fmt.Sprintf("http://%s {\n\thealthpool %s\n}\n", site, p.address))

	const interval = 100 * time.Millisecond
	var gone time.Time
	begin := time.Now()
	events := map[int]func(func()){10: func(idle func()) {
		idle()
		gone = time.Now()
		p.stop(syscall.SIGKILL)
	}}
	shots := load(t, "http://"+site, 10+int((hold+2*time.Second)/interval), interval, events)
	wantAllServed(t, shots[:10])

	const margin = time.Second
	var late []time.Duration
	for i, s := range shots[10:] {
		after := begin.Add(s.began).Sub(gone) // how long the app had been gone
		switch {
		case s.err != nil || s.status < 502 || s.status > 504 || !strings.Contains(s.body, "Sorry"):
			t.Errorf("request %d, sent %v after the app was gone: status %d, error %v, body %.80q; want the page",
				10+i, after, s.status, s.err, s.body)
		case after < hold-margin && after+s.took < hold-margin:
			t.Errorf("request %d, sent %v after the app was gone, was held for %v only", 10+i, after, s.took)
		case after+s.took > hold+margin && s.took > margin:
			t.Errorf("request %d, sent %v after the app was gone, took %v", 10+i, after, s.took)
		}
		if after > hold+margin {
			late = append(late, s.took)
		}
	}
	if len(late) == 0 {
		t.Fatal("no request was sent after the hold")
	}
	slices.Sort(late)
	t.Logf("once the hold is over, the page takes %v in the median, %v at most (%d requests)",
		late[len(late)/2], late[len(late)-1], len(late))
}
