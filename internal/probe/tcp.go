package probe

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/cause"
	"github.com/healthpool/caddy-healthpool/internal/health"
)

// TCP checks that an upstream accepts connections. It sends nothing.
type TCP struct {
	// Network is "tcp", "unix" or any other that Dial supports. Default: tcp.
	Network string
	// Address is what to connect to, in the form that Network requires.
	Address string
	// Timeout bounds the check, including name resolution. Default: only the context does.
	Timeout time.Duration
	// Dial opens the connection, and must stop when its context ends. Default: that of a
	// [net.Dialer].
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Probe connects and closes the connection at once. If ctx ends before there is a result,
// the cause is [cause.ClientGone] and the result means nothing.
func (p *TCP) Probe(ctx context.Context) health.Result {
	return run(ctx, p.Timeout, p.check)
}

func (p *TCP) check(ctx context.Context, report func(*failure)) {
	network, dial := p.Network, p.Dial
	if network == "" {
		network = "tcp"
	}
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	conn, err := dial(ctx, network, p.Address)
	if err == nil && conn == nil {
		err = errors.New("the dialer gave neither a connection nor an error")
	}
	if err != nil {
		late := cause.ConnectionTimeout
		if c := cause.Of(err); c == cause.DNSTimeout || c == cause.DNSError {
			late = cause.DNSTimeout
		}
		report(failureOf(ctx, err, late))
		return
	}
	report(nil)
	_ = conn.Close()
}
