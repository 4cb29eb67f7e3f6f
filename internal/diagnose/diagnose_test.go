package diagnose

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/badserver"
	"github.com/healthpool/caddy-healthpool/internal/cause"
)

var quiet = log.New(io.Discard, "", 0)

// visited is a test case: an address, how to look at it, and the expected verdict, with AT
// for the address of the server and PORT for its port.
type visited struct {
	name     string
	at       string // of the server
	address  string // default: at
	walk     Walk
	cause    cause.Cause
	finding  string
	advice   string
	harmless bool // requests get through though there is a cause
}

var (
	times = regexp.MustCompile(`\d+(\.\d+)? m?s\b`)
	dates = regexp.MustCompile(`\w{3}, \d\d \w{3} \d{4} [\d:]{8} UTC`)
)

func (v visited) run(t *testing.T) Report {
	t.Helper()
	address := strings.NewReplacer("AT", v.at).Replace(v.address)
	if v.address == "" {
		address = v.at
	}
	if v.walk.Timeout == 0 {
		v.walk.Timeout = plenty
	}
	if v.walk.InContainer == nil {
		v.walk.InContainer = no
	}
	return v.walk.Run(t.Context(), address)
}

func (v visited) check(t *testing.T) {
	t.Helper()
	r := v.run(t)
	mask := strings.NewReplacer()
	if v.at != "" && !strings.Contains(v.at, "/") {
		mask = strings.NewReplacer(v.at, "AT", portOf(t, v.at), "PORT")
	}
	finding := times.ReplaceAllString(mask.Replace(r.Finding), "TIME")
	finding = dates.ReplaceAllString(finding, "DATE")
	advice := mask.Replace(r.Advice)
	if r.Cause != v.cause || finding != v.finding || advice != v.advice {
		t.Errorf("got  %q\n%s\n%s\nwant %q\n%s\n%s", r.Cause, finding, advice, v.cause, v.finding, v.advice)
	}
	if r.OK != (v.cause == "" || v.harmless) {
		t.Errorf("ok is %v", r.OK)
	}
	checkSteps(t, r)
}

func checkSteps(t *testing.T, r Report) {
	t.Helper()
	if len(r.Steps) == 0 {
		t.Fatal("no steps")
	}
	for _, s := range r.Steps {
		if s.Name == "" || s.Subject == "" || s.Milliseconds < 0 || !s.OK && s.Result == "" {
			t.Errorf("step %+v", s)
		}
	}
	if last := r.Steps[len(r.Steps)-1]; r.OK && !last.OK {
		t.Errorf("fine, but the last step failed: %+v", last)
	}
}

func checkAll(t *testing.T, tests []visited) {
	t.Helper()
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.check(t)
		})
	}
}

const (
	fine      = "Nothing is wrong that can be seen from here: it answered with status 200 in TIME."
	refused   = "Is the app running, and is the port right?"
	timeouted = "Is the host up and not overloaded, and does a firewall let the proxy through?"
)

func TestFine(t *testing.T) {
	plain := app(t, http.StatusOK)
	socket := filepath.Join(t.TempDir(), "app.sock")
	listener, err := new(net.ListenConfig).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := &httptest.Server{Listener: listener, Config: &http.Server{Handler: answers(http.StatusOK)}}
	s.Start()
	t.Cleanup(s.Close)
	checkAll(t, []visited{
		{name: "address", at: plain, finding: fine},
		{name: "network", at: plain, address: "tcp/AT", finding: fine},
		{name: "URL", at: plain, address: "http://AT/healthz?deep=1", finding: fine},
		{name: "password", at: plain, address: "http://me:secret@AT/", finding: fine},
		{name: "socket", at: socket, address: "unix/AT", finding: fine},
		{name: "no content", at: app(t, http.StatusNoContent), finding: strings.Replace(fine, "200", "204", 1)},
		{name: "h2c", at: h2cApp(t), address: "h2c://AT", finding: fine},
	})
}

