package healthpool_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// untrustedCertificate returns an untrusted certificate with the name of a trusted one, that of
// httptest.
func untrustedCertificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{Organization: []string{"Acme Co"}},
		NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// TestCheckTCPOverTLS has an app that accepts every connection but changes its certificate:
// a check that only connects would miss it.
func TestCheckTCPOverTLS(t *testing.T) {
	var strangely atomic.Bool
	other := &tls.Config{Certificates: []tls.Certificate{untrustedCertificate(t)}, MinVersion: tls.VersionTLS12}
	addr, certificate := tlsBackend(t, "hello", func(server *httptest.Server) {
		server.TLS.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
			if strangely.Load() {
				return other, nil
			}
			return nil, nil // nil: the server's own
		}
	})
	s := run(t, "healthpool "+addr+" {\nhealth_interval 20ms\nhealth_fails 1000\ntransport http {\ntls_trust_pool file "+certificate+"\n}\n}")
	s.awaitPool("up")
	if got := s.get("/"); got.body != "hello" {
		t.Errorf("got %d %q", got.status, got.body)
	}
	strangely.Store(true)
	s.awaitPool("down")
	u := s.upstream(addr)
	expect(t, u, map[string]bool{
		"cause": u.Cause == "tls_certificate_error", "advice": u.Advice != "",
		"history": strings.Count(u.History, "P") > 0 && strings.Contains(u.History, "PF"),
	})
	await(t, "it is logged", func() bool { return len(s.logged(said("upstream is unhealthy"))) > 0 })
	if lines := s.logged(said("upstream is unhealthy")); len(lines) != 1 || lines[0]["fails"] != 1.0 {
		t.Errorf("it must be out at once: %v", lines)
	}
	strangely.Store(false)
	s.awaitPool("up")
}

// TestTrustedCAIsPartOfThePool has two proxies trust different CAs for the same app: the
// one that trusts the right one must not get the other's results.
func TestTrustedCAIsPartOfThePool(t *testing.T) {
	addr, right := tlsBackend(t, "hello", nil)
	der := untrustedCertificate(t).Certificate[0]
	wrong := filepath.Join(t.TempDir(), "other.pem")
	if err := os.WriteFile(wrong, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	trusting := func(certificate string) string {
		return "healthpool " + addr + " {\nhold off\ntransport http {\ntls_trust_pool file " + certificate + "\n}\n}"
	}
	s := run(t, "handle /wrong {\n"+trusting(wrong)+"\n}\nhandle {\n"+trusting(right)+"\n}")
	await(t, "one is up and one is down", func() bool {
		states := make(map[string]int)
		for _, p := range s.pools() {
			states[p.State]++
		}
		return len(states) == 2 && states["up"] == 1 && states["down"] == 1
	})
	if got := s.get("/"); got.body != "hello" {
		t.Errorf("with the right authority, got %d %q", got.status, got.body)
	}
	if got := s.get("/wrong"); !got.isOurs() {
		t.Errorf("with the wrong one, got %d %q", got.status, got.body)
	}
}
