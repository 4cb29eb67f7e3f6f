package diagnose

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/badserver"
	"github.com/healthpool/caddy-healthpool/internal/cause"
)

func TestCertificates(t *testing.T) {
	a := newAuthority(t)
	with := func(cert tls.Certificate) string {
		return secureApp(t, &tls.Config{Certificates: []tls.Certificate{cert}}, false)
	}
	self := newAuthority(t)
	known := Walk{RootCAs: a.pool(), Resolver: resolver(0, map[string][]string{"app.test": {"127.0.0.1"}})}
	strange := Walk{RootCAs: self.pool()}
	good := with(a.good())
	named := with(a.issue("app.test", -time.Hour, time.Hour))
	checkAll(t, []visited{
		{name: "trusted", at: good, address: "https://AT", walk: known, finding: fine},
		{name: "trusted by name", at: named, address: "https://app.test:" + portOf(t, named), walk: known, finding: fine},
		{
			name: "trusted by HTTP/2", at: secureApp(t, &tls.Config{Certificates: []tls.Certificate{a.good()}}, true),
			address: "https://AT/path", walk: known, finding: fine,
		},
		{
			name: "other name", at: named, address: "https://AT", walk: known, cause: cause.TLSCertificateError,
			finding: "The certificate is for another name: it is for app.test, not for 127.0.0.1.",
			advice:  "Use a name that it is for (tls_server_name in transport http does), or get a certificate for this one.",
		},
		{
			name: "expired", at: with(a.issue("127.0.0.1", -2*time.Hour, -time.Hour)), address: "https://AT", walk: known, cause: cause.TLSCertificateError,
			finding: "The certificate for 127.0.0.1 expired on DATE.",
			advice:  "Renew it, and have the app load it. Is the clock of this machine right?",
		},
		{
			name: "not yet valid", at: with(a.issue("127.0.0.1", time.Hour, 2*time.Hour)), address: "https://AT", walk: known, cause: cause.TLSCertificateError,
			finding: "The certificate for 127.0.0.1 is not valid yet, only from DATE on.",
			advice:  "Is the clock of this machine right? Else wait, or get another certificate.",
		},
		{
			name: "unknown authority", at: good, address: "https://AT", walk: strange, cause: cause.TLSCertificateError,
			finding: "The certificate for 127.0.0.1 is from an authority that is unknown here: CN=Test Authority.",
			advice:  "Have Caddy trust that authority (tls_trust_pool in transport http). Does the app send the intermediate certificates, too?",
		},
		{
			name: "self-signed", at: with(selfSigned(a)), address: "https://AT", walk: strange, cause: cause.TLSCertificateError,
			finding: "The certificate for 127.0.0.1 is self-signed, so nobody vouches for it.",
			advice:  "Have Caddy trust it (tls_trust_pool file in transport http), or get one from an authority.",
		},
	})
}

// selfSigned is the usual certificate of a development server.
func selfSigned(a *authority) tls.Certificate {
	leaf := *a
	cert := leaf.good()
	template := *a.cert
	template.IPAddresses, template.IsCA = []net.IP{net.IPv4(127, 0, 0, 1)}, false
	cert.Certificate = [][]byte{leaf.sign(&template, a.key).Raw}
	cert.PrivateKey = a.key
	return cert
}

// config is that of a server with a good certificate.
func (a *authority) config(change func(*tls.Config)) *tls.Config {
	c := &tls.Config{Certificates: []tls.Certificate{a.good()}}
	change(c)
	return c
}

