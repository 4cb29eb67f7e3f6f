package main

import (
	"context"
	"fmt"
	"log"
	"strings"
)

// ProbingRow is the cost of health checks.
type ProbingRow struct {
	Proxy  string
	Check  string
	Core   float64 // of one core
	Checks float64 // per second, as counted by the backend
	Memory int64   // resident bytes
}

// measureProbing watches proxies that have nothing to do but health checks.
func (b *Bench) measureProbing(ctx context.Context) error {
	backend, port, err := b.backend(ctx)
	if err != nil {
		return err
	}
	defer backend.stop()
	for _, one := range []struct{ proxy, config, check string }{
		{"healthpool", "ours.Caddyfile", "tcp"},
		{"HAProxy", "haproxy.cfg", "tcp"},
		{"healthpool", "ours.Caddyfile", "http"},
		{"HAProxy", "haproxy.cfg", "http"},
		{"Caddy", "caddy.Caddyfile", "http"},
	} {
		s := settings{Upstreams: withPort(loopbackIPs(b.probed), port), Check: one.check}
		row, err := b.watchProbes(ctx, backend, "probing/"+one.config, s)
		if err != nil {
			return fmt.Errorf("%s, %s: %w", one.proxy, one.check, err)
		}
		row.Proxy, row.Check = one.proxy, one.check
		log.Printf("%+v", row)
		b.report.Probing = append(b.report.Probing, row)
	}
	return nil
}

func (b *Bench) watchProbes(ctx context.Context, backend *server, config string, s settings) (row ProbingRow, err error) {
	proxy, err := b.serve(ctx, config, s)
	if err != nil {
		return row, err
	}
	defer proxy.stop()
	if err := pause(ctx, b.settle); err != nil {
		return row, err
	}
	before, err := proxy.use()
	if err != nil {
		return row, err
	}
	seen, err := backend.seen(ctx, s.Check)
	if err != nil {
		return row, err
	}
	if err := pause(ctx, b.watch); err != nil {
		return row, err
	}
	after, err := proxy.use()
	if err != nil {
		return row, err
	}
	more, err := backend.seen(ctx, s.Check)
	return ProbingRow{
		Core: after.since(before), Memory: after.memory,
		Checks: (more - seen) / after.at.Sub(before.at).Seconds(),
	}, err
}

// seen is how many checks have reached the backend: requests for http checks, else connections.
func (s *server) seen(ctx context.Context, check string) (float64, error) {
	text, err := asker{}.ask(ctx, s.url+"/-/status")
	if err != nil {
		return 0, err
	}
	// "server accepts handled requests" stands above them.
	var accepts, handled, requests float64
	_, numbers, _ := strings.Cut(string(text), "requests")
	if _, err := fmt.Sscan(numbers, &accepts, &handled, &requests); err != nil {
		return 0, fmt.Errorf("the backend's status %q: %w", text, err)
	}
	if check == "http" {
		return requests, nil
	}
	return accepts, nil
}
