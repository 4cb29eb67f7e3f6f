package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// Machine is when and on what the benchmarks ran, and with which versions.
type Machine struct {
	Date      string
	Processor string
	Cores     int
	Memory    string
	Kernel    string
	Versions  []string
}

// describeMachine reads /proc, and asks each program for its version.
func describeMachine(ctx context.Context, caddy string) (Machine, error) {
	m := Machine{
		Date:      time.Now().UTC().Format("2 January 2006"),
		Processor: inFile("/proc/cpuinfo", `model name\s*: (.+)`),
		Memory:    gibibytes(inFile("/proc/meminfo", `MemTotal:\s*(\d+) kB`)),
		Kernel:    "Linux " + inFile("/proc/sys/kernel/osrelease", `(\d+\.\d+\.\d+)`),
		Cores:     runtime.NumCPU(),
		Versions:  []string{runtime.Version()},
	}
	for _, program := range []struct {
		name, version string
		command       []string
	}{
		{"Caddy", `v(\S+)`, []string{caddy, "version"}},
		{"HAProxy", `version (\S+?)-`, []string{"haproxy", "-v"}},
		{"nginx", `nginx/(\S+)`, []string{"nginx", "-v"}},
		{"wrk", `wrk \S*?([\d.]+)`, []string{"wrk", "-v"}},
	} {
		// wrk -v prints its version, but fails.
		out, err := exec.CommandContext(ctx, program.command[0], program.command[1:]...).CombinedOutput()
		version := regexp.MustCompile(program.version).FindSubmatch(out)
		if version == nil {
			return m, fmt.Errorf("no version in what %s says: %q (%w)", program.name, bytes.TrimSpace(out), err)
		}
		m.Versions = append(m.Versions, program.name+" "+string(version[1]))
	}
	return m, nil
}

func gibibytes(kilobytes string) string {
	n, err := strconv.Atoi(kilobytes)
	if err != nil {
		return kilobytes
	}
	return fmt.Sprintf("%.0f GiB", float64(n)/(1<<20))
}

// inFile returns what an expression captures in a file.
func inFile(name, expression string) string {
	text, err := os.ReadFile(name)
	if err != nil {
		return "unknown"
	}
	found := regexp.MustCompile(expression).FindStringSubmatch(string(text))
	if found == nil {
		return "unknown"
	}
	return strings.TrimSpace(found[1])
}
