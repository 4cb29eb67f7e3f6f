package e2e

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// neighbours starts apps at the same port of some addresses of this machine.
func neighbours(t *testing.T, ips ...string) (port string) {
	t.Helper()
	for _, ip := range ips {
		a := newApp(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, ip) })
		if port == "" {
			_, port, _ = net.SplitHostPort(a.address)
		}
		a.address = net.JoinHostPort(ip, port)
		a.start(t)
	}
	return port
}

// addresses are the upstreams of the pool, without their port.
func (p *peer) addresses() (hosts []string) {
	for _, u := range p.pool().Upstreams {
		host, _, err := net.SplitHostPort(u.Address)
		if err != nil {
			p.t.Error(err)
		}
		hosts = append(hosts, host)
	}
	return slices.Sorted(slices.Values(hosts))
}

// awaitAddresses waits until the pool has these upstreams and no other.
func (p *peer) awaitAddresses(want ...string) {
	p.t.Helper()
	slices.Sort(want)
	var got []string
	await(p.t, fmt.Sprintf("the upstreams are %.200v", want), func() bool {
		got = p.addresses()
		return slices.Equal(got, want)
	})
}

const (
	sourceFailed = "source failed; its last good list stands"
	sourceGood   = "source is good again"
)

// count is how often the log has a text.
func (p *peer) count(text string) int { return strings.Count(tail(p.log(), 1<<30), text) }

// newNamed starts a Caddy whose upstreams a nameserver names.
func newNamed(t *testing.T, resolver, port, grace string) *peer {
	t.Helper()
	p := newCaddy(t, "", toPool(nil, fmt.Sprintf(`
		source a app.test %s {
			resolvers %s
		}
		refresh 50ms
		grace_period %s
		health_interval 200ms
		health_down_interval 100ms
		health_timeout 500ms`, port, resolver, grace)))
	p.start()
	return p
}

// dnsOne and dnsTwo are the addresses of two apps.
const dnsOne, dnsTwo = "127.0.0.1", "127.0.0.2"

// newTwo starts a Caddy, and the nameserver that names these to it.
func newTwo(t *testing.T, network, port string) (n *nameserver, p *peer) {
	t.Helper()
	t.Parallel() // some of these take as long as a resolver waits
	n = newNameserver(t)
	n.say(answering(dnsOne, dnsTwo))
	p = newNamed(t, network+n.address, port, "1ms")
	p.awaitAddresses(dnsOne, dnsTwo)
	return n, p
}

// TestDNSThatFails: whatever a name server does in place of an answer, the last good one stands, and no client sees an
// error; it counts again when it is good again.
func TestDNSThatFails(t *testing.T) {
	t.Parallel()
	port := neighbours(t, dnsOne, dnsTwo)
	good := answering(dnsOne, dnsTwo)
	for name, reply := range map[string]replier{
		"SERVFAIL":       refusing(dns.RcodeServerFailure),
		"NXDOMAIN":       refusing(dns.RcodeNameError),
		"REFUSED":        refusing(dns.RcodeRefused),
		"no answer":      silent,
		"an empty one":   answering(),
		"a truncated":    truncating,
		"another's":      mistaken("127.0.0.9"),
		"no DNS":         raving,
		"only sometimes": inTurn(silent, good, refusing(dns.RcodeServerFailure), refusing(dns.RcodeNameError)),
	} {
		t.Run(name, func(t *testing.T) {
			n, p := newTwo(t, "udp/", port)
			load := newTraffic(t, 50, getting("http://"+p.site))
			failed, recovered := p.count(sourceFailed), p.count(sourceGood)
			n.say(reply)
			await(t, "the log says so", func() bool { return p.count(sourceFailed) > failed })
			if got := p.addresses(); !slices.Equal(got, []string{dnsOne, dnsTwo}) {
				t.Errorf("the last good list does not stand: %v", got)
			}
			load.goesOn(10)
			n.say(good)
			await(t, "the log says so", func() bool { return p.count(sourceGood) > recovered })
			load.stop()
		})
	}
}

