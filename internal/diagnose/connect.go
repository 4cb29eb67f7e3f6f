package diagnose

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/cause"
	"github.com/healthpool/caddy-healthpool/internal/plain"
)

// usualPorts are where apps often listen.
var usualPorts = [...]uint16{80, 443, 3000, 5000, 8000, 8080, 9000}

// portTimeout bounds the look at the usual ports: a host that refuses one port at once
// accepts another as quickly.
const portTimeout = time.Second

// attempt is the attempt to connect to one address.
type attempt struct {
	ip   netip.Addr
	conn net.Conn
	step Step
	err  error
}

// connect connects to all addresses of the target, and returns the first connection.
func (v *visit) connect(ctx context.Context) (net.Conn, *verdict) {
	if v.target.network == networkUnix {
		return v.connectSocket(ctx)
	}
	ips, p := v.resolve(ctx)
	if p != nil {
		return nil, p
	}
	var up, down []*attempt
	for _, a := range v.tryAll(ctx, ips) {
		if v.record(a.step); a.err != nil {
			down = append(down, a)
			continue
		}
		up = append(up, a)
	}
	if len(up) == 0 {
		return nil, v.connectProblem(ctx, down)
	}
	for _, a := range up[1:] {
		_ = a.conn.Close()
	}
	v.peer = v.target.address(up[0].ip)
	v.partial = v.partialProblem(up, down)
	return up[0].conn, nil
}

// tryAll tries all addresses at the same time, so that together they take no longer
// than one.
func (v *visit) tryAll(ctx context.Context, ips []netip.Addr) []*attempt {
	attempts := make([]*attempt, len(ips))
	var wg sync.WaitGroup
	for i, ip := range ips {
		a := &attempt{ip: ip}
		attempts[i] = a
		wg.Go(func() {
			a.step, a.err = v.run(ctx, "connect", v.target.address(ip), func(ctx context.Context) (_ string, err error) {
				a.conn, err = v.dial(ctx, "tcp", v.target.address(ip))
				return "", err
			})
		})
	}
	wg.Wait()
	return attempts
}

// redial opens one more connection to the address that took one.
func (v *visit) redial(ctx context.Context) (net.Conn, error) {
	if v.target.network == networkUnix {
		return v.dial(ctx, networkUnix, v.target.host)
	}
	return v.dial(ctx, "tcp", v.peer)
}

// dialingCause is [cause.Of] for connects, where EADDRNOTAVAIL means that this machine
// lacks the address family.
func dialingCause(err error) cause.Cause {
	if errors.Is(err, syscall.EADDRNOTAVAIL) {
		return cause.DestinationIPUnroutable
	}
	return cause.Of(err)
}

// connectProblem is the verdict when no address takes connections. If they fail for
// different reasons, the most significant one decides.
func (v *visit) connectProblem(ctx context.Context, down []*attempt) *verdict {
	worst := slices.MinFunc(down, func(a, b *attempt) int { return significance(a.err) - significance(b.err) })
	at := v.target.address(worst.ip)
	switch c := dialingCause(worst.err); c {
	case cause.ConnectionRefused:
		return v.refusedProblem(ctx, worst.ip)
	case cause.ConnectionTimeout:
		return problem(c, fmt.Sprintf("%s does not take connections: no reply at all came within %s.", at, formatDuration(v.timeout)))
	case cause.DestinationIPUnroutable:
		return v.unroutableProblem(down)
	default:
		return problem(c, fmt.Sprintf("No connection to %s comes about: %s.", at, printable(brief(worst.err))))
	}
}

// significance ranks errors: the lower, the more an error says.
func significance(err error) int {
	order := []cause.Cause{cause.ConnectionRefused, cause.ConnectionTimeout, cause.ConnectionTerminated, cause.ProxyInternalError}
	if i := slices.Index(order, dialingCause(err)); i >= 0 {
		return i
	}
	return len(order)
}

func (v *visit) unroutableProblem(down []*attempt) *verdict {
	p := problem(cause.DestinationIPUnroutable, fmt.Sprintf("There is no way to %s from here.", down[0].ip))
	named := v.target.host != down[0].ip.String()
	if family := familyOf(down); named && family != "" {
		p.finding = fmt.Sprintf("%s has only %s addresses, and there is no way to them by %s from here.", printable(v.target.host), family, family)
		p.advice = fmt.Sprintf("Give this machine (or container network) %s, or the name an address of the other family.", family)
	}
	return p
}

