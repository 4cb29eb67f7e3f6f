package pool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/cause"
)

// fakeDNS is a fake DNS server: what it lists, and how it fails.
type fakeDNS struct {
	mu       sync.Mutex
	list     []string
	err      error
	panics   bool
	hangs    bool
	reads    int
	apps     map[string]*app
	reported []string
}

func (n *fakeDNS) set(change func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change()
}

func (n *fakeDNS) read(ctx context.Context) ([]Listing, error) {
	n.mu.Lock()
	n.reads++
	list, err, panics, hangs := slices.Clone(n.list), n.err, n.panics, n.hangs
	n.mu.Unlock()
	if hangs {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if panics {
		panic("oh dear")
	}
	var out []Listing
	for _, address := range list {
		out = append(out, Listing{Address: address})
	}
	return out, err
}

func (n *fakeDNS) newMember(run string) func(Listing) (Member, error) {
	return func(l Listing) (Member, error) {
		if !strings.HasPrefix(l.Address, "app") {
			return Member{}, fmt.Errorf("%q is nonsense", l.Address)
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.apps[l.Address] == nil {
			n.apps[l.Address] = new(app)
		}
		return Member{Key: Key{Address: l.Address, Check: run}, HostPort: l.Address, Check: n.apps[l.Address].check, Weight: 1}, nil
	}
}

const (
	refresh = 10 * time.Second
	grace   = time.Minute
)

// listed runs test with a pool whose upstreams a fake DNS server lists.
func listed(t *testing.T, list []string, test func(t *testing.T, p *Pool, n *fakeDNS)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := &fakeDNS{list: list, apps: make(map[string]*app)}
		p := New(n.options(), nil)
		start(t, p)
		synctest.Wait()
		test(t, p, n)
	})
}

func (n *fakeDNS) options() Options {
	run := fmt.Sprint(keys.Add(1))
	o := options()
	o.Refresh, o.Grace = refresh, grace
	o.Sources = []Source{{Name: "names", Key: run, Read: n.read, NewMember: n.newMember(run)}}
	o.OnSource = func(source string, err error) {
		n.set(func() { n.reported = append(n.reported, fmt.Sprint(source, ": ", err)) })
	}
	return o
}

func addresses(p *Pool) (out string) {
	for _, u := range p.Status().Upstreams {
		out += strings.TrimSuffix(u.Address, ":80") + " "
	}
	return strings.TrimSpace(out)
}

func want(t *testing.T, p *Pool, addrs string) {
	t.Helper()
	if got := addresses(p); got != addrs {
		t.Errorf("upstreams %q, want %q", got, addrs)
	}
}

func TestSourceIsFollowed(t *testing.T) {
	listed(t, []string{"app1:80", "app2:80"}, func(t *testing.T, p *Pool, n *fakeDNS) {
		want(t, p, "app1 app2")
		if s := states(p); s != "hh" {
			t.Errorf("states %s", s)
		}
		n.set(func() { n.list = []string{"app2:80", "app3:80"} })
		time.Sleep(2 * refresh)
		want(t, p, "app2 app3 app1") // 1 still passes its check
		time.Sleep(grace + 2*refresh)
		want(t, p, "app2 app3")
		n.set(func() { n.list = []string{"app1:80", "app2:80", "app3:80"} })
		time.Sleep(2 * refresh)
		want(t, p, "app1 app2 app3")
		if n.reads < 10 || n.reads > 15 {
			t.Errorf("read %d times in twelve intervals", n.reads)
		}
	})
}

func TestNewcomerIsCheckedBeforeItsFirstRequest(t *testing.T) {
	listed(t, []string{"app1:80"}, func(t *testing.T, p *Pool, n *fakeDNS) {
		dead := new(app)
		dead.set(cause.ConnectionRefused)
		dead.takes = time.Second
		n.set(func() { n.list, n.apps["app2:80"] = []string{"app1:80", "app2:80"}, dead })
		for addresses(p) != "app1 app2" {
			time.Sleep(100 * time.Millisecond)
		}
		for range 100 {
			if got := pick(p, new(Request)); got != "app1:80" {
				t.Fatalf("picked %q", got)
			}
		}
	})
}

