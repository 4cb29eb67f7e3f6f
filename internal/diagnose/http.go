package diagnose

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/healthpool/caddy-healthpool/internal/cause"
	"github.com/healthpool/caddy-healthpool/internal/plain"
)

const (
	// maxBody is how much of the body of an error is read, in bytes: its words show
	// whether the server wants TLS.
	maxBody = 4 << 10
	// maxHeader bounds the header, in bytes.
	maxHeader = 1 << 20
)

// errUsed is the error of a second dial: a request is made once.
var errUsed = errors.New("the connection was closed")

// reply is what came back.
type reply struct {
	status   int
	location string
	body     []byte
}

// accepted reports whether health checks accept the status, unless they are told otherwise.
func (r reply) accepted() bool { return r.status >= 200 && r.status < 400 }

// ask makes the request over a connection. The recorder has what came back on it, and is
// nil if nothing is recorded.
func (v *visit) ask(ctx context.Context, conn net.Conn, rec *recorder) *verdict {
	if rec != nil && v.target.scheme != schemeH2C {
		rec.wanted = beginHTTP
	}
	var got reply
	step, err := v.run(ctx, "http", "GET "+v.target.url.Redacted(), func(ctx context.Context) (result string, err error) {
		got, result, err = v.request(ctx, conn)
		return result, err
	})
	step.OK = err == nil && got.accepted()
	v.record(step)
	switch {
	case err != nil:
		return v.noAnswerProblem(ctx, rec.recorded(), err)
	case v.target.scheme != schemeHTTPS && got.status == http.StatusBadRequest && wantsTLS(got.body):
		return v.wantsTLSProblem()
	case !step.OK:
		return v.statusProblem(got)
	case v.partial != nil:
		return v.partial
	}
	return v.answerVerdict(got, step)
}

// request makes the request and reads the answer; result is its status line.
func (v *visit) request(ctx context.Context, conn net.Conn) (got reply, result string, err error) {
	resp, err := v.send(ctx, conn)
	if err != nil {
		return got, "", err
	}
	defer resp.Body.Close()
	got = reply{status: resp.StatusCode, location: resp.Header.Get("Location")}
	if got.status >= http.StatusBadRequest {
		got.body, _ = io.ReadAll(io.LimitReader(resp.Body, maxBody)) // as much as there is
	}
	return got, fmt.Sprintf("%s (%s)", resp.Status, resp.Proto), nil
}

// send makes the request as the proxy's transport does.
func (v *visit) send(ctx context.Context, conn net.Conn) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, v.target.url.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("making the request: %w", err)
	}
	req.Header.Set("User-Agent", "caddy-healthpool-diagnose")
	dial := once(conn)
	transport := &http.Transport{
		Protocols: v.protocols(conn), DialContext: dial, DialTLSContext: dial,
		DisableCompression: true, MaxResponseHeaderBytes: maxHeader,
	}
	return transport.RoundTrip(req)
}

func (v *visit) protocols(conn net.Conn) *http.Protocols {
	p := new(http.Protocols)
	_, secure := conn.(*tls.Conn)
	p.SetHTTP2(secure)
	p.SetUnencryptedHTTP2(v.target.scheme == schemeH2C)
	p.SetHTTP1(!secure && v.target.scheme != schemeH2C)
	return p
}

// once returns a dialer that hands out the connection once: the transport must not
// retry on another one.
func once(conn net.Conn) func(context.Context, string, string) (net.Conn, error) {
	ready := make(chan net.Conn, 1)
	ready <- conn
	return func(context.Context, string, string) (net.Conn, error) {
		select {
		case conn := <-ready:
			return conn, nil
		default:
			return nil, errUsed
		}
	}
}

// wantsTLS recognizes what servers say to plain HTTP on a TLS port: Go and Caddy, nginx,
// Apache, and others.
func wantsTLS(body []byte) bool {
	body = bytes.ToLower(body)
	for _, words := range [...]string{"http request to an https server", "http request was sent to https port", "plain http to an ssl-enabled", "combination of host and port requires tls"} {
		if bytes.Contains(body, []byte(words)) {
			return true
		}
	}
	return false
}

func (v *visit) wantsTLSProblem() *verdict {
	p := problem(cause.HTTPProtocolError, fmt.Sprintf("%s wants TLS, but was spoken to in plain HTTP.", v.target.name()))
	p.advice = v.protocolAdvice(schemeHTTPS, "tls")
	return p
}

