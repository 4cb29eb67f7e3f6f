package e2e

import (
	"context"
	"net"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"
)

// nameserver is a DNS server that says whatever it is told to say.
type nameserver struct {
	address string
	reply   atomic.Pointer[replier]
	asked   atomic.Int64
}

// replier replies to a question, over UDP or TCP, or does not.
type replier func(w dns.ResponseWriter, question *dns.Msg, overUDP bool)

// newNameserver starts one.
func newNameserver(t *testing.T) *nameserver {
	t.Helper()
	n := &nameserver{address: freeAddress(t)}
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, question *dns.Msg) {
		n.asked.Add(1)
		_, overUDP := w.RemoteAddr().(*net.UDPAddr)
		(*n.reply.Load())(w, question, overUDP)
	})
	ctx := context.WithoutCancel(t.Context())
	packets, err := new(net.ListenConfig).ListenPacket(ctx, "udp", n.address)
	if err != nil {
		t.Fatal(err)
	}
	streams, err := new(net.ListenConfig).Listen(ctx, "tcp", n.address)
	if err != nil {
		t.Fatal(err)
	}
	n.say(refusing(dns.RcodeServerFailure))
	for _, server := range []*dns.Server{{PacketConn: packets, Handler: handler}, {Listener: streams, Handler: handler}} {
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		go func() { _ = server.ActivateAndServe() }() // until Shutdown
		<-started
		t.Cleanup(func() { _ = server.Shutdown() })
	}
	return n
}

// say has the server reply like this from now on.
func (n *nameserver) say(r replier) { n.reply.Store(&r) }

// heard waits until so many more questions have been asked, and answered as now.
func (n *nameserver) heard(t *testing.T, more int64) {
	t.Helper()
	want := n.asked.Load() + more
	await(t, "names are asked for", func() bool { return n.asked.Load() >= want })
}

// answering replies with these addresses, all of which fit into one answer over TCP.
func answering(ips ...string) replier {
	return func(w dns.ResponseWriter, question *dns.Msg, overUDP bool) { answer(w, question, overUDP, ips) }
}

func answer(w dns.ResponseWriter, question *dns.Msg, overUDP bool, ips []string) {
	reply := new(dns.Msg).SetReply(question)
	reply.Compress = true
	for _, ip := range ips {
		reply.Answer = append(reply.Answer, recordsOf(question.Question[0], net.ParseIP(ip))...)
	}
	if overUDP {
		reply.Truncate(dns.MinMsgSize)
	}
	_ = w.WriteMsg(reply) // who does not get it asks again
}

// recordsOf are the records of an address that a question is for.
func recordsOf(q dns.Question, ip net.IP) []dns.RR {
	header := dns.RR_Header{Name: q.Name, Rrtype: q.Qtype, Class: dns.ClassINET, Ttl: 1}
	switch is4 := ip.To4() != nil; {
	case is4 && q.Qtype == dns.TypeA:
		return []dns.RR{&dns.A{Hdr: header, A: ip}}
	case !is4 && q.Qtype == dns.TypeAAAA:
		return []dns.RR{&dns.AAAA{Hdr: header, AAAA: ip}}
	}
	return nil
}

// refusing replies with an error.
func refusing(rcode int) replier {
	return func(w dns.ResponseWriter, question *dns.Msg, _ bool) {
		_ = w.WriteMsg(new(dns.Msg).SetRcode(question, rcode))
	}
}

// silent does not reply.
func silent(dns.ResponseWriter, *dns.Msg, bool) {}

// truncating says that there is more than fits, and then says nothing.
func truncating(w dns.ResponseWriter, question *dns.Msg, overUDP bool) {
	if overUDP {
		reply := new(dns.Msg).SetReply(question)
		reply.Truncated = true
		_ = w.WriteMsg(reply)
	}
}

// mistaken replies to what nobody asked.
func mistaken(ips ...string) replier {
	return func(w dns.ResponseWriter, question *dns.Msg, overUDP bool) {
		other := question.Copy()
		other.Id++
		answer(w, other, overUDP, ips)
	}
}

// raving replies with what is no DNS.
func raving(w dns.ResponseWriter, _ *dns.Msg, _ bool) { _, _ = w.Write([]byte("I am a teapot.")) }

// inTurn gives each question the next of some replies.
func inTurn(replies ...replier) replier {
	var next atomic.Int64
	return func(w dns.ResponseWriter, question *dns.Msg, overUDP bool) {
		replies[int(next.Add(1))%len(replies)](w, question, overUDP)
	}
}

// serving replies with a service at these hosts and a port.
func serving(port uint16, names ...string) replier {
	return func(w dns.ResponseWriter, question *dns.Msg, _ bool) {
		reply := new(dns.Msg).SetReply(question)
		for _, name := range names {
			header := dns.RR_Header{Name: question.Question[0].Name, Rrtype: dns.TypeSRV, Class: dns.ClassINET, Ttl: 1}
			reply.Answer = append(reply.Answer, &dns.SRV{Hdr: header, Port: port, Target: name})
		}
		_ = w.WriteMsg(reply)
	}
}

// besides replies to questions for hosts as ever, and to those for services as told.
func besides(hosts, services replier) replier {
	return func(w dns.ResponseWriter, question *dns.Msg, overUDP bool) {
		if question.Question[0].Qtype == dns.TypeSRV {
			services(w, question, overUDP)
			return
		}
		hosts(w, question, overUDP)
	}
}
