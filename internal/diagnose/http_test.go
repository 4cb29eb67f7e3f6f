package diagnose

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/healthpool/caddy-healthpool/internal/badserver"
	"github.com/healthpool/caddy-healthpool/internal/cause"
)

func TestStatuses(t *testing.T) {
	for status, advice := range map[int]string{
		400: "Many apps say that to a Host which they do not know: set health_headers { Host … }, or allow this one in the app.",
		401: "The app wants a login for /path: choose a health_uri that needs none, or let the proxy's address in.",
		403: "The app wants a login for /path: choose a health_uri that needs none, or let the proxy's address in.",
		404: "The app runs, but has no /path: name a path that it has as health_uri, and look here with http://host:port/path.",
		405: "The app does not take GET there: choose another health_uri, or a health_method.",
		418: cause.UnexpectedStatus.Advice(),
		429: "The app limits requests: exempt the proxy, or raise health_interval.",
		500: "The app runs, but fails at this request: its log may tell why.",
		502: "It is a proxy itself, and gets no answer from what is behind it: look there.",
		503: "The app says that it is not ready: is it still starting, in maintenance, or short of something that it needs, such as its database?",
	} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			visited{
				at: app(t, status), address: "http://AT/path", cause: cause.UnexpectedStatus, advice: advice,
				finding: fmt.Sprintf("It answers with status %d %s; health checks expect 200 to 399 unless health_status says otherwise.", status, http.StatusText(status)),
			}.check(t)
		})
	}
}

func TestRedirects(t *testing.T) {
	checkAll(t, []visited{
		{
			name: "to https", at: app(t, http.StatusMovedPermanently, "Location", "https://app.test/"),
			finding: "It answered with status 301 in TIME, and sends plain requests on to https.",
			advice:  "Have the app trust X-Forwarded-Proto, which Caddy sends, or visitors go round in circles; for checks, choose a health_uri that does not redirect.",
		},
		{
			name: "elsewhere", at: app(t, http.StatusFound, "Location", "/login"),
			finding: "Nothing is wrong that can be seen from here: it answered with status 302 in TIME.",
		},
	})
}

func TestOtherProtocols(t *testing.T) {
	a := newAuthority(t)
	secure := func(at, name string) visited {
		return visited{
			name: name, at: at, cause: cause.HTTPProtocolError, finding: "AT wants TLS, but was spoken to in plain HTTP.",
			advice: "Write transport http { tls }; in reverse_proxy, https://AT does the same.",
		}
	}
	socket := filepath.Join(t.TempDir(), "app.sock")
	badserver.ListenAt(t, "unix", socket, tlsOnly(t, a.good()))
	port := "Is it the right port? A reverse proxy needs one that speaks HTTP."
	checkAll(t, []visited{
		secure(secureApp(t, nil, false), "TLS"),
		secure(secureApp(t, &tls.Config{Certificates: []tls.Certificate{a.good()}, ClientAuth: tls.RequireAnyClientCert}, true), "TLS with client certificates"),
		secure(badserver.Listen(t, badserver.Answer("\x15\x03\x01\x00\x02\x02\x46")), "TLS alert"),
		secure(badserver.Listen(t, tlsOnly(t, a.good())), "TLS that hangs up"),
		{
			name: "TLS on a socket", at: socket, address: "unix/AT", cause: cause.HTTPProtocolError,
			finding: socket + " wants TLS, but was spoken to in plain HTTP.",
			advice:  "Write transport http { tls }.",
		},
		{
			name: "SSH", at: badserver.Listen(t, badserver.SpeakFirst("SSH-2.0-OpenSSH_9.6\r\n")), cause: cause.HTTPProtocolError,
			finding: `AT speaks SSH, not HTTP: it says "SSH-2.0-OpenSSH_9.6".`, advice: port,
		},
		{
			name: "SMTP", at: badserver.Listen(t, badserver.SpeakFirst("220 mail.test ESMTP\r\n")), cause: cause.HTTPProtocolError,
			finding: `AT speaks a mail or FTP protocol, not HTTP: it says "220 mail.test ESMTP".`, advice: port,
		},
		{
			name: "Redis", at: badserver.Listen(t, badserver.Answer("-ERR unknown command 'GET'\r\n")), cause: cause.HTTPProtocolError,
			finding: `AT speaks the protocol of Redis, not HTTP: it says "-ERR unknown command 'GET'".`, advice: port,
		},
		{
			name: "PostgreSQL", at: badserver.Listen(t, badserver.Answer("E\x00\x00\x00\x1bSFATAL\x00C08P01\x00\x00")), cause: cause.HTTPProtocolError,
			finding: `AT speaks the protocol of PostgreSQL, not HTTP: it says "E····SFATAL·C08P01··".`, advice: port,
		},
		{
			name: "MySQL", at: badserver.Listen(t, badserver.SpeakFirst("J\x00\x00\x00\x0a8.0.36\x00mysql_native_password\x00")), cause: cause.HTTPProtocolError,
			finding: `AT speaks the protocol of MySQL, not HTTP: it says "J··· 8.0.36·mysql_native_password·".`, advice: port,
		},
		{
			name: "anything", at: badserver.Listen(t, badserver.Answer("what?\x1b[2J\r\n")), cause: cause.HTTPProtocolError,
			finding: `AT does not speak HTTP: it says "what?·[2J".`, advice: "Is it the right port, and does it want TLS or another HTTP version?",
		},
	})
}

