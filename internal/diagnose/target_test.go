package diagnose

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/healthpool/caddy-healthpool/internal/badserver"
)

func TestParse(t *testing.T) {
	for address, want := range map[string]target{
		"app:8080":                        {network: "tcp", scheme: "http", host: "app", port: 8080},
		"app":                             {network: "tcp", scheme: "http", host: "app", port: 80},
		"tcp4/app":                        {network: "tcp4", scheme: "http", host: "app", port: 80},
		"10.0.0.3":                        {network: "tcp", scheme: "http", host: "10.0.0.3", port: 80},
		"[::1]":                           {network: "tcp", scheme: "http", host: "::1", port: 80},
		"tcp4/app:8080":                   {network: "tcp4", scheme: "http", host: "app", port: 8080},
		"[::1]:8080":                      {network: "tcp", scheme: "http", host: "::1", port: 8080},
		"[fe80::1%eth0]:80":               {network: "tcp", scheme: "http", host: "fe80::1%eth0", port: 80},
		"unix//run/app.sock":              {network: "unix", scheme: "http", host: "/run/app.sock"},
		"unix//run/app.sock|0222":         {network: "unix", scheme: "http", host: "/run/app.sock"},
		"unix/app.sock":                   {network: "unix", scheme: "http", host: "app.sock"},
		"unix/@app":                       {network: "unix", scheme: "http", host: "@app"},
		"unix+h2c//run/app.sock":          {network: "unix", scheme: "h2c", host: "/run/app.sock"},
		"http://app":                      {network: "tcp", scheme: "http", host: "app", port: 80},
		"http://app:8080/healthz?deep=1":  {network: "tcp", scheme: "http", host: "app", port: 8080},
		"https://app_1.example.com":       {network: "tcp", scheme: "https", host: "app_1.example.com", port: 443},
		"https://[::1]:8443/":             {network: "tcp", scheme: "https", host: "::1", port: 8443},
		"HTTPS://app/":                    {network: "tcp", scheme: "https", host: "app", port: 443},
		"h2c://app:9000":                  {network: "tcp", scheme: "h2c", host: "app", port: 9000},
		"http://münchen.example:80/grüße": {network: "tcp", scheme: "http", host: "münchen.example", port: 80},
	} {
		got, problem := parse(address)
		if problem != nil {
			t.Errorf("%s: %+v", address, problem)
			continue
		}
		if got.url == nil || got.url.Path == "" || got.url.Scheme == "h2c" {
			t.Errorf("%s: URL %v", address, got.url)
		}
		got.url, got.written = nil, ""
		if got != want {
			t.Errorf("%s: got %+v", address, got)
		}
	}
}

// TestWithoutPort: the port that is assumed is shown.
func TestWithoutPort(t *testing.T) {
	for address, want := range map[string]string{"app": "app:80", "tcp/app": "tcp/app:80", "[::1]": "[::1]:80", "app:8080": "app:8080", "https://app": "https://app"} {
		if got, problem := parse(address); problem != nil || got.String() != want {
			t.Errorf("%s: got %s %+v, want %s", address, got, problem, want)
		}
	}
}

