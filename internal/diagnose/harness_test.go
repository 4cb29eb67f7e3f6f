package diagnose

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"
)

const (
	// plenty is a timeout that is reached only when a test fails.
	plenty = 30 * time.Second
	// little is a timeout that tests mean to reach.
	little = 500 * time.Millisecond
)

func no() bool  { return false }
func yes() bool { return true }

// app is the host and port of a server that answers with this status.
func app(t testing.TB, status int, header ...string) string {
	t.Helper()
	s := httptest.NewServer(answers(status, header...))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func answers(status int, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
	}
}

// secureApp is the host and port of a server with TLS.
func secureApp(t testing.TB, config *tls.Config, h2 bool) string {
	t.Helper()
	s := httptest.NewUnstartedServer(answers(http.StatusOK))
	s.TLS, s.EnableHTTP2 = config, h2
	s.Config.ErrorLog = quiet
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// authority makes certificates.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{t: t, key: key}
	a.cert = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test Authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.cert = a.sign(a.cert, key)
	return a
}

func (a *authority) sign(template *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	a.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert
}

// issue makes a certificate for a name, valid from and until so long from now.
func (a *authority) issue(name string, from, until time.Duration) tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "leaf"},
		NotBefore: time.Now().Add(from), NotAfter: time.Now().Add(until),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if ip := net.ParseIP(name); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{name}
	}
	return tls.Certificate{Certificate: [][]byte{a.sign(template, key).Raw}, PrivateKey: key}
}

// good is a certificate for 127.0.0.1.
func (a *authority) good() tls.Certificate { return a.issue("127.0.0.1", -time.Hour, time.Hour) }

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// resolver is a name server in the process. Names that it does not know do not
// exist; a code other than 0 is its answer to everything.
func resolver(code byte, names map[string][]string) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer server.Close()
			var size [2]byte
			for {
				if _, err := io.ReadFull(server, size[:]); err != nil {
					return
				}
				query := make([]byte, binary.BigEndian.Uint16(size[:]))
				if _, err := io.ReadFull(server, query); err != nil {
					return
				}
				reply := resolve(query, code, names) // of less than 256 bytes
				if _, err := server.Write(append([]byte{0, byte(len(reply) & 0xff)}, reply...)); err != nil {
					return
				}
			}
		}()
		return client, nil
	}}
}

// resolve answers a query as RFC 1035 has it.
func resolve(query []byte, code byte, names map[string][]string) []byte {
	const head = 12
	name, end := "", head
	for query[end] != 0 {
		next := end + 1 + int(query[end])
		name += string(query[end+1:next]) + "."
		end = next
	}
	end += 5
	kind := binary.BigEndian.Uint16(query[end-4:])
	ips, known := names[strings.TrimSuffix(name, ".")]
	if !known && code == 0 {
		code = 3 // no such name
	}
	reply := append([]byte{query[0], query[1], 0x84, code, 0, 1, 0, 0, 0, 0, 0, 0}, query[head:end]...)
	for _, text := range ips {
		ip := netip.MustParseAddr(text)
		if ip.Is4() != (kind == 1) {
			continue
		}
		reply[7]++
		reply = append(reply, 0xc0, head)
		reply = binary.BigEndian.AppendUint16(reply, kind)
		bits := ip.AsSlice()
		reply = append(reply, 0, 1, 0, 0, 0, 60, 0, byte(len(bits)&0xff))
		reply = append(reply, bits...)
	}
	return reply
}

// dialTo is a dialer that maps addresses to other addresses, or to errors to fail with.
// Addresses that are not in the map are dialed as they are.
func dialTo(where map[string]any) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		switch to := where[address].(type) {
		case string:
			address = to
		case error:
			if errors.Is(to, context.DeadlineExceeded) {
				<-ctx.Done()
			}
			return nil, &net.OpError{Op: "dial", Net: network, Err: to}
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}
}

func portOf(t testing.TB, address string) string {
	t.Helper()
	u, err := url.Parse("http://" + address)
	if err != nil {
		t.Fatal(err)
	}
	return u.Port()
}