// TestDNSThatLies: whatever else a name server lists, no client sees an error while there is one good upstream.
func TestDNSThatLies(t *testing.T) {
	t.Parallel()
	port := neighbours(t, dnsOne, dnsTwo)
	thousands := make([]string, 0, 2500)
	for i := range cap(thousands) - 1 {
		thousands = append(thousands, fmt.Sprintf("127.9.%d.%d", i/256, i%256))
	}
	for name, ips := range map[string][]string{
		"addresses of nobody":    {dnsOne, "127.0.0.9", "127.255.255.254"},
		"thousands":              append(thousands, dnsOne),
		"any address":            {dnsOne, "0.0.0.0"},
		"IPv6":                   {dnsOne, "::1", "::"},
		"an address twice":       {dnsOne, dnsOne, dnsTwo},
		"multicast and the like": {dnsOne, "255.255.255.255", "224.0.0.1", "ff02::1"},
	} {
		t.Run(name, func(t *testing.T) {
			n, p := newTwo(t, "tcp/", port) // over the other, what is too long for it never comes
			load := newTraffic(t, 50, getting("http://"+p.site))
			n.say(answering(ips...))
			p.awaitAddresses(slices.Compact(slices.Sorted(slices.Values(ips)))...)
			await(t, "all are checked", func() bool {
				return !slices.ContainsFunc(p.pool().Upstreams, func(u upstreamStatus) bool { return u.State == "checking" })
			})
			load.goesOn(10)
			n.say(answering(dnsOne, dnsTwo))
			p.awaitAddresses(dnsOne, dnsTwo)
			load.stop()
		})
	}
}

// TestDNSThatChanges: records that are others each time keep those before for a while, and cost no client anything.
func TestDNSThatChanges(t *testing.T) {
	t.Parallel()
	ips := []string{"127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4"}
	port := neighbours(t, ips...)
	n := newNameserver(t)
	n.say(answering(ips[0]))
	const grace = time.Second
	p := newNamed(t, n.address, port, grace.String())
	load := newTraffic(t, 50, getting("http://"+p.site))
	for i := range 2 * len(ips) {
		ip, before := ips[(i+1)%len(ips)], ips[i%len(ips)]
		n.say(answering(ip))
		await(t, "the new one is used", func() bool { return slices.Contains(p.addresses(), ip) })
		if got := p.addresses(); !slices.Contains(got, before) {
			t.Errorf("the one before, %s, was dropped at once: %v", before, got)
		}
		n.heard(t, 10)
	}
	p.awaitAddresses(ips[0])
	load.stop()
	for _, ip := range ips {
		if load.served(ip) == 0 {
			t.Errorf("%s was never used", ip)
		}
	}
}

// TestDNSServices: the same for services, and the names of their hosts, of which one is unknown.
func TestDNSServices(t *testing.T) {
	t.Parallel()
	port := neighbours(t, "127.0.0.1")
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	n := newNameserver(t)
	hosts := func(w dns.ResponseWriter, question *dns.Msg, overUDP bool) {
		if question.Question[0].Name != "good.test." {
			refusing(dns.RcodeNameError)(w, question, overUDP)
			return
		}
		answering("127.0.0.1")(w, question, overUDP)
	}
	good := serving(uint16(number), "good.test.", "unknown.test.")
	n.say(besides(hosts, good))
	p := newCaddy(t, "", toPool(nil, fmt.Sprintf(`
		source srv _http._tcp.app.test {
			resolvers %[1]s
		}
		refresh 50ms
		transport http {
			resolvers %[1]s
		}`, n.address)))
	p.launch()
	asBefore := func() bool { return p.pool().Healthy == 1 && p.pool().Total == 2 }
	await(t, "one of two is healthy", asBefore)
	if u := p.upstream("unknown.test.:" + port); u.State != "unhealthy" || u.Cause != "dns_error" {
		t.Errorf("a host without an address is %+v, of %+v", u, p.pool())
	}
	for name, reply := range map[string]replier{
		"SERVFAIL":  refusing(dns.RcodeServerFailure),
		"NXDOMAIN":  refusing(dns.RcodeNameError),
		"no answer": silent,
		"port 0":    serving(0, "good.test."),
		"the root":  serving(uint16(number), "."),
		"no host":   serving(uint16(number), "also-unknown.test."),
		"some text": raving,
	} {
		t.Run(name, func(t *testing.T) {
			load := newTraffic(t, 50, getting("http://"+p.site))
			n.say(besides(hosts, reply))
			n.heard(t, 2)
			load.goesOn(10)
			n.say(besides(hosts, good))
			n.heard(t, 2)
			await(t, "all is as before", asBefore)
			load.stop()
		})
	}
}
