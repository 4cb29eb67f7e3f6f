// Command bench measures the numbers of the README beside plain Caddy, HAProxy and nginx, in one run on one machine, and
// writes docs/benchmarks.md with its plots:
//
//	go -C e2e run ./bench
//
// With -quick, it measures little, and prints the report.
//
// It needs Linux, haproxy, nginx and wrk (in Debian: apt install haproxy nginx-light wrk), about half an hour, and a machine
// with nothing else to do. Everything stays on loopback.
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
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/healthpool/caddy-healthpool/e2e/internal/chaos"
)

// Bench is one run.
type Bench struct {
	root  string // of the repository
	dir   string // for files that are removed after the run
	caddy string // the binary, built with the plugin

	scale
	report Report
}

// scale is how much is measured.
type scale struct {
	scenarios []chaos.Scenario
	rounds    int           // how often each scenario runs against each proxy
	pairs     int           // how often two proxies are compared
	burst     time.Duration // how long each of them is loaded then
	warmUp    time.Duration // how long it is loaded before
	turns     int           // how often each answer in an outage is measured
	load      time.Duration // how long each time, in whole seconds
	sizes     []int         // numbers of upstreams
	visitors  int           // how many visitors wait
	probed    int           // how many upstreams are checked
	settle    time.Duration // until things are steady enough to measure
	watch     time.Duration // how long they are measured
}

var (
	whole = scale{
		scenarios: chaos.Scenarios, rounds: 2, sizes: []int{3, 1000, 10_000},
		pairs: 150, burst: 100 * time.Millisecond, warmUp: 6 * time.Second, turns: 15, load: time.Second,
		visitors: 10_000, probed: 10_000, settle: 25 * time.Second, watch: 30 * time.Second,
	}
	// small is enough to see whether the benchmarks work.
	small = scale{
		scenarios: []chaos.Scenario{chaos.Scenarios[0].Faster(2)}, rounds: 1, sizes: []int{3},
		pairs: 10, burst: 100 * time.Millisecond, warmUp: time.Second, turns: 1, load: time.Second,
		visitors: 200, probed: 100, settle: 3 * time.Second, watch: 5 * time.Second,
	}
)

// part is something that can be measured.
type part struct {
	name    string
	measure func(*Bench, context.Context) error
}

// parts are in the order of the report.
var parts = []part{
	{"chaos", (*Bench).measureChaos},
	{"throughput", (*Bench).measureThroughput},
	{"outage", (*Bench).measureOutage},
	{"waiting", (*Bench).measureWaiting},
	{"probing", (*Bench).measureProbing},
}

func partNames() string {
	names := make([]string, len(parts))
	for i, p := range parts {
		names[i] = p.name
	}
	return strings.Join(names, ", ")
}

// partsNamed returns the part of that name, or all parts for no name.
func partsNamed(name string) ([]part, error) {
	if name == "" {
		return parts, nil
	}
	for _, p := range parts {
		if p.name == name {
			return []part{p}, nil
		}
	}
	return nil, fmt.Errorf("-only: must be one of %s, got %q", partNames(), name)
}

func main() {
	chaos.BeApp()
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	b := Bench{scale: whole}
	only := flag.String("only", "", "the `part` to measure: "+partNames()+"; the report is printed then, not written to docs")
	quick := flag.Bool("quick", false, "measure little, to see whether all works, and print the report")
	flag.StringVar(&b.caddy, "caddy", "", "a Caddy with the plugin; by default one is built")
	flag.Parse()
	selected, err := partsNamed(*only)
	if err != nil {
		return err
	}
	if *quick {
		b.scale = small
	}
	b.report.Rounds, b.report.Pairs, b.report.Burst = b.rounds, b.pairs, b.burst

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp("", "healthpool-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // temporary either way
	b.dir = dir
	if b.root, err = filepath.Abs(".."); err != nil {
		return err
	}
	if err := b.prepare(ctx); err != nil {
		return err
	}
	for _, p := range selected {
		log.Printf("== %s", p.name)
		if err := p.measure(&b, ctx); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	if *only != "" || *quick {
		return b.report.print(os.Stdout)
	}
	return b.report.write(filepath.Join(b.root, "docs"))
}

// prepare checks that everything needed is there, and builds Caddy.
func (b *Bench) prepare(ctx context.Context) error {
	if runtime.GOOS != "linux" {
		return errors.New("it needs Linux, whose /proc says what a process uses")
	}
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