// familyOf returns IPv4 or IPv6 if all attempts are of that family, else "".
func familyOf(attempts []*attempt) string {
	family := func(a *attempt) string {
		if a.ip.Is4() {
			return "IPv4"
		}
		return "IPv6"
	}
	first := family(attempts[0])
	if slices.ContainsFunc(attempts, func(a *attempt) bool { return family(a) != first }) {
		return ""
	}
	return first
}

// refusedProblem distinguishes three mistakes that look the same: the wrong container,
// the wrong port, and an app that is not running.
func (v *visit) refusedProblem(ctx context.Context, ip netip.Addr) *verdict {
	p := problem(cause.ConnectionRefused, fmt.Sprintf("Nothing listens on port %d of %s.", v.target.port, printable(v.target.host)))
	local := ip.IsLoopback() || ip.IsUnspecified()
	if local && v.contained() {
		p.finding = fmt.Sprintf("Nothing listens on port %d of this container: inside a container, %s is the container itself.", v.target.port, printable(v.target.host))
		p.advice = fmt.Sprintf("For an app in another container, write the name of its service, such as app:%d; for one on the host, host.docker.internal:%d.", v.target.port, v.target.port)
		return p
	}
	if open := v.openPorts(ctx, ip); len(open) > 0 {
		ports, those := "port "+joinPorts(open), "it"
		if len(open) > 1 {
			ports, those = "ports "+joinPorts(open), "one of them"
		}
		p.finding = fmt.Sprintf("Nothing listens on port %d of %s, but something does on %s.", v.target.port, printable(v.target.host), ports)
		p.advice = fmt.Sprintf("Is it the wrong port? If the app listens on %s, write that; if not, is the app running?", those)
		return p
	}
	if !local {
		p.advice += " It must listen on all addresses (0.0.0.0), not only on its own localhost."
	}
	return p
}

// openPorts returns the usual ports that take connections at ip.
func (v *visit) openPorts(ctx context.Context, ip netip.Addr) (open []uint16) {
	_ = v.step(ctx, "ports", ip.String(), func(ctx context.Context) (string, error) {
		ctx, cancel := context.WithTimeout(ctx, portTimeout)
		defer cancel()
		var taken [len(usualPorts)]bool
		var wg sync.WaitGroup
		for i, port := range usualPorts {
			if port == v.target.port {
				continue
			}
			wg.Go(func() {
				conn, err := v.dial(ctx, "tcp", netip.AddrPortFrom(ip, port).String())
				if taken[i] = err == nil; err == nil {
					_ = conn.Close()
				}
			})
		}
		wg.Wait()
		for i, port := range usualPorts {
			if taken[i] {
				open = append(open, port)
			}
		}
		if len(open) == 0 {
			return "", errors.New("none of the usual ports is open either")
		}
		return joinPorts(open) + " open", nil
	})
	return open
}

func joinPorts(ports []uint16) string {
	text := make([]string, len(ports))
	for i, port := range ports {
		text[i] = strconv.Itoa(int(port))
	}
	return plain.List(text)
}

// partialProblem is the verdict when only some addresses take connections, or nil. An
// address family that fails at once costs nothing, since dialers try the other one.
func (v *visit) partialProblem(up, down []*attempt) *verdict {
	if len(down) == 0 {
		return nil
	}
	first := down[0]
	c, at, host := dialingCause(first.err), v.target.address(first.ip), printable(v.target.host)
	works, fails := familyOf(up), familyOf(down)
	p := problem(c, "")
	switch byFamily := works != "" && fails != "" && works != fails; {
	case byFamily && c == cause.DestinationIPUnroutable:
		return nil
	case byFamily && c == cause.ConnectionRefused:
		p.finding = fmt.Sprintf("%s takes connections by %s only: nothing listens on %s.", host, works, at)
		p.advice = fmt.Sprintf("Caddy tries both, so requests get through; others may not. Write %s instead, or have the app listen on both.", v.peer)
		p.ok = true
	case byFamily:
		p.finding = fmt.Sprintf("%s takes connections by %s only: by %s, %s did not reply (%s).", host, works, fails, at, printable(brief(first.err)))
		p.advice = fmt.Sprintf("Each new connection may have to wait for that. Write %s instead, or open the way by %s.", v.peer, fails)
	default:
		p.finding = fmt.Sprintf("Only %d of %d addresses of %s take connections: %s does not (%s).",
			len(up), len(up)+len(down), host, at, printable(brief(first.err)))
	}
	return p
}
