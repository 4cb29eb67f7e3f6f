package main

import (
	"context"
	"fmt"
	"log"
	"time"
)

// ProbingRow is what checks cost.
type ProbingRow struct {
	Proxy  string
	Check  string
	Core   float64 // of one core
	Memory int64   // resident bytes
}

const (
	probed       = 10000            // upstreams, each checked every 10 s
	probeSettles = 25 * time.Second // until the first checks, which are spread, are over
	probeTime    = 30 * time.Second
)

// measureProbing watches proxies that have nothing to do but checks.
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
		s := settings{Upstreams: withPort(loopback(probed), port), Check: one.check}
		row, err := b.watchProbes(ctx, "probing/"+one.config, s)
		if err != nil {
			return fmt.Errorf("%s, %s: %w", one.proxy, one.check, err)
		}
		row.Proxy, row.Check = one.proxy, one.check
		log.Printf("%+v", row)
		b.report.Probing = append(b.report.Probing, row)
	}
	return nil
}

func (b *Bench) watchProbes(ctx context.Context, config string, s settings) (row ProbingRow, err error) {
	proxy, err := b.serve(ctx, config, s)
	if err != nil {
		return row, err
	}
	defer proxy.stop()
	if err := pause(ctx, probeSettles); err != nil {
		return row, err
	}
	before, err := proxy.use()
	if err != nil {
		return row, err
	}
	if err := pause(ctx, probeTime); err != nil {
		return row, err
	}
	after, err := proxy.use()
	return ProbingRow{Core: after.since(before), Memory: after.memory}, err
}
