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
)

const (
	// maxBody is how much of an error's body is read, in bytes: its words tell
	// a server with TLS from others.
	maxBody = 4 << 10
	// maxHeader bounds the header, in bytes.
	maxHeader = 1 << 20
)

// errUsed is what a second connection fails with: a request is made once.
var errUsed = errors.New("the connection was closed")

// reply is what came back.
type reply struct {
	status   int
	location string
	body     []byte
}

// ask makes the request over a connection that stands.
func (v *visit) ask(ctx context.Context, conn net.Conn, heard *tape) *Problem {
	var got reply
	secure := v.target.Scheme == schemeHTTPS
	if heard != nil && v.target.Scheme != schemeH2C {
		heard.wanted = beginHTTP
	}
	err := v.step(ctx, "http", "GET "+v.target.URL.Redacted(), func(ctx context.Context) (string, error) {
		resp, err := v.send(ctx, conn)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		got = reply{status: resp.StatusCode, location: resp.Header.Get("Location")}
		if got.status >= http.StatusBadRequest {
			got.body, _ = io.ReadAll(io.LimitReader(resp.Body, maxBody)) // as much as there is
		}
		return fmt.Sprintf("%s (%s)", resp.Status, resp.Proto), nil
	})
	if err != nil {
		return v.unanswered(ctx, heard.heard(), err)
	}
	if !secure && got.status == http.StatusBadRequest && wantsTLS(got.body) {
		return v.speaksTLS()
	}
	last := &v.steps[len(v.steps)-1]
	if last.OK = got.status >= 200 && got.status < 400; !last.OK {
		return v.rejected(got)
	}
	if v.partial != nil {
		return v.partial
	}
	return v.answered(got, last.took())
}

// send makes the request as the proxy's transport does.
func (v *visit) send(ctx context.Context, conn net.Conn) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, v.target.URL.String(), nil)
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
	p.SetUnencryptedHTTP2(v.target.Scheme == schemeH2C)
	p.SetHTTP1(!secure && v.target.Scheme != schemeH2C)
	return p
}

// once hands the connection out, but not again when the transport tries again.
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

// wantsTLS knows what servers say to plain HTTP on a port with TLS: Go and
// Caddy, nginx, Apache, and others.
func wantsTLS(body []byte) bool {
	body = bytes.ToLower(body)
	for _, words := range [...]string{"http request to an https server", "http request was sent to https port", "plain http to an ssl-enabled", "combination of host and port requires tls"} {
		if bytes.Contains(body, []byte(words)) {
			return true
		}
	}
	return false
}

func (v *visit) speaksTLS() *Problem {
	v.steps[len(v.steps)-1].OK = false
	p := problem(cause.HTTPProtocolError, fmt.Sprintf("%s wants TLS, but was spoken to in plain HTTP.", v.target.name()))
	p.Advice = v.write(schemeHTTPS, "tls")
	return p
}

func (v *visit) speaksHTTP2() *Problem {
	p := problem(cause.HTTPProtocolError, fmt.Sprintf("%s speaks HTTP/2 only (h2c).", v.target.name()))
	p.Advice = v.write(schemeH2C, "versions h2c 2")
	return p
}

// write is how the proxy is told to speak otherwise. A socket has no scheme.
func (v *visit) write(scheme, option string) string {
	if v.target.Network == networkUnix {
		return fmt.Sprintf("Write transport http { %s } in reverse_proxy.", option)
	}
	return fmt.Sprintf("Write %s://%s in reverse_proxy, or %s in its transport http.", scheme, v.target.name(), option)
}

// unanswered is the problem when there is no answer that could be understood.
// What the other side said is better evidence than what the client makes of it.
func (v *visit) unanswered(ctx context.Context, said []byte, err error) *Problem {
	if v.asked && !timedOut(err) {
		return v.wantsCertificate()
	}
	if len(said) > 0 {
		return v.misunderstood(said, err)
	}
	at := v.target.name()
	if timedOut(err) {
		return v.ownerOfPort(problem(cause.HTTPResponseTimeout,
			fmt.Sprintf("%s takes connections, but did not answer within %s.", at, in(v.timeout))))
	}
	if v.target.Scheme == schemeHTTP && v.answersH2C(ctx) {
		return v.speaksHTTP2()
	}
	if v.target.Scheme != schemeHTTPS && v.answersTLS(ctx) {
		return v.speaksTLS()
	}
	if c := cause.Of(err); c != cause.ConnectionTerminated && !errors.Is(err, errUsed) {
		return problem(c, fmt.Sprintf("The request to %s failed: %s.", at, printable(brief(err))))
	}
	return v.ownerOfPort(problem(cause.ConnectionTerminated,
		fmt.Sprintf("%s took the request and closed the connection without an answer.", at)))
}

// misunderstood is the problem when something came back that is no answer.
func (v *visit) misunderstood(said []byte, err error) *Problem {
	at, h2c := v.target.name(), v.target.Scheme == schemeH2C
	switch {
	case isTLSAlert(said) && v.target.Scheme != schemeHTTPS:
		return v.speaksTLS()
	case isSettings(said) && !h2c:
		return v.speaksHTTP2()
	case isHTTP(said) && h2c:
		p := problem(cause.HTTPProtocolError, fmt.Sprintf("%s speaks HTTP/1 only, not h2c.", at))
		p.Advice = fmt.Sprintf("Write http://%s, and no h2c in versions of its transport.", at)
		return p
	case isHTTP(said), isSettings(said):
		return problem(cause.Of(err), fmt.Sprintf("%s began to answer, but not to the end: %s.", at, printable(brief(err))))
	default:
		return v.notHTTP(said)
	}
}

func (v *visit) notHTTP(said []byte) *Problem {
	p := problem(cause.HTTPProtocolError, fmt.Sprintf("%s does not speak HTTP: it says %s.", v.target.name(), quote(said)))
	if protocol := protocolOf(said); protocol != "" {
		p.Finding = fmt.Sprintf("%s speaks %s, not HTTP: it says %s.", v.target.name(), protocol, quote(said))
		p.Advice = "Is it the right port? A reverse proxy needs one that speaks HTTP."
	}
	return p
}

// ownerOfPort adds whose port it usually is.
func (v *visit) ownerOfPort(p *Problem) *Problem {
	if owner, ok := portOwners[v.target.Port]; ok {
		p.Advice += fmt.Sprintf(" Port %d is usually that of %s.", v.target.Port, owner)
	}
	return p
}

// answered is for an answer that checks accept.
func (v *visit) answered(got reply, took string) *Problem {
	location, err := url.Parse(got.location)
	if got.status >= 300 && err == nil && strings.EqualFold(location.Scheme, schemeHTTPS) && v.target.Scheme != schemeHTTPS {
		return &Problem{
			harmless: true,
			Finding:  fmt.Sprintf("It answered with status %d in %s, and sends plain requests on to https.", got.status, took),
			Advice:   "Have the app trust X-Forwarded-Proto, which Caddy sends, or visitors go round in circles; for checks, choose a health_uri that does not redirect.",
		}
	}
	return &Problem{
		harmless: true,
		Finding:  fmt.Sprintf("Nothing is wrong that can be seen from here: it answered with status %d in %s.", got.status, took),
	}
}
