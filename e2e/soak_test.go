package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/healthpool/caddy-healthpool/e2e/internal/chaos"
)

// soakTime is the environment variable that has TestSoak take longer: HEALTHPOOL_SOAK=10m.
const soakTime = "HEALTHPOOL_SOAK"

// TestSoak puts a Caddy through requests, posts, pages, polls and calls, while its upstreams come and go, are drained and
// closed, and its config is reloaded. Then it has all that it had before: goroutines, memory, files and upstreams.
func TestSoak(t *testing.T) {
	length := 15 * time.Second
	if text := os.Getenv(soakTime); text != "" {
		var err error
		if length, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	backends, addresses := startBackends(t, 3)
	const globals, nothing = "grace_period 1s", "respond nothing"
	caddy := newCaddy(t, globals, nothing)
	caddy.launch()
	await(t, "Caddy answers", func() bool {
		status, _ := caddy.ask(http.MethodGet, "http://"+caddy.site)
		return status == http.StatusOK
	})
	soak := func(length time.Duration) {
		caddy.reload(globals, soaked(addresses, freeAddress(t), 0))
		caddy.awaitUpstream(addresses[0], "healthy")
		site := "http://" + caddy.site
		load := newTraffic(t, 100, getting(site), posting(site), waiting(site+"/down"), calling(site+"/down"))
		churn(t, caddy, backends, time.Now().Add(length))
		load.end()
		load.sending.Wait()
		wantSoaked(t, load)
		caddy.reload(globals, nothing)
	}
	soak(3 * time.Second) // what is made at first use, and stays, is there now
	before := caddy.footprint()
	await(t, "what was before is gone", func() bool { // core ends it in the background
		time.Sleep(2 * time.Second)
		earlier := before
		before = caddy.footprint()
		return before.Goroutines == earlier.Goroutines && before.Files == earlier.Files
	})
	soak(length)
	var after footprint
	defer func() {
		t.Logf("before: %+v, after: %+v", before, after)
		if t.Failed() {
			_, stacks := caddy.ask(http.MethodGet, "http://"+caddy.admin+"/debug/pprof/goroutine?debug=1")
			t.Logf("its goroutines: %s", stacks)
		}
	}()
	await(t, "all is given back", func() bool { after = caddy.footprint(); return after.within(before) })
}

// soaked is a site with a pool, another that is down, and something that differs.
func soaked(upstreams []string, dead string, i int) string {
	return fmt.Sprintf("header X-Config %d\n\thandle /down {\n\thealthpool %s\n\t}\n\thandle {\n\t%s\n\t}",
		i, dead, toPool(upstreams, "health_interval 100ms\ntransport http {\nkeepalive 1s\n}")) // core leaves some idle at each reload
}

// churn has one thing after the other happen, until then; all is well again at its end.
func churn(t *testing.T, caddy *peer, backends []*chaos.Backend, until time.Time) {
	t.Helper()
	addresses := make([]string, len(backends))
	for i, b := range backends {
		addresses[i] = b.Address
	}
	dead := freeAddress(t)
	for i := 1; time.Now().Before(until); i++ {
		b := backends[i%len(backends)]
		signal := []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL}[i%2]
		b.Stop(signal)
		caddy.reload("grace_period 1s", soaked(addresses, dead, i))
		if err := b.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		caddy.awaitUpstream(b.Address, "healthy")
		drained := backends[(i+1)%len(backends)].Address
		caddy.drain(drained)
		caddy.send(http.MethodDelete, "/drain?upstream="+url.QueryEscape(drained))
		caddy.awaitUpstream(drained, "healthy")
		closed := "http://" + caddy.admin + "/healthpool/pools/" + dead + "/maintenance"
		for _, method := range []string{http.MethodPost, http.MethodDelete} {
			if status, body := caddy.ask(method, closed); status != http.StatusOK {
				t.Errorf("%s of a maintenance: %d %s", method, status, body)
			}
		}
	}
}