// h2cApp is a server that speaks HTTP/2 without TLS, and nothing else.
func h2cApp(t testing.TB) string {
	t.Helper()
	s := httptest.NewUnstartedServer(answers(http.StatusOK))
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func TestNames(t *testing.T) {
	none := resolver(0, nil)
	silent := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, &net.OpError{Op: "dial", Net: network, Err: ctx.Err()}
	}}
	gone := &net.Resolver{PreferGo: true, Dial: func(_ context.Context, network, _ string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: network, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	}}
	checkAll(t, []visited{
		{
			name: "unknown", address: "app.test:8080", walk: Walk{Resolver: none}, cause: cause.DNSError,
			finding: "The name app.test does not resolve: the name servers know no address for it.",
			advice:  "Is it spelled right? The name of a container or service is known only in its own network (or namespace): is this machine or container in the same one?",
		},
		{
			name: "the host of Docker", address: "host.docker.internal:8080", walk: Walk{Resolver: none}, cause: cause.DNSError,
			finding: "The name host.docker.internal does not exist here: with Docker on Linux, it has to be asked for.",
			advice:  "Give Caddy's container the extra host host.docker.internal:host-gateway.",
		},
		{
			name: "silent", address: "app.test:8080", walk: Walk{Resolver: silent, Timeout: little}, cause: cause.DNSTimeout,
			finding: "The name servers do not answer, so app.test cannot be looked up.", advice: "Can this machine reach them?",
		},
		{
			name: "refused", address: "app.test:8080", walk: Walk{Resolver: gone}, cause: cause.DNSTimeout,
			finding: "The name servers do not answer, so app.test cannot be looked up.", advice: "Can this machine reach them?",
		},
		{
			name: "server failure", address: "app.test:8080", walk: Walk{Resolver: resolver(2, nil)}, cause: cause.DNSError,
			finding: "The name servers could not look app.test up: server misbehaving.",
			advice:  "That is trouble of theirs: try again soon, and see which ones this machine asks (/etc/resolv.conf).",
		},
	})
}

func TestPorts(t *testing.T) {
	dead, other := badserver.Nobody(t), app(t, http.StatusOK)
	port := portOf(t, dead)
	closed := map[string]any{"10.0.0.3:" + port: syscall.ECONNREFUSED}
	for _, usual := range []string{"80", "443", "3000", "5000", "8000", "8080", "9000"} {
		closed["127.0.0.1:"+usual], closed["10.0.0.3:"+usual] = syscall.ECONNREFUSED, syscall.ECONNREFUSED
	}
	open := map[string]any{"127.0.0.1:3000": other, "127.0.0.1:9000": other}
	for _, usual := range []string{"80", "443", "5000", "8000", "8080"} {
		open["127.0.0.1:"+usual] = syscall.ECONNREFUSED
	}
	checkAll(t, []visited{
		{
			name: "refused", at: dead, walk: Walk{Dial: dialTo(closed)}, cause: cause.ConnectionRefused,
			finding: "Nothing listens on port PORT of 127.0.0.1.", advice: refused,
		},
		{
			name: "refused elsewhere", at: "10.0.0.3:" + port, walk: Walk{Dial: dialTo(closed)}, cause: cause.ConnectionRefused,
			finding: "Nothing listens on port PORT of 10.0.0.3.",
			advice:  refused + " It must listen on all addresses (0.0.0.0), not only on its own localhost.",
		},
		{
			name: "wrong port", at: dead, walk: Walk{Dial: dialTo(open)}, cause: cause.ConnectionRefused,
			finding: "Nothing listens on port PORT of 127.0.0.1, but something does on ports 3000 and 9000.",
			advice:  "Is it the wrong port? If the app listens on one of them, write that; if not, is the app running?",
		},
		{
			name: "container", at: dead, address: "localhost:" + port, walk: Walk{Dial: dialTo(open), InContainer: yes}, cause: cause.ConnectionRefused,
			finding: "Nothing listens on port PORT of this container: inside a container, localhost is the container itself.",
			advice:  "For an app in another container, write the name of its service, such as app:PORT; for one on the host, host.docker.internal:PORT.",
		},
		{
			name: "no route", at: "10.0.0.3:80", walk: Walk{Dial: dialTo(map[string]any{"10.0.0.3:80": syscall.EHOSTUNREACH})}, cause: cause.DestinationIPUnroutable,
			finding: "There is no way to 10.0.0.3 from here.", advice: "Are the address, the network and the routes right?",
		},
		{
			name: "not allowed", at: "10.0.0.3:80", walk: Walk{Dial: dialTo(map[string]any{"10.0.0.3:80": syscall.EACCES})}, cause: cause.ProxyInternalError,
			finding: "No connection to AT comes about: permission denied.", advice: "The reason is on this side: is there a permission missing, or are too many files open?",
		},
	})
}