func TestVanishedAndFailedIsGoneAtOnce(t *testing.T) {
	listed(t, []string{"app1:80", "app2:80"}, func(t *testing.T, p *Pool, n *fakeDNS) {
		n.set(func() { n.list = []string{"app1:80"} })
		time.Sleep(2 * refresh)
		want(t, p, "app1 app2")
		n.apps["app2:80"].set(cause.ConnectionRefused)
		time.Sleep(2 * interval)
		want(t, p, "app1")
	})
}

func TestLastGoodListSurvives(t *testing.T) {
	for name, breakSource := range map[string]func(n *fakeDNS){
		"error":    func(n *fakeDNS) { n.err = errors.New("no such host") },
		"panic":    func(n *fakeDNS) { n.panics = true },
		"hang":     func(n *fakeDNS) { n.hangs = true },
		"nonsense": func(n *fakeDNS) { n.list = []string{"???"} },
	} {
		t.Run(name, func(t *testing.T) {
			listed(t, []string{"app1:80"}, func(t *testing.T, p *Pool, n *fakeDNS) {
				n.set(func() { breakSource(n) })
				time.Sleep(10 * grace)
				want(t, p, "app1")
				if got := pick(p, new(Request)); got != "app1:80" {
					t.Errorf("picked %q", got)
				}
				n.mu.Lock()
				reports := len(n.reported)
				n.mu.Unlock()
				if reports != 1 {
					t.Errorf("reported %d times, want once: %q", reports, n.reported)
				}
				n.set(func() { n.list, n.err, n.panics, n.hangs = []string{"app2:80"}, nil, false, false })
				if name == "hang" {
					return // a hanging read ends only with the pool
				}
				time.Sleep(2 * refresh)
				want(t, p, "app2 app1")
			})
		})
	}
}

func TestFirstListIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &fakeDNS{err: errors.New("not yet"), list: []string{"app1:80"}, apps: make(map[string]*app)}
		p := New(n.options(), nil)
		start(t, p)
		time.AfterFunc(2*time.Second, func() { n.set(func() { n.err = nil }) })
		begun := time.Now()
		if got := pick(p, new(Request)); got != "app1:80" || time.Since(begun) > 4*time.Second {
			t.Errorf("picked %q after %v", got, time.Since(begun))
		}
	})
}

func TestListOutlivesAReload(t *testing.T) {
	listed(t, []string{"app1:80"}, func(t *testing.T, p *Pool, n *fakeDNS) {
		n.set(func() { n.err = errors.New("down") })
		next := New(p.Options, nil)
		want(t, next, "app1")
		if got := pick(next, new(Request)); got != "app1:80" {
			t.Errorf("picked %q", got)
		}
		next.Release()
	})
}

func TestFixedAndListedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &fakeDNS{list: []string{"app2:80", "app1:80", "app2:80"}, apps: make(map[string]*app)}
		o := n.options()
		fixed, _ := o.Sources[0].NewMember(Listing{Address: "app1:80"})
		fixed.Weight = 3
		p := New(o, []Member{fixed})
		start(t, p)
		time.Sleep(time.Second)
		want(t, p, "app1 app2")
		if w := p.Status().Upstreams[0].Weight; w != 3 {
			t.Errorf("weight %d: the config's word must count", w)
		}
	})
}

