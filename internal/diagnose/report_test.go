package diagnose

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/badserver"
)

var update = flag.Bool("update", false, "write the golden files")

var durations = regexp.MustCompile(` +\d+(\.\d+)? m?s\b`)

// TestGolden compares complete outputs with golden files. The report has the same steps as
// were shown.
func TestGolden(t *testing.T) {
	a := newAuthority(t)
	names := resolver(0, map[string][]string{"app": {"10.0.0.3", "10.0.0.4"}, "api.example.com": {"10.0.0.5"}})
	up, missing, busy := app(t, http.StatusOK), app(t, http.StatusNotFound), app(t, http.StatusServiceUnavailable)
	other := secureApp(t, &tls.Config{Certificates: []tls.Certificate{a.issue("www.example.com", -time.Hour, time.Hour)}}, false)
	closed := map[string]any{
		"10.0.0.3:3000": up, "10.0.0.3:8080": up, "10.0.0.4:8080": up, "10.0.0.5:443": other,
		"10.0.0.5:4040": missing, "10.0.0.5:5030": busy, "10.0.0.5:80": badserver.Listen(t, tlsOnly(t, a.good())),
	}
	for _, port := range []string{"80", "443", "1234", "5000", "8000", "9000"} {
		closed["10.0.0.3:"+port], closed["10.0.0.4:"+port] = syscall.ECONNREFUSED, syscall.ECONNREFUSED
	}
	for name, address := range map[string]string{
		"fine": "app:8080", "wrong-port": "app:1234", "other-name": "https://api.example.com/v1",
		"not-found": "http://api.example.com:4040/health", "unavailable": "api.example.com:5030", "wants-tls": "api.example.com:80",
	} {
		t.Run(name, func(t *testing.T) {
			var text strings.Builder
			var shown []Step
			walk := Walk{
				Timeout: plenty, Resolver: names, Dial: dialTo(closed), RootCAs: a.pool(), InContainer: no,
				Watch: func(s Step) {
					text.WriteString(s.String() + "\n")
					shown = append(shown, s)
				},
			}
			r := walk.Run(t.Context(), address)
			if !slices.Equal(shown, r.Steps) {
				t.Errorf("shown %+v, reported %+v", shown, r.Steps)
			}
			text.WriteString(r.Conclusion() + "\n")
			got := durations.ReplaceAllString(text.String(), "  TIME")
			file := filepath.Join("testdata", name+".golden")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// TestJSON: the keys of the JSON.
func TestJSON(t *testing.T) {
	walk := Walk{Timeout: plenty, InContainer: yes}
	wantKeys(t, walk.Run(t.Context(), app(t, http.StatusOK)), "address", "finding", "ok", "steps")
	wantKeys(t, walk.Run(t.Context(), app(t, http.StatusNotFound)), "address", "advice", "cause", "finding", "ok", "steps")
	wantKeys(t, walk.Run(t.Context(), "8080"), "address", "advice", "finding", "ok", "steps")
}

func wantKeys(t *testing.T, r Report, want ...string) {
	t.Helper()
	raw, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	if keys := keysOf(got); !reflect.DeepEqual(keys, want) {
		t.Errorf("%s: keys %v, want %v", raw, keys, want)
	}
	steps, ok := got["steps"].([]any)
	if !ok {
		t.Fatalf("%s: steps are no array", raw)
	}
	for _, s := range steps {
		step := s.(map[string]any)
		if keys := keysOf(step); !reflect.DeepEqual(keys, []string{"duration_ms", "ok", "result", "step", "subject"}) {
			t.Errorf("%s: keys of a step %v", raw, keys)
		}
		if !slices.Contains([]any{"dns", "connect", "ports", "tls", "http"}, step["step"]) {
			t.Errorf("step %v", step["step"])
		}
	}
}

func keysOf(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// TestLong: long texts and long lists are cut.
func TestLong(t *testing.T) {
	ip := netip.MustParseAddr("10.0.0.1")
	for got, want := range map[string]string{
		list(slices.Repeat([]netip.Addr{ip}, 10)):                          strings.Repeat("10.0.0.1, ", 7) + "10.0.0.1 and 2 more, which are not tried",
		joinPorts([]uint16{80}):                                            "80",
		joinPorts([]uint16{80, 443, 3000}):                                 "80, 443 and 3000",
		quote([]byte(strings.Repeat("x", 99))):                             `"` + strings.Repeat("x", 60) + `…"`,
		printable(strings.Repeat("é", 999)):                                strings.Repeat("é", maxText-1) + "…",
		namesOf(new(x509.Certificate)):                                     "no name at all",
		namesOf(&x509.Certificate{DNSNames: strings.Split("abcdefg", "")}): "a, b, c, d, e and 2 more",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestInContainer(t *testing.T) {
	for name, test := range map[string]struct {
		file, content string
		want          bool
	}{
		"Docker":     {".dockerenv", "", true},
		"Podman":     {"run/.containerenv", "", true},
		"Kubernetes": {"var/run/secrets/kubernetes.io/serviceaccount/token", "", true},
		"cgroup":     {"proc/1/cgroup", "12:cpu:/docker/0123\n", true},
		"a machine":  {"proc/1/cgroup", "0::/init.scope\n", false},
		"no Linux":   {"etc/hosts", "", false},
	} {
		if got := inContainer(fstest.MapFS{test.file: {Data: []byte(test.content)}}); got != test.want {
			t.Errorf("%s: got %v", name, got)
		}
	}
}