func TestFamilies(t *testing.T) {
	names := resolver(0, map[string][]string{
		"app.test": {"10.0.0.3", "fd00::3"}, "six.test": {"fd00::3", "fd00::4"}, "four.test": {"10.0.0.3"},
		"three.test": {"10.0.0.3", "10.0.0.4", "10.0.0.5"},
	})
	up := app(t, http.StatusOK)
	walk := func(four, six any) Walk {
		return Walk{Resolver: names, Timeout: 2 * time.Second, Dial: dialTo(map[string]any{
			"10.0.0.3:8080": four, "10.0.0.4:8080": up, "10.0.0.5:8080": up, "[fd00::3]:8080": six, "[fd00::4]:8080": six,
		})}
	}
	slow := func(four, six any) Walk {
		w := walk(four, six)
		w.Timeout = 300 * time.Millisecond
		return w
	}
	checkAll(t, []visited{
		{name: "both", address: "app.test:8080", walk: walk(up, up), finding: fine},
		{name: "no IPv6, but not needed", address: "app.test:8080", walk: walk(up, syscall.ENETUNREACH), finding: fine},
		{
			name: "only by IPv4", address: "app.test:8080", walk: walk(up, syscall.ECONNREFUSED), cause: cause.ConnectionRefused,
			finding: "app.test takes connections by IPv4 only: nothing listens on [fd00::3]:8080.",
			advice:  "Caddy tries both, so requests get through; others may not. Write 10.0.0.3:8080 instead, or have the app listen on both.", harmless: true,
		},
		{
			name: "only by IPv6", address: "app.test:8080", walk: walk(syscall.ECONNREFUSED, up), cause: cause.ConnectionRefused,
			finding: "app.test takes connections by IPv6 only: nothing listens on 10.0.0.3:8080.",
			advice:  "Caddy tries both, so requests get through; others may not. Write [fd00::3]:8080 instead, or have the app listen on both.", harmless: true,
		},
		{
			name: "IPv6 dropped", address: "app.test:8080", walk: slow(up, context.DeadlineExceeded), cause: cause.ConnectionTimeout,
			finding: "app.test takes connections by IPv4 only: by IPv6, [fd00::3]:8080 did not reply (no answer in time).",
			advice:  "Each new connection may have to wait for that. Write 10.0.0.3:8080 instead, or open the way by IPv6.",
		},
		{
			name: "no IPv6", address: "six.test:8080", walk: walk(up, syscall.ENETUNREACH), cause: cause.DestinationIPUnroutable,
			finding: "six.test has only IPv6 addresses, and there is no way to them by IPv6 from here.",
			advice:  "Give this machine (or container network) IPv6, or the name an address of the other family.",
		},
		{
			name: "no IPv6 in a container", address: "six.test:8080", walk: walk(up, syscall.EADDRNOTAVAIL), cause: cause.DestinationIPUnroutable,
			finding: "six.test has only IPv6 addresses, and there is no way to them by IPv6 from here.",
			advice:  "Give this machine (or container network) IPv6, or the name an address of the other family.",
		},
		{
			name: "neither", address: "app.test:8080", walk: walk(syscall.ENETUNREACH, syscall.ENETUNREACH), cause: cause.DestinationIPUnroutable,
			finding: "There is no way to 10.0.0.3 from here.", advice: "Are the address, the network and the routes right?",
		},
		{
			name: "one of three", address: "three.test:8080", walk: walk(syscall.ECONNREFUSED, up), cause: cause.ConnectionRefused,
			finding: "Only 2 of 3 addresses of three.test take connections: 10.0.0.3:8080 does not (connection refused).", advice: refused,
		},
		{
			name: "worst decides", address: "app.test:8080", walk: slow(context.DeadlineExceeded, syscall.ENETUNREACH), cause: cause.ConnectionTimeout,
			finding: "10.0.0.3:8080 does not take connections: no reply at all came within TIME.", advice: timeouted,
		},
	})
}

func TestSockets(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path("stale"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	_ = stale.Close()
	if err := os.WriteFile(path("file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []visited{
		{
			name: "none", at: path("none"), cause: cause.ConnectionRefused, finding: "There is no socket AT.",
			advice: "Is the app running, is the path right, and does this machine (or container) have that directory?",
		},
		{
			name: "stale", at: path("stale"), cause: cause.ConnectionRefused, finding: "Nobody listens on the socket AT: its file was left behind.",
			advice: "Is the app running? It has to remove the old file when it starts.",
		},
		{name: "file", at: path("file"), cause: cause.ConnectionRefused, finding: "The file AT is no socket.", advice: "Is the path right?"},
		{
			name: "forbidden", at: path("file"), walk: Walk{Dial: dialTo(map[string]any{path("file"): syscall.EACCES})}, cause: cause.ProxyInternalError,
			finding: "This user may not use the socket AT (its mode is -rw-------).",
			advice:  "Give Caddy's user the right to write to the socket and to enter its directory, for example by a common group.",
		},
		{
			name: "full", at: path("stale"), walk: Walk{Dial: dialTo(map[string]any{path("stale"): syscall.EAGAIN})}, cause: cause.ConnectionTimeout,
			finding: "The socket AT takes no more connections: its queue is full.", advice: "Is the app overloaded or stuck?",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.address = "unix/AT"
			test.finding = strings.ReplaceAll(test.finding, "AT", test.at)
			test.check(t)
		})
	}
}

// TestStopped: Ctrl-C does not have to wait for a timeout.
func TestStopped(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	at := badserver.Listen(t, func(c net.Conn) {
		cancel()
		badserver.Hang(c)
	})
	start := time.Now()
	r := (&Walk{Timeout: plenty}).Run(ctx, at)
	if r.OK || r.Cause != cause.ClientGone || r.Finding != "It was stopped before it was done." {
		t.Errorf("got %+v", r)
	}
	if time.Since(start) > plenty/2 {
		t.Error("it waited")
	}
}