// TestFlapping changes the list for an hour, after which nothing may be left: synctest
// fails if a goroutine is.
func TestFlapping(t *testing.T) {
	const size = 1000
	synctest.Test(t, func(t *testing.T) {
		n := &fakeDNS{apps: make(map[string]*app)}
		for i := range size {
			n.list = append(n.list, fmt.Sprintf("app%d:80", i))
		}
		all := slices.Clone(n.list)
		o := n.options()
		p, b := New(o, nil), NewProber(128)
		p.Start(b)
		for minute := range 60 {
			time.Sleep(time.Minute)
			n.set(func() {
				n.list = all[:size/2+minute*7]
				for i, address := range n.list {
					if a := n.apps[address]; a != nil && i%3 == minute%3 {
						a.set([]cause.Cause{"", cause.ConnectionRefused, cause.HTTPResponseTimeout}[minute%3])
					}
				}
			})
			pick(p, new(Request))
		}
		p.Stop()
		b.Stop()
		p.Release()
		time.Sleep(hold + time.Second)
		left := 0
		upstreams.Range(func(key, _ any) bool {
			if key.(Key).Check == o.Sources[0].Key {
				left++
			}
			return true
		})
		if _, listed := lastLists.References(o.Sources[0].Key); left > 0 || listed {
			t.Errorf("%d upstreams are left, list %v", left, listed)
		}
	})
}

// TestOutageBeginsWhenTheLastIsGone: an outage begins when the pool goes down, not when one
// of its upstreams did: requests are held from then on.
func TestOutageBeginsWhenTheLastIsGone(t *testing.T) {
	listed(t, []string{"app1:80", "app2:80"}, func(t *testing.T, p *Pool, n *fakeDNS) {
		n.apps["app1:80"].set(cause.ConnectionRefused)
		time.Sleep(time.Hour)
		n.set(func() { n.list = []string{"app1:80"} })
		for range 10 * int(grace/time.Second) {
			if p.Status().State == Down {
				break
			}
			time.Sleep(time.Second)
		}
		down, since := p.DownSince()
		if !down || time.Since(since) > time.Second {
			t.Fatalf("down %v, since %v ago", down, time.Since(since))
		}
		n.apps["app1:80"].set("")
		if got := pick(p, new(Request)); got != "app1:80" {
			t.Errorf("picked %q, want the one that came back while it was held", got)
		}
	})
}

// TestInvalidListingsAreSummarized: a list of only invalid entries does not fill the log.
func TestInvalidListingsAreSummarized(t *testing.T) {
	refuse := Source{NewMember: func(l Listing) (Member, error) { return Member{}, fmt.Errorf("no address: %q", l.Address) }}
	for n, want := range map[int]string{
		0: "<nil>", 1: `no address: "x"`, 4000: `no address: "x"; and 3999 more`,
	} {
		list := slices.Repeat([]Listing{{Address: "x"}}, n)
		if _, err := refuse.members(list); fmt.Sprint(err) != want {
			t.Errorf("of %d: %.100v", n, err)
		}
	}
}

// TestSameFailureIsReportedOnce: error texts may contain ports, which differ each time.
func TestSameFailureIsReportedOnce(t *testing.T) {
	listed(t, []string{"app1:80"}, func(t *testing.T, _ *Pool, n *fakeDNS) {
		for port := range 30 {
			n.set(func() { n.err = fmt.Errorf("read udp 127.0.0.1:%d->127.0.0.53:53: i/o timeout", 40_000+port) })
			time.Sleep(sourceRetry)
		}
		n.set(func() { n.err = nil })
		time.Sleep(2 * refresh)
		n.mu.Lock()
		defer n.mu.Unlock()
		if len(n.reported) != 2 || n.reported[1] != "names: <nil>" {
			t.Errorf("reported: %q", n.reported)
		}
	})
}

// TestPartlyValidListIsUsed: invalid entries are left out and reported once, and the source
// counts as working.
func TestPartlyValidListIsUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &fakeDNS{list: []string{"app1:80", "nonsense"}, apps: make(map[string]*app)}
		o := n.options()
		var refused []string
		o.OnRefused = func(source string, err error) { refused = append(refused, fmt.Sprint(source, ": ", err)) }
		p := New(o, nil)
		start(t, p)
		time.Sleep(10 * refresh)
		synctest.Wait()
		want(t, p, "app1")
		if len(n.reported) != 0 || len(refused) != 1 || refused[0] != `names: "nonsense" is nonsense` {
			t.Errorf("reported %q, refused %q", n.reported, refused)
		}
		if n.reads > 13 {
			t.Errorf("read %d times in ten intervals", n.reads)
		}
	})
}
