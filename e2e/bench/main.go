// Command bench measures what the README says, side by side with plain Caddy, HAProxy and nginx, in one run on one
// machine, and writes docs/benchmarks.md with its plots:
//
//	go -C e2e run ./bench
//
// It needs haproxy, nginx and wrk (in Debian: apt install haproxy nginx-light wrk), about 45 minutes, and a machine with
// nothing else to do. Everything stays on loopback.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/healthpool/caddy-healthpool/e2e/internal/chaos"
)

// Bench is one run.
type Bench struct {
	root  string // of the repository
	dir   string // for what lives as long as the run
	caddy string // the binary, built with the plugin

	rounds int // how often each chaos scenario runs against each proxy
	pairs  int // how often two proxies are compared
	load   time.Duration

	report Report
}

// parts are what can be measured, in the order of the report.
var parts = []struct {
	name    string
	measure func(*Bench, context.Context) error
}{
	{"chaos", (*Bench).measureChaos},
	{"throughput", (*Bench).measureThroughput},
	{"outage", (*Bench).measureOutage},
	{"waiting", (*Bench).measureWaiting},
	{"probing", (*Bench).measureProbing},
}

func main() {
	chaos.BeApp()
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	var b Bench
	only := flag.String("only", "", "the parts to measure, with commas between; docs are not written then, but printed")
	flag.IntVar(&b.rounds, "rounds", 3, "how often each chaos scenario runs")
	flag.IntVar(&b.pairs, "pairs", 9, "how often two proxies are compared")
	flag.DurationVar(&b.load, "load", 3*time.Second, "how long each throughput measurement takes")
	flag.StringVar(&b.caddy, "caddy", "", "a Caddy with the plugin; by default one is built")
	flag.Parse()
	b.report.Rounds, b.report.Pairs = b.rounds, b.pairs

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp("", "healthpool-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // temporary either way
	b.dir = dir
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	if b.root, err = filepath.Abs(".."); err != nil {
		return err
	}
	if err := b.prepare(ctx); err != nil {
		return err
	}
	for _, part := range parts {
		if *only != "" && !slices.Contains(strings.Split(*only, ","), part.name) {
			continue
		}
		log.Printf("== %s", part.name)
		if err := part.measure(&b, ctx); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	if *only != "" {
		return b.report.print(os.Stdout)
	}
	return b.report.write(filepath.Join(b.root, "docs"))
}

// prepare looks for what is needed, and builds Caddy.
func (b *Bench) prepare(ctx context.Context) error {
	for _, tool := range []string{"haproxy", "nginx", "wrk"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%w (in Debian: apt install haproxy nginx-light wrk)", err)
		}
	}
	if b.caddy == "" {
		b.caddy = filepath.Join(b.dir, "caddy")
		log.Print("building Caddy")
		build := exec.CommandContext(ctx, "go", "tool", "xcaddy", "build", "v2.11.9",
			"--with", "github.com/healthpool/caddy-healthpool@v0.0.0=.", "--output", b.caddy)
		build.Dir = b.root
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("building Caddy: %w\n%s", err, out)
		}
	}
	if _, err := os.Stat(filepath.Join(b.root, "docs")); errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("no docs in %s: run it as go -C e2e run ./bench", b.root)
	}
	var err error
	b.report.Machine, err = describeMachine(ctx, b.caddy)
	return err
}
