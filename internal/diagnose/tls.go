package diagnose

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/cause"
)

const (
	protoHTTP1 = "http/1.1"
	protoHTTP2 = "h2"
)

// tlsConfig is the default of the proxy's transport.
func (v *visit) tlsConfig() *tls.Config {
	return &tls.Config{
		ServerName: v.target.host,
		RootCAs:    v.roots,
		NextProtos: []string{protoHTTP2, protoHTTP1},
		MinVersion: tls.VersionTLS12,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			v.asked = true
			return new(tls.Certificate), nil // none
		},
	}
}

func (v *visit) handshake(ctx context.Context, rec *recorder) (*tls.Conn, *verdict) {
	conn := tls.Client(rec, v.tlsConfig())
	err := v.step(ctx, "tls", v.target.host, func(ctx context.Context) (string, error) {
		if err := conn.HandshakeContext(ctx); err != nil {
			return "", err
		}
		return describe(conn.ConnectionState()), nil
	})
	if err != nil {
		return nil, v.tlsProblem(ctx, rec.recorded(), err)
	}
	return conn, nil
}

func describe(state tls.ConnectionState) string {
	text := tls.VersionName(state.Version)
	if state.NegotiatedProtocol != "" {
		text += ", " + state.NegotiatedProtocol
	}
	return text + ", certificate until " + state.PeerCertificates[0].NotAfter.UTC().Format(time.DateOnly)
}

// namesOf lists the names in a certificate.
func namesOf(cert *x509.Certificate) string {
	const most = 5
	names := make([]string, 0, len(cert.DNSNames)+len(cert.IPAddresses))
	names = append(names, cert.DNSNames...)
	for _, ip := range cert.IPAddresses {
		names = append(names, ip.String())
	}
	switch {
	case len(names) == 0:
		return "no name at all"
	case len(names) > most:
		return printable(fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most))
	default:
		return printable(strings.Join(names, ", "))
	}
}

// tlsProblem is the verdict when the handshake fails.
func (v *visit) tlsProblem(ctx context.Context, said []byte, err error) *verdict {
	if verification, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return v.certificateProblem(verification)
	}
	at := v.target.name()
	isTLS := isTLSAlert(said) || isTLSHandshake(said)
	if isHTTP(said) || !isTLS && v.answersPlain(ctx) {
		p := problem(cause.TLSProtocolError, fmt.Sprintf("%s speaks plain HTTP, not TLS.", at))
		p.advice = fmt.Sprintf("Leave tls out of the transport; in reverse_proxy, write http://%s instead of https://. Or is another port the one with TLS?", at)
		return p
	}
	if len(said) > 0 && !isTLS {
		p := problem(cause.TLSProtocolError, fmt.Sprintf("%s does not speak TLS: it says %s.", at, quote(said)))
		p.advice = "Is it the right port?"
		return p
	}
	return v.handshakeProblem(err)
}

// handshakeProblem is the verdict when both sides speak TLS, as far as is known.
func (v *visit) handshakeProblem(err error) *verdict {
	at, text := v.target.name(), err.Error()
	p := problem(cause.Of(err), fmt.Sprintf("The TLS handshake with %s failed: %s.", at, printable(brief(err))))
	switch {
	case strings.Contains(text, "protocol version"):
		p.finding = fmt.Sprintf("%s has no version of TLS in common with the proxy, which speaks TLS 1.2 and 1.3.", at)
		p.advice = "Have the app speak TLS 1.2 or newer."
	case v.asked && !timedOut(err):
		return v.clientCertificateProblem()
	case strings.Contains(text, "unrecognized name"), strings.Contains(text, "remote error: tls: internal error"):
		p.finding = fmt.Sprintf("%s seems to have no certificate for the name %s: it broke the handshake off (%s).", at, printable(v.target.host), brief(err))
		p.advice = "Name the right one: tls_server_name in transport http."
	case timedOut(err):
		p.cause = cause.ConnectionTimeout // not even the connection was complete
		p.finding = fmt.Sprintf("%s takes connections, but did not finish the TLS handshake within %s.", at, formatDuration(v.timeout))
		p.advice = "Does that port speak TLS, and is the app overloaded or stuck?"
	}
	return p
}

func (v *visit) clientCertificateProblem() *verdict {
	p := problem(cause.TLSAlertReceived, fmt.Sprintf("%s wants a client certificate.", v.target.name()))
	p.advice = "Give the proxy one: tls_client_auth in transport http."
	return p
}

