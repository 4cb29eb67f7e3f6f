package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/healthpool/caddy-healthpool/e2e/internal/chaos"
	"github.com/healthpool/caddy-healthpool/e2e/internal/loopback"
)

// Waiting is what visitors cost while they keep the page open, and how they come back.
type Waiting struct {
	Visitors int
	Empty    int64   // resident bytes before they came
	Idle     int64   // resident bytes of plain Caddy with as many idle connections
	Memory   int64   // resident bytes while they wait
	Core     float64 // of one core, while they wait
	Polls    float64 // per second, meanwhile
	Returns  []int   // how many are back in each second since the first upstream was up
	All      time.Duration
}

const (
	apps         = 2
	visitorsStay = 3 * time.Minute // by then the last one must be back
)

// measureWaiting has visitors come to a site that is down, wait as the page's script does, and come back.
func (b *Bench) measureWaiting(ctx context.Context) error {
	idle, err := b.idleConnections(ctx)
	if err != nil {
		return err
	}
	w := &b.report.Waiting
	w.Visitors, w.Idle = b.visitors, idle
	backends := make([]*chaos.Backend, apps)
	var s settings
	for i := range backends {
		backends[i] = &chaos.Backend{Address: loopback.Free(ctx)}
		defer backends[i].Stop(syscall.SIGKILL)
		s.Upstreams = append(s.Upstreams, backends[i].Address)
	}
	proxy, err := b.serve(ctx, "outage/ours.Caddyfile", s)
	if err != nil {
		return err
	}
	defer proxy.stop()
	if err := pause(ctx, oldOutage); err != nil {
		return err
	}
	before, err := proxy.use()
	if err != nil {
		return err
	}
	w.Empty = before.memory
	return w.watch(ctx, b.scale, proxy, backends)
}

// watch has visitors come, wait and return.
func (w *Waiting) watch(ctx context.Context, s scale, proxy *server, backends []*chaos.Backend) error {
	ctx, cancel := context.WithTimeout(ctx, 2*s.settle+s.watch+visitorsStay)
	defer cancel()
	crowd := &crowd{url: proxy.url}
	var came sync.WaitGroup
	for i := range w.Visitors {
		came.Go(func() { crowd.visit(ctx, time.Duration(i)*s.settle/time.Duration(w.Visitors)) })
	}
	if err := pause(ctx, s.settle+5*time.Second); err != nil {
		return err
	}
	polls := crowd.polls.Load()
	before, err := proxy.use()
	if err != nil {
		return err
	}
	if err := pause(ctx, s.watch); err != nil {
		return err
	}
	after, err := proxy.use()
	if err != nil {
		return err
	}
	w.Core, w.Memory = after.since(before), after.memory
	w.Polls = float64(crowd.polls.Load()-polls) / s.watch.Seconds()
	began := time.Now()
	for _, backend := range backends {
		if err := backend.Start(ctx); err != nil {
			return err
		}
	}
	came.Wait()
	if lost := crowd.lost.Load(); lost != nil {
		return fmt.Errorf("a visitor never came back: %w", *lost)
	}
	w.All, w.Returns = time.Since(began), crowd.perSecond(began)
	log.Printf("%+v", *w)
	return nil
}

// crowd are visitors of a site.
type crowd struct {
	url   string
	polls atomic.Int64
	lost  atomic.Pointer[error] // why a visitor never came back; of several, the last

	mu   sync.Mutex
	back []time.Time
}

// visitor is one of them, with a connection of its own.
type visitor struct {
	*crowd
	http.Transport
}

// visit is one visitor, from arriving until the site works again.
func (c *crowd) visit(ctx context.Context, after time.Duration) {
	v := visitor{crowd: c}
	defer v.CloseIdleConnections()
	err := pause(ctx, after)
	for err == nil {
		var served bool
		if served, err = v.open(ctx); served {
			c.mu.Lock()
			c.back = append(c.back, time.Now())
			c.mu.Unlock()
			return
		}
	}
	c.lost.Store(&err)
}

var (
	pollToken = regexp.MustCompile(`data-poll="([^"]+)"`)
	pollAfter = regexp.MustCompile(`data-after="(\d+)"`)
)

// open opens the site. If it gets the error page, it returns when that page would reload.
func (v *visitor) open(ctx context.Context) (served bool, err error) {
	met, err := v.ask(ctx, http.MethodGet, "")
	if err != nil || met.status == http.StatusOK {
		return err == nil, err
	}
	token := pollToken.FindSubmatch(met.body)
	if token == nil {
		return false, fmt.Errorf("the page has no token: %s", met.body)
	}
	after := 2.0
	if said := pollAfter.FindSubmatch(met.body); said != nil {
		after, _ = strconv.ParseFloat(string(said[1]), 64)
	}
	after = min(after, 4) * (.75 + rand.Float64()/2)
	for {
		if err := pause(ctx, time.Duration(after*float64(time.Second))); err != nil {
			return false, err
		}
		said, err := v.ask(ctx, http.MethodHead, string(token[1]))
		if err != nil {
			return false, err
		}
		v.polls.Add(1)
		after, err = strconv.ParseFloat(said.after, 64)
		if said.status == http.StatusNoContent {
			// As on the page, which takes half a second to tell the visitor.
			return false, pause(ctx, time.Duration((after+.5)*float64(time.Second)))
		}
		if err != nil {
			return false, fmt.Errorf("a poll was answered with %d: %w", said.status, err)
		}
	}
}

// reply is an answer to a visitor.
type reply struct {
	status int
	after  string // Retry-After
	body   []byte
}

func (v *visitor) ask(ctx context.Context, method, poll string) (reply, error) {
	request, err := http.NewRequestWithContext(ctx, method, v.url, http.NoBody)
	if err != nil {
		return reply{}, err
	}
	request.Header.Set("Accept", "text/html")
	if poll != "" {
		request.Header.Set("Recovery-Poll", poll)
	}
	response, err := v.RoundTrip(request)
	if err != nil {
		return reply{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return reply{response.StatusCode, response.Header.Get("Retry-After"), body}, err
}

// perSecond counts the visitors who came back in each second since then.
func (c *crowd) perSecond(began time.Time) []int {
	c.mu.Lock()
	defer c.mu.Unlock()
	var counts []int
	for _, back := range c.back {
		second := int(back.Sub(began) / time.Second)
		for len(counts) <= second {
			counts = append(counts, 0)
		}
		counts[second]++
	}
	return counts
}

// idleConnections returns the memory of plain Caddy with as many connections, each of which made one request.
func (b *Bench) idleConnections(ctx context.Context) (int64, error) {
	plain, err := b.serve(ctx, "outage/respond.Caddyfile", settings{Page: pageOf(4000)})
	if err != nil {
		return 0, err
	}
	defer plain.stop()
	for range b.visitors {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", strings.TrimPrefix(plain.url, "http://"))
		if err != nil {
			return 0, err
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			return 0, err
		}
		if _, err := conn.Read(make([]byte, 1)); err != nil {
			return 0, err
		}
	}
	if err := pause(ctx, b.settle); err != nil { // as long as ours has to settle
		return 0, err
	}
	use, err := plain.use()
	return use.memory, err
}
