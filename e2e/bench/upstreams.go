package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/miekg/dns"

	"github.com/healthpool/caddy-healthpool/e2e/internal/loopback"
)

// backend starts the backend that plays all upstreams of a measurement. It listens on all of 127.0.0.0/8.
func (b *Bench) backend(ctx context.Context) (backend *server, port string, err error) {
	address := loopback.Free(ctx)
	if _, port, err = net.SplitHostPort(address); err != nil {
		return nil, "", err
	}
	backend, err = b.serve(ctx, "backend.nginx.conf", settings{Listen: address, Port: port})
	return backend, port, err
}

// loopbackIPs returns n addresses of this machine.
func loopbackIPs(n int) []net.IP {
	ips := make([]net.IP, n)
	for i := range ips {
		ips[i] = net.IPv4(127, 1, byte(i>>8), byte(i))
	}
	return ips
}

// withPort returns the addresses to connect to.
func withPort(ips []net.IP, port string) []string {
	addresses := make([]string, len(ips))
	for i, ip := range ips {
		addresses[i] = net.JoinHostPort(ip.String(), port)
	}
	return addresses
}

// addressesPerName is how many addresses a name has: fewer than fit into one answer, of 64 KiB.
const addressesPerName = 2500

// zone is a name server that knows names with many addresses.
type zone struct {
	ips     []net.IP
	names   []string
	address string
	servers []*dns.Server
	serving sync.WaitGroup
}

// serveZone serves the addresses, under as many names as they need. Answers this long go over TCP.
func serveZone(ctx context.Context, ips []net.IP) (*zone, error) {
	records := make(map[string][]dns.RR)
	z := &zone{ips: ips}
	for i, ip := range ips {
		name := fmt.Sprintf("upstreams%d.test.", i/addressesPerName)
		if records[name] == nil {
			z.names = append(z.names, name)
		}
		header := dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 3600}
		records[name] = append(records[name], &dns.A{Hdr: header, A: ip})
	}
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, question *dns.Msg) {
		reply := new(dns.Msg).SetReply(question)
		reply.Compress = true
		reply.Answer = records[question.Question[0].Name]
		if _, udp := w.RemoteAddr().(*net.UDPAddr); udp {
			reply.Truncate(dns.MinMsgSize)
		}
		_ = w.WriteMsg(reply) // a client that does not get it asks again
	})
	z.address = loopback.Free(ctx)
	packets, err := new(net.ListenConfig).ListenPacket(ctx, "udp", z.address)
	if err != nil {
		return nil, err
	}
	streams, err := new(net.ListenConfig).Listen(ctx, "tcp", z.address)
	if err != nil {
		return nil, errors.Join(err, packets.Close())
	}
	for _, server := range []*dns.Server{{PacketConn: packets, Handler: handler}, {Listener: streams, Handler: handler}} {
		z.servers = append(z.servers, server)
		z.serving.Go(func() { _ = server.ActivateAndServe() }) // until it is stopped
	}
	return z, nil
}

func (z *zone) stop() {
	for _, server := range z.servers {
		_ = server.Shutdown()
	}
	z.serving.Wait()
}