// certificateProblem is the verdict on a certificate that does not verify.
func (v *visit) certificateProblem(err *tls.CertificateVerificationError) *verdict {
	p := problem(cause.TLSCertificateError, "The certificate cannot be trusted: "+printable(err.Err.Error())+".")
	if other, ok := errors.AsType[x509.HostnameError](err.Err); ok {
		names := namesOf(other.Certificate)
		p.finding = fmt.Sprintf("The certificate is for another name: it is for %s, not for %s.", names, printable(v.target.host))
		p.advice = "Use a name that it is for (tls_server_name in transport http does), or get a certificate for this one."
		return p
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err.Err); ok && invalid.Reason == x509.Expired {
		return validityProblem(invalid.Cert, p)
	}
	if unknown, ok := errors.AsType[x509.UnknownAuthorityError](err.Err); ok {
		return authorityProblem(err.UnverifiedCertificates, unknown, p)
	}
	return p
}

// validityProblem is the verdict on a certificate that has expired or is not valid yet:
// x509 has one reason for both.
func validityProblem(cert *x509.Certificate, p *verdict) *verdict {
	if time.Now().Before(cert.NotBefore) {
		p.finding = fmt.Sprintf("The certificate for %s is not valid yet, only from %s on.", namesOf(cert), cert.NotBefore.UTC().Format(time.RFC1123))
		p.advice = "Is the clock of this machine right? Else wait, or get another certificate."
		return p
	}
	p.finding = fmt.Sprintf("The certificate for %s expired on %s.", namesOf(cert), cert.NotAfter.UTC().Format(time.RFC1123))
	p.advice = "Renew it, and have the app load it. Is the clock of this machine right?"
	return p
}

// authorityProblem is the verdict on a certificate from an authority that is not trusted.
func authorityProblem(chain []*x509.Certificate, unknown x509.UnknownAuthorityError, p *verdict) *verdict {
	leaf := unknown.Cert
	if len(chain) > 0 {
		leaf = chain[0]
	}
	if leaf == nil {
		return p
	}
	if leaf.CheckSignature(leaf.SignatureAlgorithm, leaf.RawTBSCertificate, leaf.Signature) == nil {
		p.finding = fmt.Sprintf("The certificate for %s is self-signed, so nobody vouches for it.", namesOf(leaf))
		p.advice = "Have Caddy trust it (tls_trust_pool file in transport http), or get one from an authority."
		return p
	}
	p.finding = fmt.Sprintf("The certificate for %s is from an authority that is unknown here: %s.", namesOf(leaf), printable(leaf.Issuer.String()))
	p.advice = "Have Caddy trust that authority (tls_trust_pool in transport http). Does the app send the intermediate certificates, too?"
	return p
}

// answersPlain reports whether the peer answers HTTP without TLS. Some servers that do
// not speak TLS just close the connection or wait when they get it.
func (v *visit) answersPlain(ctx context.Context) bool {
	return v.try(ctx, "http", "the same without TLS", func(conn net.Conn) (string, error) {
		said, err := exchange(conn, "GET / HTTP/1.1\r\nHost: "+v.target.url.Host+"\r\nConnection: close\r\n\r\n", len(beginHTTP))
		if !isHTTP(said) {
			return "", cmp.Or(err, errors.New("no HTTP"))
		}
		return "HTTP", nil
	})
}

// answersTLS reports whether the peer speaks TLS, even if the handshake fails.
func (v *visit) answersTLS(ctx context.Context) bool {
	asked := v.asked
	defer func() { v.asked = asked }()
	return v.try(ctx, "tls", "the same with TLS", func(conn net.Conn) (string, error) {
		rec := newRecorder(conn)
		err := tls.Client(rec, v.tlsConfig()).HandshakeContext(ctx)
		if c := cause.Of(err); err == nil || c == cause.TLSCertificateError || c == cause.TLSAlertReceived || isTLSAlert(rec.recorded()) {
			return "TLS", nil
		}
		return "", err
	})
}

// answersH2C reports whether the peer speaks HTTP/2 without TLS.
func (v *visit) answersH2C(ctx context.Context) bool {
	return v.try(ctx, "http", "the same with HTTP/2", func(conn net.Conn) (string, error) {
		const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
		said, err := exchange(conn, preface, frameHead)
		if !isSettings(said) {
			return "", cmp.Or(err, errors.New("no HTTP/2"))
		}
		return "HTTP/2", nil
	})
}