func TestClientCertificates(t *testing.T) {
	a := newAuthority(t)
	config := a.config
	wanting := config(func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert })
	wants := visited{
		address: "https://AT", walk: Walk{RootCAs: a.pool()}, cause: cause.TLSAlertReceived,
		finding: "AT wants a client certificate.", advice: "Give the proxy one: tls_client_auth in transport http.",
	}
	wantsBy := func(name, at string) visited {
		v := wants
		v.name, v.at = name, at
		return v
	}
	nginx := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "400 No required SSL certificate was sent", http.StatusBadRequest)
	}))
	nginx.TLS = config(func(c *tls.Config) { c.ClientAuth = tls.RequestClientCert })
	nginx.StartTLS()
	t.Cleanup(nginx.Close)
	checkAll(t, []visited{
		wantsBy("client certificate", secureApp(t, wanting, false)),
		wantsBy("client certificate by HTTP/2", secureApp(t, wanting, true)),
		wantsBy("client certificate by TLS 1.2", secureApp(t, config(func(c *tls.Config) {
			c.ClientAuth, c.MaxVersion = tls.RequireAnyClientCert, tls.VersionTLS12
		}), false)),
		wantsBy("client certificate by status", nginx.Listener.Addr().String()),
		{
			name: "client certificate if you like", at: secureApp(t, config(func(c *tls.Config) { c.ClientAuth = tls.RequestClientCert }), false),
			address: "https://AT", walk: Walk{RootCAs: a.pool()}, finding: fine,
		},
	})
}

func TestHandshakes(t *testing.T) {
	a := newAuthority(t)
	config := a.config
	plain := visited{
		address: "https://AT", cause: cause.TLSProtocolError, finding: "AT speaks plain HTTP, not TLS.",
		advice: "Leave tls out of the transport; in reverse_proxy, write http://AT instead of https://. Or is another port the one with TLS?",
	}
	plainBy := func(name, at string) visited {
		v := plain
		v.name, v.at, v.walk.Timeout = name, at, time.Second
		return v
	}
	checkAll(t, []visited{
		plainBy("plain", app(t, http.StatusOK)),
		plainBy("plain that hangs up", badserver.Listen(t, plainOnly(true))),
		plainBy("plain that waits", badserver.Listen(t, plainOnly(false))),
		{
			name: "old", at: secureApp(t, config(func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }), false),
			address: "https://AT", cause: cause.TLSAlertReceived,
			finding: "AT has no version of TLS in common with the proxy, which speaks TLS 1.2 and 1.3.", advice: "Have the app speak TLS 1.2 or newer.",
		},
		{
			name: "no certificate", at: secureApp(t, config(func(c *tls.Config) {
				c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, errors.New("no certificate") }
			}), false), address: "https://AT", cause: cause.TLSAlertReceived,
			finding: "AT seems to have no certificate for the name 127.0.0.1: it broke the handshake off (internal error).",
			advice:  "Name the right one: tls_server_name in transport http.",
		},
		{
			name: "SSH", at: badserver.Listen(t, badserver.SpeakFirst("SSH-2.0-OpenSSH_9.6\r\n")), address: "https://AT", cause: cause.TLSProtocolError,
			finding: `AT does not speak TLS: it says "SSH-2.0-OpenSSH_9.6".`, advice: "Is it the right port?",
		},
		{
			name: "silent", at: badserver.Listen(t, badserver.Hang), address: "https://AT", walk: Walk{Timeout: little}, cause: cause.ConnectionTimeout,
			finding: "AT takes connections, but did not finish the TLS handshake within TIME.", advice: "Does that port speak TLS, and is the app overloaded or stuck?",
		},
		{
			name: "alert", at: badserver.Listen(t, badserver.Answer("\x15\x03\x03\x00\x02\x02\x28")), address: "https://AT", cause: cause.TLSAlertReceived,
			finding: "The TLS handshake with AT failed: handshake failure.",
			advice:  "Does it want a client certificate, another server name or another TLS version?",
		},
	})
}

// plainOnly answers HTTP; for anything else it closes the connection, or waits for more.
func plainOnly(hangsUp bool) func(net.Conn) {
	return func(c net.Conn) {
		b := make([]byte, 4096)
		n, _ := c.Read(b)
		switch {
		case strings.HasPrefix(string(b[:n]), "GET "):
			_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
		case !hangsUp:
			badserver.Hang(c)
		}
	}
}
