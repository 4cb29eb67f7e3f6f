package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
)

// appAddress is the environment variable that makes the test binary an app that listens there.
const appAddress = "HEALTHPOOL_E2E_APP"

const appReady = "listening"

// runApp is an app as a process: it answers GET with the path and POST with what was posted, and returns its exit
// status after SIGTERM.
func runApp(address string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	server := &http.Server{Handler: http.HandlerFunc(echo)}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	fmt.Println(appReady)
	select {
	case err = <-served:
	case <-ctx.Done():
		err = server.Shutdown(context.WithoutCancel(ctx))
	}
	if err != nil && !errors.Is(err, http.ErrServerClosed) {
		fmt.Println(err)
		return 1
	}
	return 0
}

func echo(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		_, _ = io.Copy(w, r.Body)
		return
	}
	fmt.Fprint(w, r.URL.Path)
}

// process is an app that runs as a process of its own and can die like one.
type process struct {
	address string
	cmd     *exec.Cmd
}

// start starts the app and returns when it listens. It lives no longer than the context.
func (p *process) start(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), appAddress+"="+p.address)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	p.cmd = cmd
	if line, err := bufio.NewReader(out).ReadString('\n'); strings.TrimSpace(line) != appReady {
		p.stop(syscall.SIGKILL)
		return fmt.Errorf("the app at %s said %q: %w", p.address, line, err)
	}
	return nil
}

// stop sends a signal and returns when the process is gone.
func (p *process) stop(sig os.Signal) {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Signal(sig)
	_ = p.cmd.Wait() // its exit status is the signal, or 0: either is what was asked for
	p.cmd = nil
}

// startProcess starts an app that lives until it is stopped or the test ends.
func startProcess(t *testing.T) *process {
	t.Helper()
	p := &process{address: freeAddress(t)}
	t.Cleanup(func() { p.stop(syscall.SIGKILL) })
	if err := p.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return p
}

// app is an app in this process, where a test can look into it. Its address stays the same while it is down.
type app struct {
	address   string
	handler   http.Handler
	protocols *http.Protocols // nil for HTTP/1.1
	requests  visitRecorder
	server    *http.Server
}

// newApp returns an app that is down.
func newApp(t *testing.T, handler http.HandlerFunc) *app {
	t.Helper()
	a := &app{address: freeAddress(t)}
	a.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.requests.note(r)
		handler(w, r)
	})
	t.Cleanup(a.stop)
	return a
}

func (a *app) start(t *testing.T) {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", a.address)
	if err != nil {
		t.Fatal(err)
	}
	a.server = &http.Server{Handler: a.handler, Protocols: a.protocols, ReadHeaderTimeout: patience}
	server := a.server
	go func() { _ = server.Serve(listener) }() // it always returns ErrServerClosed, after stop
}

// stop closes the app's listener and its connections.
func (a *app) stop() {
	if a.server != nil {
		a.server.Close()
		a.server = nil
	}
}

// get asks a site as curl would and returns the status and the body.
func get(t *testing.T, url string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}