func TestParseMistakes(t *testing.T) {
	for address, want := range map[string]string{
		"":                     "The address is empty. Write a host and a port, such as app:8080.",
		"8080":                 `"8080" is a port without a host. Write localhost:8080 for an app on this machine, else the name of its host.`,
		":8080":                `":8080" is a port without a host. Write localhost:8080 for an app on this machine, else the name of its host.`,
		"app:":                 `The port is missing behind the colon. Add the port that the app listens on.`,
		"app:http":             `"http" is not a port. Write a number from 1 to 65535.`,
		"app:0":                `"0" is not a port. Write a number from 1 to 65535.`,
		"app:70000":            `"70000" is not a port. Write a number from 1 to 65535.`,
		"app:8080-8090":        `"8080-8090" is a range of ports. Write one of them.`,
		"::1":                  `"::1" looks like an IPv6 address without brackets. Write it with brackets and a port, such as [::1]:8080.`,
		"::1:8080":             `"::1:8080" looks like an IPv6 address without brackets. Write it with brackets and a port, such as [::1]:8080.`,
		"[::1":                 `"[::1" is not a host and a port. Write a name or an IP address and a port, such as app:8080.`,
		"my app":               `"my app" is not a host and a port. Write a name or an IP address and a port, such as app:8080.`,
		"[app]:80":             `"app" is not the name of a host. Write a name or an IP address and a port, such as app:8080.`,
		"my app:80":            `"my app" is not the name of a host. Write a name or an IP address and a port, such as app:8080.`,
		"app:8080/healthz":     `"app:8080/healthz" has a path but no scheme. Write http://app:8080/healthz, or https.`,
		"/run/app.sock":        `"/run/app.sock" is a path. For a unix socket, write unix//run/app.sock.`,
		"unix/":                "The path of the unix socket is missing. Write it with two slashes, such as unix//run/app.sock.",
		"unix:///run/app.sock": "A unix socket is written without a colon. Write it such as unix//run/app.sock.",
		"udp/app:53":           "An address of the network udp cannot be looked at. Only tcp and unix can.",
		"fd/3":                 "An address of the network fd cannot be looked at. Only tcp and unix can.",
		"{env.APP}:8080":       `The address "{env.APP}:8080" has a placeholder. Only Caddy knows its value: write that value instead.`,
		"grpc://app:80":        "The scheme grpc cannot be looked at. Write http, https or h2c instead.",
		"http://":              `"" is not the name of a host. Write the URL such as http://app:8080/healthz.`,
		"http://app:x/":        `The URL cannot be read: invalid port ":x" after host. Write it such as http://app:8080/healthz.`,
		"http://app:99999/":    `"99999" is not a port. Write a number from 1 to 65535.`,
	} {
		_, problem := parse(address)
		if problem == nil {
			t.Errorf("%q is taken", address)
			continue
		}
		if got := problem.finding + " " + problem.advice; got != want {
			t.Errorf("%q: got\n%s\nwant\n%s", address, got, want)
		}
		if r := new(Walk).Run(t.Context(), address); r.OK || r.Finding == "" || len(r.Steps) != 0 {
			t.Errorf("%q: %+v", address, r)
		}
	}
}

// TestPasswords: reports contain no passwords, since they end up in bug reports.
func TestPasswords(t *testing.T) {
	walk := Walk{Timeout: plenty}
	for _, address := range []string{"http://me:%s@" + badserver.Nobody(t), "http://me:%s@app:x/", "http://me:x/%s@app/", "http://me:%s@{env.APP}/", "grpc://me:%s@app"} {
		const secret = "hunter2"
		raw, err := json.Marshal(walk.Run(t.Context(), fmt.Sprintf(address, secret)))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(raw), secret) {
			t.Errorf("%s", raw)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"", "8080", ":8080", "app", "app:8080", "[::1]:80", "::1", "unix//a", "unix/", "udp/a", "a/b", "http://a", "https://u:p@a:1/b?c#d",
		"h2c://[::1%25e]:1", "http://a b", "{x}:1", "http://\x7f", "a\x00:1", "http://[::1]x", "://", "http:///x", "a:1-2", "http://a:/",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, address string) {
		target, problem := parse(address)
		if problem == nil {
			wantTarget(t, address, target)
			return
		}
		if problem.ok || problem.finding == "" || problem.advice == "" {
			t.Fatalf("%q: %+v", address, problem)
		}
		wantLine(t, problem.finding)
		wantLine(t, problem.advice)
	})
}

func wantTarget(t *testing.T, address string, target target) {
	t.Helper()
	wantLine(t, target.String())
	if _, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target.url.String(), nil); err != nil {
		t.Errorf("%q: %v", address, err)
	}
	if (target.network == "unix") != (target.port == 0) || target.host == "" {
		t.Errorf("%q: %+v", address, target)
	}
	password, _ := target.url.User.Password()
	if len(password) > 9 && strings.Count(address, password) == 1 && strings.Contains(target.String(), password) {
		t.Errorf("%q: the password is shown", address)
	}
}

// wantLine checks that s is one line that is safe for a terminal.
func wantLine(t *testing.T, s string) {
	t.Helper()
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) || len(s) > 4*maxText+200 {
		t.Errorf("%q", s)
	}
}

func FuzzHeard(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\n"))
	f.Add([]byte("\x15\x03\x01"))
	f.Add([]byte("\x00\x00\x06\x04\x00\x00\x00\x00\x00"))
	f.Add([]byte("SSH-2.0-x\x1b[2J\u202e"))
	f.Fuzz(func(t *testing.T, said []byte) {
		wantLine(t, quote(said))
		wantLine(t, printable(string(said)))
		if isHTTP(said) && (isTLSAlert(said) || isSettings(said) || protocolOf(said) == "SSH") {
			t.Errorf("%q is two things", said)
		}
	})
}
