package diagnose

import (
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

// tlsConfig is what the proxy's transport uses unless it is told otherwise.
func (v *visit) tlsConfig() *tls.Config {
	return &tls.Config{
		ServerName: v.target.Host,
		RootCAs:    v.roots,
		NextProtos: []string{protoHTTP2, protoHTTP1},
		MinVersion: tls.VersionTLS12,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			v.asked = true
			return new(tls.Certificate), nil // none
		},
	}
}

func (v *visit) handshake(ctx context.Context, heard *tape) (*tls.Conn, *Problem) {
	conn := tls.Client(heard, v.tlsConfig())
	err := v.step(ctx, "tls", v.target.Host, func(ctx context.Context) (string, error) {
		if err := conn.HandshakeContext(ctx); err != nil {
			return "", err
		}
		return describe(conn.ConnectionState()), nil
	})
	if err != nil {
		return nil, v.unsecured(ctx, heard.heard(), err)
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

// namesOf lists what a certificate is for.
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

// unsecured is the problem when there is no handshake.
func (v *visit) unsecured(ctx context.Context, said []byte, err error) *Problem {
	if verification, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return v.untrusted(verification)
	}
	at := v.target.name()
	isTLS := isTLSAlert(said) || len(said) > 0 && said[0] == 0x16
	if isHTTP(said) || !isTLS && v.answersPlain(ctx) {
		p := problem(cause.TLSProtocolError, fmt.Sprintf("%s speaks plain HTTP, not TLS.", at))
		p.Advice = fmt.Sprintf("Write http://%s, and no tls in its transport; or is another port the one with TLS?", at)
		return p
	}
	if len(said) > 0 && !isTLS {
		p := problem(cause.TLSProtocolError, fmt.Sprintf("%s does not speak TLS: it says %s.", at, quote(said)))
		p.Advice = "Is it the right port?"
		return p
	}
	return v.disagreed(err)
}

// disagreed is the problem when both sides speak TLS, as far as is known.
func (v *visit) disagreed(err error) *Problem {
	at, text := v.target.name(), err.Error()
	p := problem(cause.Of(err), fmt.Sprintf("The TLS handshake with %s failed: %s.", at, printable(brief(err))))
	switch {
	case strings.Contains(text, "protocol version"):
		p.Finding = fmt.Sprintf("%s has no version of TLS in common with the proxy, which speaks TLS 1.2 and 1.3.", at)
		p.Advice = "Have the app speak TLS 1.2 or newer."
	case v.asked && !timedOut(err):
		return v.wantsCertificate()
	case strings.Contains(text, "unrecognized name"), strings.Contains(text, "remote error: tls: internal error"):
		p.Finding = fmt.Sprintf("%s seems to have no certificate for the name %s: it broke the handshake off (%s).", at, printable(v.target.Host), brief(err))
		p.Advice = "Name the right one: tls_server_name in transport http."
	case timedOut(err):
		p.Cause = cause.ConnectionTimeout // not even the connection was complete
		p.Finding = fmt.Sprintf("%s takes connections, but did not finish the TLS handshake within %s.", at, in(v.timeout))
		p.Advice = "Does that port speak TLS, and is the app overloaded or stuck?"
	}
	return p
}

func (v *visit) wantsCertificate() *Problem {
	p := problem(cause.TLSAlertReceived, fmt.Sprintf("%s wants a client certificate.", v.target.name()))
	p.Advice = "Give the proxy one: tls_client_auth in transport http."
	return p
}

// untrusted is the problem with a certificate.
func (v *visit) untrusted(err *tls.CertificateVerificationError) *Problem {
	p := problem(cause.TLSCertificateError, "The certificate cannot be trusted: "+printable(err.Err.Error())+".")
	if other, ok := errors.AsType[x509.HostnameError](err.Err); ok {
		names := namesOf(other.Certificate)
		p.Finding = fmt.Sprintf("The certificate is for another name: it is for %s, not for %s.", names, printable(v.target.Host))
		p.Advice = "Use a name that it is for (tls_server_name in transport http does), or get a certificate for this one."
		return p
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err.Err); ok && invalid.Reason == x509.Expired {
		return outdated(invalid.Cert, p)
	}
	if unknown, ok := errors.AsType[x509.UnknownAuthorityError](err.Err); ok {
		return unknownAuthority(err.UnverifiedCertificates, unknown, p)
	}
	return p
}

// outdated is for both ends of the time for which a certificate is valid:
// x509 has one reason for both.
func outdated(cert *x509.Certificate, p *Problem) *Problem {
	if time.Now().Before(cert.NotBefore) {
		p.Finding = fmt.Sprintf("The certificate for %s is not valid yet, only from %s on.", namesOf(cert), cert.NotBefore.UTC().Format(time.RFC1123))
		p.Advice = "Is the clock of this machine right? Else wait, or get another certificate."
		return p
	}
	p.Finding = fmt.Sprintf("The certificate for %s expired on %s.", namesOf(cert), cert.NotAfter.UTC().Format(time.RFC1123))
	p.Advice = "Renew it, and have the app load it. Is the clock of this machine right?"
	return p
}

func unknownAuthority(chain []*x509.Certificate, unknown x509.UnknownAuthorityError, p *Problem) *Problem {
	leaf := unknown.Cert
	if len(chain) > 0 {
		leaf = chain[0]
	}
	if leaf == nil {
		return p
	}
	if leaf.CheckSignature(leaf.SignatureAlgorithm, leaf.RawTBSCertificate, leaf.Signature) == nil {
		p.Finding = fmt.Sprintf("The certificate for %s is self-signed, so nobody vouches for it.", namesOf(leaf))
		p.Advice = "Have Caddy trust it (tls_trust_pool file in transport http), or get one from an authority."
		return p
	}
	p.Finding = fmt.Sprintf("The certificate for %s is from an authority that is unknown here: %s.", namesOf(leaf), printable(leaf.Issuer.String()))
	p.Advice = "Have Caddy trust that authority (tls_trust_pool in transport http). Does the app send the intermediate certificates, too?"
	return p
}

// answersPlain reports whether the peer answers HTTP without TLS. Some servers
// just close or wait when they are given TLS that they do not speak.
func (v *visit) answersPlain(ctx context.Context) bool {
	return v.try(ctx, "http", "the same without TLS", func(conn net.Conn) (string, error) {
		said, err := exchange(conn, "GET / HTTP/1.1\r\nHost: "+v.target.URL.Host+"\r\nConnection: close\r\n\r\n", len(beginHTTP))
		if !isHTTP(said) {
			return "", noneOf(err, "no HTTP")
		}
		return "HTTP", nil
	})
}

// answersTLS reports whether the peer speaks TLS, whatever it has to say.
func (v *visit) answersTLS(ctx context.Context) bool {
	asked := v.asked
	defer func() { v.asked = asked }()
	return v.try(ctx, "tls", "the same with TLS", func(conn net.Conn) (string, error) {
		heard := newTape(conn)
		err := tls.Client(heard, v.tlsConfig()).HandshakeContext(ctx)
		if c := cause.Of(err); err == nil || c == cause.TLSCertificateError || c == cause.TLSAlertReceived || isTLSAlert(heard.heard()) {
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
			return "", noneOf(err, "no HTTP/2")
		}
		return "HTTP/2", nil
	})
}

func noneOf(err error, otherwise string) error {
	if err == nil {
		return errors.New(otherwise)
	}
	return err
}
