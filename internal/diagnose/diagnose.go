// Package diagnose goes through what the proxy does to reach an address, from resolving
// its name over connect and TLS to the HTTP answer, and says in plain words what is wrong
// and what to do about it.
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

// Walk is how to look at an address. The zero value looks from this machine, as the
// proxy would.
type Walk struct {
	// Timeout bounds each step. Default: 5 seconds.
	Timeout time.Duration
	// Resolver looks names up. Default: that of this machine.
	Resolver *net.Resolver
	// Dial opens connections. Default: that of a [net.Dialer].
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// RootCAs are the authorities to trust. Default: those of this machine.
	RootCAs *x509.CertPool
	// InContainer reports whether this process runs in a container, where localhost is
	// not what most people think. Default: looks for the marks of container engines.
	InContainer func() bool
	// Watch is called with each step when it is done. Default: nothing is called.
	Watch func(Step)
}

// Step is one thing that was tried on the way to an answer.
type Step struct {
	// Name is dns, connect, ports, tls or http.
	Name string `json:"step"`
	// Subject is what was looked at.
	Subject string `json:"subject"`
	// Result is what came of it, or why nothing did.
	Result string `json:"result"`
	// Milliseconds is how long it took.
	Milliseconds float64 `json:"duration_ms"`
	// OK is whether it went as it should.
	OK bool `json:"ok"`
}

// Report is what was found at one address.
type Report struct {
	// Address is what was asked for, without its password.
	Address string `json:"address"`
	// OK is whether requests get through.
	OK bool `json:"ok"`
	// Steps are in the order in which they were taken.
	Steps []Step `json:"steps"`
	// Cause is the problem in the words of status and logs. It is empty if nothing is
	// wrong, and for an address that cannot be read.
	Cause cause.Cause `json:"cause,omitempty"`
	// Finding is what is wrong, or that nothing is.
	Finding string `json:"finding"`
	// Advice is what to do. It is empty if there is nothing to do.
	Advice string `json:"advice,omitempty"`
}

// reportOf makes a report of a verdict.
func reportOf(address string, steps []Step, d *verdict) Report {
	return Report{Address: address, OK: d.ok, Steps: steps, Cause: d.cause, Finding: d.finding, Advice: d.advice}
}

// Run tries to reach an address until something is wrong or there is an answer.
func (w *Walk) Run(ctx context.Context, address string) Report {
	target, problem := parse(address)
	if problem != nil {
		return reportOf(redacted(address), []Step{}, problem)
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
	found := v.walk(ctx)
	if ctx.Err() != nil {
		found = &verdict{cause: cause.ClientGone, finding: "It was stopped before it was done.", advice: "Run it again and let it finish."}
	}
	return reportOf(target.String(), v.steps, found)
}

// visit is one walk to one address.
type visit struct {
	timeout   time.Duration
	resolver  *net.Resolver
	dial      func(ctx context.Context, network, address string) (net.Conn, error)
	roots     *x509.CertPool
	contained func() bool
	watch     func(Step)
	target    target

	steps []Step
	// peer is the address that took a connection.
	peer string
	// partial is what is wrong with the other addresses of the name; nil for nothing.
	partial *verdict
	// asked is whether the other side wanted a client certificate.
	asked bool
}

func (v *visit) walk(ctx context.Context) *verdict {
	conn, p := v.connect(ctx)
	if p != nil {
		return p
	}
	rec := newRecorder(conn)
	defer func() { _ = rec.Close() }()
	if v.target.scheme != schemeHTTPS {
		return v.ask(ctx, rec, rec)
	}
	secure, p := v.handshake(ctx, rec)
	if p != nil {
		return p
	}
	if secure.ConnectionState().NegotiatedProtocol == protoHTTP2 {
		return v.ask(ctx, secure, nil) // the transport has to see that it is TLS
	}
	rec = newRecorder(secure)
	return v.ask(ctx, rec, rec)
}

// step takes and records one step, and returns its error.
func (v *visit) step(ctx context.Context, name, subject string, do func(context.Context) (string, error)) error {
	s, err := v.run(ctx, name, subject, do)
	v.record(s)
	return err
}

// run takes one step within its timeout, and leaves it to the caller to record it.
func (v *visit) run(ctx context.Context, name, subject string, do func(context.Context) (string, error)) (Step, error) {
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

// record keeps a step, and shows it to whoever watches: it must not change after that.
func (v *visit) record(s Step) {
	v.steps = append(v.steps, s)
	if v.watch != nil {
		v.watch(s)
	}
}
