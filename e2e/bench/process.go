package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a server that lives as long as a measurement.
type process struct {
	cmd *exec.Cmd
	log *os.File
}

// start starts a server in a directory that it may write to.
func start(ctx context.Context, dir, name string, args ...string) (*process, error) {
	log, err := os.Create(filepath.Join(dir, filepath.Base(name)+".log"))
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	cmd.Stdout, cmd.Stderr = log, log
	// No server outlives this program, whatever ends it.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // a killed nginx would leave its workers
	cmd.WaitDelay = 5 * time.Second
	endWithParent(cmd)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &process{cmd, log}, nil
}

func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	kill := time.AfterFunc(5*time.Second, func() { _ = p.cmd.Process.Kill() })
	_ = p.cmd.Wait() // its exit status depends on the signal
	kill.Stop()
	_ = p.log.Close() // said reads the file by its name
}

// said is the end of what the server wrote.
func (p *process) said() string {
	text, _ := os.ReadFile(p.log.Name())
	return string(text[max(0, len(text)-2000):])
}

// usage is what a process has used so far.
type usage struct {
	at     time.Time
	cpu    time.Duration
	memory int64 // bytes that are resident
}

// clockTick is the unit of times in /proc/<pid>/stat, on every Linux that Go supports (USER_HZ).
const clockTick = time.Second / 100

// use reads what the process has used (proc(5)).
func (p *process) use() (usage, error) {
	name := fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid)
	text, err := os.ReadFile(name)
	if err != nil {
		return usage{}, err
	}
	// The second field is a name in parentheses, which may itself contain anything.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	const state = 3 // the number of the first field after the name
	var numbers [3]int64
	for i, field := range []int{14, 15, 24} { // utime, stime, rss
		if numbers[i], err = strconv.ParseInt(fields[field-state], 10, 64); err != nil {
			return usage{}, fmt.Errorf("%s: %w", name, err)
		}
	}
	return usage{
		at:     time.Now(),
		cpu:    time.Duration(numbers[0]+numbers[1]) * clockTick,
		memory: numbers[2] * int64(os.Getpagesize()),
	}, nil
}

// since is how much of one core was used since then.
func (u usage) since(then usage) float64 {
	return (u.cpu - then.cpu).Seconds() / u.at.Sub(then.at).Seconds()
}