func (v *visit) http2OnlyProblem() *verdict {
	p := problem(cause.HTTPProtocolError, fmt.Sprintf("%s speaks HTTP/2 only (h2c).", v.target.name()))
	p.advice = v.protocolAdvice(schemeH2C, "versions h2c 2")
	return p
}

// protocolAdvice says how to have the proxy speak another protocol. A socket has no scheme,
// and healthpool takes none.
func (v *visit) protocolAdvice(scheme, option string) string {
	if v.target.network == networkUnix {
		return fmt.Sprintf("Write transport http { %s }.", option)
	}
	return fmt.Sprintf("Write transport http { %s }; in reverse_proxy, %s://%s does the same.", option, scheme, v.target.name())
}

// noAnswerProblem is the verdict when there is no answer that could be understood. What
// the other side said is better evidence than the error that the client makes of it.
func (v *visit) noAnswerProblem(ctx context.Context, said []byte, err error) *verdict {
	if v.asked && !timedOut(err) {
		return v.clientCertificateProblem()
	}
	if len(said) > 0 {
		return v.protocolProblem(said, err)
	}
	at := v.target.name()
	if timedOut(err) {
		return v.withPortOwner(problem(cause.HTTPResponseTimeout,
			fmt.Sprintf("%s takes connections, but did not answer within %s.", at, formatDuration(v.timeout))))
	}
	if v.target.scheme == schemeHTTP && v.answersH2C(ctx) {
		return v.http2OnlyProblem()
	}
	if v.target.scheme != schemeHTTPS && v.answersTLS(ctx) {
		return v.wantsTLSProblem()
	}
	if c := cause.Of(err); c != cause.ConnectionTerminated && !errors.Is(err, errUsed) {
		return problem(c, fmt.Sprintf("The request to %s failed: %s.", at, printable(brief(err))))
	}
	return v.withPortOwner(problem(cause.ConnectionTerminated,
		fmt.Sprintf("%s took the request and closed the connection without an answer.", at)))
}

// protocolProblem is the verdict when something came back that is no answer.
func (v *visit) protocolProblem(said []byte, err error) *verdict {
	at, h2c := v.target.name(), v.target.scheme == schemeH2C
	switch {
	case isTLSAlert(said) && v.target.scheme != schemeHTTPS:
		return v.wantsTLSProblem()
	case isSettings(said) && !h2c:
		return v.http2OnlyProblem()
	case isHTTP(said) && h2c:
		p := problem(cause.HTTPProtocolError, fmt.Sprintf("%s speaks HTTP/1 only, not h2c.", at))
		p.advice = fmt.Sprintf("Leave h2c out of versions in the transport; in reverse_proxy, write http://%s instead of h2c://.", at)
		return p
	case isHTTP(said), isSettings(said):
		return problem(cause.Of(err), fmt.Sprintf("%s began to answer, but not to the end: %s.", at, printable(brief(err))))
	default:
		return v.notHTTPProblem(said)
	}
}

func (v *visit) notHTTPProblem(said []byte) *verdict {
	p := problem(cause.HTTPProtocolError, fmt.Sprintf("%s does not speak HTTP: it says %s.", v.target.name(), quote(said)))
	if protocol := protocolOf(said); protocol != "" {
		p.finding = fmt.Sprintf("%s speaks %s, not HTTP: it says %s.", v.target.name(), protocol, quote(said))
		p.advice = "Is it the right port? A reverse proxy needs one that speaks HTTP."
	}
	return p
}

// withPortOwner adds whose port it usually is.
func (v *visit) withPortOwner(p *verdict) *verdict {
	if owner, ok := portOwners[v.target.port]; ok {
		p.advice += fmt.Sprintf(" Port %d is usually that of %s.", v.target.port, owner)
	}
	return p
}

// answerVerdict is the verdict on an answer that health checks accept.
func (v *visit) answerVerdict(got reply, step Step) *verdict {
	took := plain.Milliseconds(step.Milliseconds)
	location, err := url.Parse(got.location)
	if got.status >= 300 && err == nil && strings.EqualFold(location.Scheme, schemeHTTPS) && v.target.scheme != schemeHTTPS {
		return &verdict{
			ok:      true,
			finding: fmt.Sprintf("It answered with status %d in %s, and sends plain requests on to https.", got.status, took),
			advice:  "Have the app trust X-Forwarded-Proto, which Caddy sends, or visitors go round in circles; for checks, choose a health_uri that does not redirect.",
		}
	}
	return &verdict{
		ok:      true,
		finding: fmt.Sprintf("Nothing is wrong that can be seen from here: it answered with status %d in %s.", got.status, took),
	}
}
