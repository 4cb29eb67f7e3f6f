//go:build unix

package healthpool_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// dns is a real DNS server for names under "test".
type dns struct {
	t    *testing.T
	addr string
	// hosts is its hosts file, services its arguments for SRV records.
	hosts    string
	services []string
	process  *exec.Cmd
}

// newDNS starts a DNS server without any names.
func newDNS(t *testing.T) *dns {
	t.Helper()
	if _, err := exec.LookPath("dnsmasq"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("no dnsmasq; it is in the package dnsmasq-base")
		}
		t.Skip("no dnsmasq; it is in the package dnsmasq-base")
	}
	d := &dns{t: t, addr: deadAddress(t), hosts: filepath.Join(t.TempDir(), "hosts")}
	t.Cleanup(d.stop)
	d.set("127.0.0.1 nobody.test")
	d.start()
	return d
}

func (d *dns) start() {
	d.t.Helper()
	me, err := user.Current()
	if err != nil {
		d.t.Fatal(err)
	}
	_, port, _ := strings.Cut(d.addr, ":")
	d.process = exec.CommandContext(d.t.Context(), "dnsmasq", append([]string{
		"--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--user=" + me.Username,
		"--listen-address=127.0.0.1", "--bind-interfaces", "--port=" + port,
		"--no-resolv", "--no-hosts", "--local=/test/", "--addn-hosts=" + d.hosts,
	}, d.services...)...)
	if err := d.process.Start(); err != nil {
		d.t.Fatal(err)
	}
	dialer := net.Dialer{Timeout: time.Second}
	await(d.t, "the name server answers", func() bool {
		conn, err := dialer.DialContext(d.t.Context(), "tcp", d.addr)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
}

// stop stops the server. Further calls do nothing.
func (d *dns) stop() {
	if d.process != nil {
		_ = d.process.Process.Kill()
		_ = d.process.Wait()
		d.process = nil
	}
}

// set replaces the addresses: lines as in /etc/hosts.
func (d *dns) set(lines ...string) {
	d.t.Helper()
	if err := os.WriteFile(d.hosts, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		d.t.Fatal(err)
	}
	d.signal(syscall.SIGHUP)
}

// setServices replaces the SRV records: names of services and addresses.
func (d *dns) setServices(records ...string) {
	d.t.Helper()
	d.services = nil
	for _, r := range records {
		d.services = append(d.services, "--srv-host="+strings.NewReplacer(" ", ",", ":", ",").Replace(r))
	}
	d.stop()
	d.start()
}

func (d *dns) signal(s os.Signal) {
	d.t.Helper()
	if d.process == nil {
		return
	}
	if err := d.process.Process.Signal(s); err != nil {
		d.t.Fatal(err)
	}
}

// pool returns the config of a pool with this source, which asks this server.
func (d *dns) pool(source, options string) string {
	return fmt.Sprintf("healthpool {\nsource %s\nrefresh 20ms\nhealth_uri %s\nhealth_interval 20ms\nhealth_edge_interval 10ms\nhealth_down_interval 10ms\nlb_policy round_robin\n%s\n}",
		source, checkPath, options)
}

func (d *dns) resolvers() string { return " {\nresolvers " + d.addr + "\n}" }

// neighbours starts apps on the same port of different addresses; each answers with its
// address.
func neighbours(t *testing.T, n int) (port string, apps []*backend) {
	t.Helper()
	_, port, _ = strings.Cut(deadAddress(t), ":")
	for i := range n {
		b := newStoppedBackend(t, delayed(fmt.Sprintf("127.0.0.%d", i+1), 0))
		b.addr = fmt.Sprintf("127.0.0.%d:%s", i+1, port)
		b.start()
		apps = append(apps, b)
	}
	return port, apps
}

// awaitTotal waits until there are n upstreams, all healthy.
func (s *site) awaitTotal(n int) {
	s.t.Helper()
	await(s.t, fmt.Sprintf("there are %d upstreams, all healthy", n), func() bool {
		p := s.pool()
		return p.Total == n && p.Healthy == n
	})
}

// served checks that the next requests are served by all of apps, and by no others.
func (s *site) served(when string, apps ...*backend) {
	s.t.Helper()
	for range 6 {
		got := s.get("/")
		known := false
		for _, b := range apps {
			known = known || strings.HasPrefix(b.addr, got.body+":")
		}
		if !known || got.took > time.Second {
			s.t.Errorf("%s: got %d %q after %v", when, got.status, got.body, got.took)
		}
	}
}

// TestSourceA adds, removes and adds again addresses of a name.
func TestSourceA(t *testing.T) {
	d := newDNS(t)
	port, apps := neighbours(t, 3)
	d.set("127.0.0.1 a.test", "127.0.0.2 a.test")
	s := run(t, d.pool("a a.test "+port+d.resolvers(), "grace_period 300ms"))
	s.awaitTotal(2)
	s.served("at first", apps[0], apps[1])

	apps[2].failChecks.Store(true)
	d.set("127.0.0.1 a.test", "127.0.0.2 a.test", "127.0.0.3 a.test")
	await(t, "the new one is there", func() bool { return s.pool().Total == 3 })
	await(t, "the new one is checked", func() bool { return apps[2].checks.Load() > 1 })
	s.served("while the new one fails its checks", apps[0], apps[1])
	if n := apps[2].hits.Load(); n > 0 {
		t.Errorf("the new one got %d requests before it passed a check", n)
	}
	apps[2].failChecks.Store(false)
	s.awaitTotal(3)
	await(t, "the new one is used", func() bool { s.get("/"); return apps[2].hits.Load() > 0 })

	gone := time.Now()
	d.set("127.0.0.3 a.test")
	s.awaitTotal(1)
	if stayed := time.Since(gone); stayed < 300*time.Millisecond {
		t.Errorf("those that still pass their checks stayed for %v", stayed)
	}
	s.served("with one left", apps[2])
}

// TestSourceAWithoutAnswers checks that the last good list is kept, whatever happens to the
// name and its server, also across a reload.
func TestSourceAWithoutAnswers(t *testing.T) {
	d := newDNS(t)
	port, apps := neighbours(t, 2)
	known := []string{"127.0.0.1 b.test", "127.0.0.2 b.test"}
	d.set(known...)
	config := d.pool("a b.test "+port+d.resolvers(), "grace_period 10ms")
	s := run(t, config)
	s.awaitTotal(2)
	failures := func() int { return len(s.logged(said("source failed; its last good list stands"))) }
	check := func(when string, fail, repair func()) {
		t.Helper()
		was := failures()
		fail()
		await(t, "the log says that the source failed: "+when, func() bool { return failures() > was })
		s.served(when, apps...)
		if err := s.load("", fmt.Sprintf("header X-Config %q\n%s", when, config)); err != nil {
			t.Fatal(err)
		}
		s.served(when+", after a reload", apps...)
		repair()
		d.set(known[0])
		s.awaitTotal(1)
		d.set(known...)
		s.awaitTotal(2)
	}
	check("the name is unknown", func() { d.set("127.0.0.1 other.test") }, func() {})
	check("the name server is stopped", d.stop, d.start)
	check("the name server does not answer", func() { d.signal(syscall.SIGSTOP) }, func() { d.signal(syscall.SIGCONT) })
}

// TestSourceSRV changes the records of a service.
func TestSourceSRV(t *testing.T) {
	d := newDNS(t)
	a, b := newBackend(t, "a"), newBackend(t, "b")
	record := func(b *backend) string {
		return "_http._tcp.c.test node.test" + strings.TrimPrefix(b.addr, "127.0.0.1")
	}
	d.set("127.0.0.1 node.test")
	d.setServices(record(a))
	s := run(t, d.pool("srv _http._tcp.c.test"+d.resolvers(), "grace_period 10ms\ntransport http"+d.resolvers()))
	s.awaitTotal(1)
	if got := s.get("/"); got.body != "a" {
		t.Errorf("got %d %q", got.status, got.body)
	}
	d.setServices(record(a), record(b))
	s.awaitTotal(2)
	await(t, "b is used", func() bool { return s.get("/").body == "b" })
	d.setServices(record(b))
	s.awaitTotal(1)
	for range 6 {
		if got := s.get("/"); got.body != "b" {
			t.Errorf("got %d %q", got.status, got.body)
		}
	}
	d.stop()
	await(t, "the log says so", func() bool { return len(s.logged(said("source failed; its last good list stands"))) > 0 })
	d.start() // until then, the node's address is unknown
	await(t, "b is used again", func() bool { return s.get("/").body == "b" })
}

// TestSourceMulti has two names in one source: one is unknown for a while, then the server
// stops.
func TestSourceMulti(t *testing.T) {
	d := newDNS(t)
	port, apps := neighbours(t, 2)
	of := func(name string) string {
		return "a " + name + " " + port + " {\nresolvers " + d.addr + "\nrefresh 10ms\n}\n"
	}
	d.set("127.0.0.1 d.test")
	s := run(t, d.pool("multi {\n"+of("d.test")+of("e.test")+"}", "grace_period 10ms"))
	s.awaitTotal(1)
	s.served("with one name", apps[0])
	d.set("127.0.0.1 d.test", "127.0.0.2 e.test")
	s.awaitTotal(2)
	s.served("with both names", apps...)
	d.stop()
	await(t, "the log says so", func() bool { return len(s.logged(said("source failed; its last good list stands"))) > 0 })
	s.served("without a name server", apps...)
	if n := s.pool().Total; n != 2 {
		t.Errorf("there are %d upstreams left", n)
	}
}
