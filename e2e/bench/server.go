package main

import (
	"bytes"
	"cmp"
	"context"
	"embed"
	"errors"
	"fmt"
	"net"
	"os"
	"path"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	"github.com/healthpool/caddy-healthpool/e2e/internal/loopback"
)

// awaitTimeout is how long await waits.
const awaitTimeout = time.Minute

//go:embed configs
var configs embed.FS

// settings are the values in the templates of configs.
type settings struct {
	Upstreams []string
	Names     []string // which resolve to the upstreams
	Port      string   // of the upstreams
	Resolver  string   // the name server for Names
	Page      string   // the error page of proxies that have none of their own
	Check     string   // tcp or http
	Listen    string   // a free address if empty

	// Set by serve.
	Admin, Dir string
}

// server is a proxy, or a backend.
type server struct {
	*process
	url   string
	admin string
}

// serve starts a server with one of the configs, and returns when it listens.
func (b *Bench) serve(ctx context.Context, config string, s settings) (*server, error) {
	var err error
	if s.Dir, err = os.MkdirTemp(b.dir, strings.ReplaceAll(config, "/", "-")+"-"); err != nil {
		return nil, err
	}
	s.Listen, s.Admin = cmp.Or(s.Listen, loopback.Free(ctx)), loopback.Free(ctx)
	file := filepath.Join(s.Dir, path.Base(config))
	text, err := render(config, s)
	if err != nil {
		return nil, err
	}
	err = errors.Join(
		os.WriteFile(file, text, 0o600),
		os.WriteFile(filepath.Join(s.Dir, "503.http"), httpOf(s.Page), 0o600),
	)
	if err != nil {
		return nil, err
	}
	process, err := start(ctx, s.Dir, b.command(file)[0], b.command(file)[1:]...)
	if err != nil {
		return nil, err
	}
	started := &server{process: process, url: "http://" + s.Listen, admin: "http://" + s.Admin}
	if err := await(ctx, config+" listens", func() bool { return listens(ctx, s.Listen) }); err != nil {
		started.stop()
		return nil, fmt.Errorf("%w: %s", err, started.said())
	}
	return started, nil
}

// command runs a server with a config file.
func (b *Bench) command(file string) []string {
	switch filepath.Ext(file) {
	case ".cfg":
		return []string{"haproxy", "-db", "-f", file}
	case ".conf":
		return []string{"nginx", "-c", file, "-e", "/dev/null"}
	default:
		return []string{b.caddy, "run", "--config", file}
	}
}

// render returns the text of a config; all Caddyfiles begin with the same options.
func render(config string, s settings) ([]byte, error) {
	names := []string{"configs/" + config}
	if strings.HasSuffix(config, ".Caddyfile") {
		names = append([]string{"configs/head.Caddyfile"}, names...)
	}
	var text bytes.Buffer
	for _, name := range names {
		t, err := template.New(path.Base(name)).
			Funcs(template.FuncMap{"join": func(words []string) string { return strings.Join(words, " ") }}).
			ParseFS(configs, name)
		if err != nil {
			return nil, err
		}
		if err := t.Execute(&text, s); err != nil {
			return nil, err
		}
	}
	return text.Bytes(), nil
}

func listens(ctx context.Context, address string) bool {
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", address)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// await polls until a condition holds.
func await(ctx context.Context, what string, holds func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, awaitTimeout)
	defer cancel()
	for !holds() {
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return fmt.Errorf("waited %v in vain: %s", awaitTimeout, what)
		}
	}
	return nil
}

// pause waits for some time, or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