func TestHTTP2(t *testing.T) {
	checkAll(t, []visited{
		{
			name: "h2c only", at: h2cApp(t), cause: cause.HTTPProtocolError, finding: "AT speaks HTTP/2 only (h2c).",
			advice: "Write transport http { versions h2c 2 }; in reverse_proxy, h2c://AT does the same.",
		},
		{
			name: "h2c only, and says so", at: badserver.Listen(t, badserver.SpeakFirst("\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x80")), cause: cause.HTTPProtocolError,
			finding: "AT speaks HTTP/2 only (h2c).", advice: "Write transport http { versions h2c 2 }; in reverse_proxy, h2c://AT does the same.",
		},
		{
			name: "no h2c", at: badserver.Listen(t, badserver.Answer("HTTP/1.1 400 Bad Request\r\n\r\n")), address: "h2c://AT", cause: cause.HTTPProtocolError,
			finding: "AT speaks HTTP/1 only, not h2c.", advice: "Leave h2c out of versions in the transport; in reverse_proxy, write http://AT instead of h2c://.",
		},
	})
}

// tlsOnly closes the connection, as many servers do, when it gets anything but TLS.
func tlsOnly(t *testing.T, cert tls.Certificate) func(net.Conn) {
	return func(c net.Conn) {
		secure := tls.Server(silent{c}, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12})
		if secure.HandshakeContext(t.Context()) == nil {
			badserver.Hang(secure)
		}
	}
}

// silent sends no alert in plain text.
type silent struct{ net.Conn }

func (s silent) Write(b []byte) (int, error) {
	if b[0] == 0x15 {
		return len(b), nil
	}
	return s.Conn.Write(b)
}

func TestNoAnswer(t *testing.T) {
	terminated := "Did it crash or restart? Its log may tell."
	postgres := badserver.Listen(t, badserver.HangUp)
	checkAll(t, []visited{
		{
			name: "slow", at: badserver.Listen(t, badserver.Hang), walk: Walk{Timeout: little}, cause: cause.HTTPResponseTimeout,
			finding: "AT takes connections, but did not answer within TIME.", advice: "Is it overloaded or stuck, or is the timeout too short?",
		},
		{
			name: "closes", at: badserver.Listen(t, badserver.HangUp), cause: cause.ConnectionTerminated,
			finding: "AT took the request and closed the connection without an answer.", advice: terminated,
		},
		{
			name: "closes at once", at: badserver.Listen(t, func(net.Conn) {}), cause: cause.ConnectionTerminated,
			finding: "AT took the request and closed the connection without an answer.", advice: terminated,
		},
		{
			name: "PostgreSQL", at: "127.0.0.1:5432", walk: Walk{Dial: dialTo(map[string]any{"127.0.0.1:5432": postgres})}, cause: cause.ConnectionTerminated,
			finding: "AT took the request and closed the connection without an answer.",
			advice:  terminated + " Port PORT is usually that of PostgreSQL.",
		},
		{
			name: "half", at: badserver.Listen(t, badserver.Answer("HTTP/1.1 200")), cause: cause.ConnectionTerminated,
			finding: "AT began to answer, but not to the end: connection closed.", advice: terminated,
		},
		{
			name: "endless header", at: badserver.Listen(t, badserver.Endless("HTTP/1.1 200 OK\r\nA: ", "x")), cause: cause.HTTPProtocolError,
			finding: "AT began to answer, but not to the end: net/http: server response headers exceeded 1048576 bytes; aborted.",
			advice:  "Is it the right port, and does it want TLS or another HTTP version?",
		},
	})
}