// wantSoaked fails the test for requests that failed, but for what nobody can save: a post that an app had when it was
// killed, and a connection that was opened while core replaced its server.
func wantSoaked(t *testing.T, load *traffic) {
	t.Helper()
	var excused []error
	for _, err := range load.errors {
		var gone *url.Error
		switch {
		case errors.As(err, &gone) && (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)):
			excused = append(excused, err)
		case strings.Contains(err.Error(), "POST: 502"):
			excused = append(excused, err)
		default:
			t.Errorf("a request failed %v", err)
		}
	}
	t.Logf("%d requests were answered, the slowest after %v; %d failed that nobody can save: %.500v",
		load.total(), load.slowest, len(excused), excused)
	if len(excused)*100 > load.total() {
		t.Errorf("%d of %d requests failed", len(excused), load.total())
	}
}

// waiting opens the page of a site that is down, and polls once.
func waiting(address string) inquiry {
	token := regexp.MustCompile(`data-poll="([^"]+)"`)
	return func(c *http.Client) (string, error) {
		page, err := meet(c, http.MethodGet, address, "Accept", "text/html")
		if err != nil {
			return "", err
		}
		poll := token.FindStringSubmatch(page)
		if poll == nil {
			return "", fmt.Errorf("a page without a token: %s", page)
		}
		_, err = meet(c, http.MethodHead, address, "Recovery-Poll", poll[1])
		return "waiting", err
	}
}

// calling makes a gRPC call to a site that is down.
func calling(address string) inquiry {
	return func(c *http.Client) (string, error) {
		_, err := meet(c, http.MethodPost, address, "Content-Type", "application/grpc")
		return "calling", err
	}
}

// meet returns the body of an answer that says that nothing answers.
func meet(c *http.Client, method, address, header, value string) (string, error) {
	req, err := http.NewRequestWithContext(context.Background(), method, address, http.NoBody)
	if err != nil {
		return "", err
	}
	req.Header.Set(header, value)
	res, err := c.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusServiceUnavailable && res.StatusCode != http.StatusBadGateway && res.Header.Get("Grpc-Status") != "14" {
		err = fmt.Errorf("%s of %s: %d %s", method, value, res.StatusCode, body)
	}
	return string(body), err
}

// footprint is what a process has.
type footprint struct {
	Goroutines, Files, Upstreams int
	Heap                         int // bytes in use after a garbage collection
}

// within tells whether it is no more than another, but for what comes and goes by itself.
func (f footprint) within(other footprint) bool {
	return f.Goroutines <= other.Goroutines+5 && f.Files <= other.Files+5 &&
		f.Upstreams <= other.Upstreams && f.Heap <= other.Heap+other.Heap/5+(2<<20)
}

var (
	goroutines = regexp.MustCompile(`goroutine profile: total (\d+)`)
	heapAlloc  = regexp.MustCompile(`# HeapAlloc = (\d+)`)
)

// footprint measures the Caddy.
func (p *peer) footprint() footprint {
	p.t.Helper()
	number := func(path string, in *regexp.Regexp) int {
		_, text := p.ask(http.MethodGet, "http://"+p.admin+path)
		found := in.FindStringSubmatch(text)
		if found == nil {
			p.t.Fatalf("%s says %.500s", path, text)
		}
		n, err := strconv.Atoi(found[1])
		if err != nil {
			p.t.Fatal(err)
		}
		return n
	}
	files, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid), "fd"))
	if err != nil {
		p.t.Fatal(err)
	}
	_, upstreams := p.ask(http.MethodGet, "http://"+p.admin+"/reverse_proxy/upstreams")
	return footprint{
		Goroutines: number("/debug/pprof/goroutine?debug=1", goroutines),
		Files:      len(files),
		Upstreams:  strings.Count(upstreams, `"address"`),
		Heap:       number("/debug/pprof/heap?debug=1&gc=1", heapAlloc),
	}
}
