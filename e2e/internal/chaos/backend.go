// Package chaos breaks apps, which are real processes, in the ways that apps break, while requests arrive at a steady rate.
package chaos

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
)

// Backend is an app in a process of its own, which can die like any process.
type Backend struct {
	Address string
	Name    string   // what it answers; its address if empty
	Ledger  *os.File // where it writes the paths of POSTs that it began to process; nil for none

	mu  sync.Mutex // guards cmd: an event may still be going on when the next one, or the end, comes
	cmd *exec.Cmd
}

// Start starts the app, unless it runs, and returns when it listens.
func (b *Backend) Start(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cmd != nil {
		return nil
	}
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), appAddress+"="+b.Address, appName+"="+cmp.Or(b.Name, b.Address))
	if b.Ledger != nil {
		cmd.Env = append(cmd.Env, appLedger+"=yes")
		cmd.ExtraFiles = []*os.File{b.Ledger}
	}
	cmd.Stderr = os.Stderr
	if _, err := cmd.StdinPipe(); err != nil { // which closes when this process ends, whatever ends it
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	b.cmd = cmd
	if line, err := bufio.NewReader(out).ReadString('\n'); strings.TrimSpace(line) != appReady {
		b.end(syscall.SIGKILL)
		return fmt.Errorf("the app at %s said %q: %w", b.Address, line, err)
	}
	return nil
}

// Stop sends a signal and returns when the process is gone.
func (b *Backend) Stop(signal syscall.Signal) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cmd != nil {
		b.end(signal)
	}
}

func (b *Backend) end(signal syscall.Signal) {
	_ = b.cmd.Process.Signal(signal)
	_ = b.cmd.Wait() // its exit status is the signal, or 0: both are as intended
	b.cmd = nil
}

// Hang suspends the app until [Backend.Resume]: the kernel still takes connections and requests, but nobody answers.
func (b *Backend) Hang() error { return b.signal(suspendSignal) }

// Resume ends [Backend.Hang].
func (b *Backend) Resume() error { return b.signal(resumeSignal) }

func (b *Backend) signal(signal syscall.Signal) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cmd == nil {
		return fmt.Errorf("the app at %s does not run", b.Address)
	}
	return b.cmd.Process.Signal(signal)
}

// Set gives the app a fault, "slow" or "broken", or repairs it with "fine".
func (b *Backend) Set(ctx context.Context, fault string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://"+b.Address+"/-/"+fault, http.NoBody)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	return response.Body.Close()
}
