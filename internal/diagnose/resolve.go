package diagnose

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/healthpool/caddy-healthpool/internal/cause"
)

// maxAddresses is how many of the addresses of a name are tried.
const maxAddresses = 8

// resolve returns the IP addresses of the target, in the order in which a dialer
// prefers them.
func (v *visit) resolve(ctx context.Context) ([]netip.Addr, *verdict) {
	host := v.target.host
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{ip}, nil
	}
	var ips []netip.Addr
	err := v.step(ctx, "dns", host, func(ctx context.Context) (result string, err error) {
		ips, err = v.resolver.LookupNetIP(ctx, "ip"+strings.TrimPrefix(v.target.network, "tcp"), host)
		for i := range ips {
			ips[i] = ips[i].Unmap()
		}
		return list(ips), err
	})
	if err != nil {
		return nil, dnsProblem(host, err)
	}
	return ips[:min(len(ips), maxAddresses)], nil
}

// list formats the addresses that are tried.
func list(ips []netip.Addr) string {
	shown := make([]string, 0, maxAddresses)
	for _, ip := range ips[:min(len(ips), maxAddresses)] {
		shown = append(shown, ip.String())
	}
	text := strings.Join(shown, ", ")
	if more := len(ips) - len(shown); more > 0 {
		text += fmt.Sprintf(" and %d more, which are not tried", more)
	}
	return text
}

func dnsProblem(host string, err error) *verdict {
	host = printable(host)
	dns, ok := errors.AsType[*net.DNSError](err)
	switch {
	case ok && dns.IsNotFound && host == "host.docker.internal":
		return &verdict{
			cause:   cause.DNSError,
			finding: "The name host.docker.internal does not exist here: with Docker on Linux, it has to be asked for.",
			advice:  "Give Caddy's container the extra host host.docker.internal:host-gateway.",
		}
	case ok && dns.IsNotFound:
		return &verdict{
			cause:   cause.DNSError,
			finding: fmt.Sprintf("The name %s does not resolve: the name servers know no address for it.", host),
			advice:  "Is it spelled right? The name of a container or service is known only in its own network (or namespace): is this machine or container in the same one?",
		}
	case cause.Of(err) == cause.DNSTimeout || ok && strings.Contains(dns.Err, "connection refused"):
		return problem(cause.DNSTimeout, fmt.Sprintf("The name servers do not answer, so %s cannot be looked up.", host))
	default:
		return &verdict{
			cause:   cause.DNSError,
			finding: fmt.Sprintf("The name servers could not look %s up: %s.", host, printable(brief(err))),
			advice:  "That is trouble of theirs: try again soon, and see which ones this machine asks (/etc/resolv.conf).",
		}
	}
}
