// Package diagnose walks the way to an address as the proxy would, from its
// name over the connection and TLS to an answer, and says in plain words what
// is wrong there and what to do about it.
package diagnose

import (
	"cmp"
	"context"
	"crypto/x509"
	"net"
	"os"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/cause"
)

// DefaultTimeout bounds each step unless something else is wanted.
const DefaultTimeout = 5 * time.Second

// Walk is how to look at an address. The zero value looks from this machine,
// as the proxy would.
type Walk struct {
	// Timeout bounds each step. Default: 5 seconds.
	Timeout time.Duration
	// Resolver looks names up. Default: that of this machine.
	Resolver *net.Resolver
	// Dial opens connections. Default: that of a [net.Dialer].
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// RootCAs are the authorities to trust. Default: those of this machine.
	RootCAs *x509.CertPool
	// InContainer reports whether this process runs in a container, where
	// localhost is something else than most people think. Default: looks for
	// the marks that container engines leave.
	InContainer func() bool
	// Watch is called with each step when it is done. Default: nobody watches.
	Watch func(Step)
}

// Step is one part of the way.
type Step struct {
	// Name is dns, connect, ports, tls or http.
	Name string `json:"step"`
	// Subject is what was looked at.
	Subject string `json:"subject"`
	// Result is what came of it, or why nothing did.
	Result string `json:"result"`
	// Milliseconds is how long it took.
	Milliseconds float64 `json:"duration_ms"`
	// OK is whether the way goes on from here.
	OK bool `json:"ok"`
}

// Problem is what is wrong, and what to do about it, in a sentence or two each.
type Problem struct {
	// Cause is the same in the words of status and logs. It is empty if nothing
	// is wrong, and for an address that cannot be read.
	Cause cause.Cause `json:"cause,omitempty"`
	// Finding is what is wrong, or that nothing is.
	Finding string `json:"finding"`
	// Advice is what to do. It is empty if there is nothing to do.
	Advice string `json:"advice,omitempty"`

	// harmless is what is worth saying though requests get through.
	harmless bool
}

// Error is the finding and the advice.
func (p *Problem) Error() string { return p.Finding + " " + p.Advice }

// Report is what was found at one address.
type Report struct {
	// Address is what was asked for, without its password.
	Address string `json:"address"`
	// OK is whether requests get through.
	OK bool `json:"ok"`
	// Steps are in the order in which they were taken.
	Steps []Step `json:"steps"`
	Problem
}

// Run walks the way to an address until something is wrong or it has answered.
func (w *Walk) Run(ctx context.Context, address string) Report {
	target, err := Parse(address)
	if err != nil {
		return Report{Address: redacted(address), Steps: []Step{}, Problem: *problemOf(err)}
	}
	v := &visit{
		timeout: cmp.Or(w.Timeout, DefaultTimeout), resolver: w.Resolver, dial: w.Dial, roots: w.RootCAs,
		contained: w.InContainer, watch: w.Watch, target: target, steps: []Step{},
	}
	if v.resolver == nil {
		v.resolver = net.DefaultResolver
	}
	if v.dial == nil {
		v.dial = new(net.Dialer).DialContext
	}
	if v.contained == nil {
		v.contained = func() bool { return inContainer(os.DirFS("/")) }
	}
	p := v.walk(ctx)
	if ctx.Err() != nil {
		p = &Problem{Cause: cause.ClientGone, Finding: "It was stopped before it was done.", Advice: "Run it again and let it finish."}
	}
	return Report{Address: target.String(), OK: p.harmless, Steps: v.steps, Problem: *p}
}

// visit is one walk to one address.
type visit struct {
	timeout   time.Duration
	resolver  *net.Resolver
	dial      func(ctx context.Context, network, address string) (net.Conn, error)
	roots     *x509.CertPool
	contained func() bool
	watch     func(Step)
	target    Target

	steps []Step
	// peer is the address that took a connection.
	peer string
	// partial is what is wrong with the other addresses of the name.
	partial *Problem
	// asked is whether the other side wanted a client certificate.
	asked bool
}

func (v *visit) walk(ctx context.Context) *Problem {
	conn, p := v.connect(ctx)
	if p != nil {
		return p
	}
	heard := newTape(conn)
	defer func() { _ = heard.Close() }()
	if v.target.Scheme != schemeHTTPS {
		return v.ask(ctx, heard, heard)
	}
	secure, p := v.handshake(ctx, heard)
	if p != nil {
		return p
	}
	if secure.ConnectionState().NegotiatedProtocol == protoHTTP2 {
		return v.ask(ctx, secure, nil) // the transport has to see that it is TLS
	}
	heard = newTape(secure)
	return v.ask(ctx, heard, heard)
}

// step takes one step within the time for it, and returns its error.
func (v *visit) step(ctx context.Context, name, subject string, do func(context.Context) (string, error)) error {
	s, err := v.take(ctx, name, subject, do)
	v.record(s)
	return err
}

func (v *visit) take(ctx context.Context, name, subject string, do func(context.Context) (string, error)) (Step, error) {
	ctx, cancel := context.WithTimeout(ctx, v.timeout)
	defer cancel()
	start := time.Now()
	result, err := do(ctx)
	if err != nil {
		result = brief(err)
	}
	return Step{
		Name: name, Subject: printable(subject), Result: printable(result),
		Milliseconds: float64(time.Since(start).Microseconds()) / 1000, OK: err == nil,
	}, err
}

func (v *visit) record(s Step) {
	v.steps = append(v.steps, s)
	if v.watch != nil {
		v.watch(s)
	}
}
