package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"time"
)

// ThroughputRow is our rate beside that of plain Caddy with as many upstreams.
type ThroughputRow struct {
	Upstreams   int
	Other       string
	Ours, Their float64 // requests per second, medians
	Rate        spread  // of the pairs: ours divided by theirs
	CPU         float64 // processor time per request, ours divided by theirs, where less is better
}

// measureThroughput compares pairs in alternation, so that whatever else the machine does affects both.
func (b *Bench) measureThroughput(ctx context.Context) error {
	for _, n := range b.sizes {
		names, err := serveZone(ctx, loopbackIPs(n))
		if err != nil {
			return err
		}
		for _, other := range []string{"static", "round_robin", "dynamic"} {
			row, err := b.compare(ctx, "throughput/"+other+".Caddyfile", names)
			if err != nil {
				return fmt.Errorf("%d upstreams, %s: %w", n, other, err)
			}
			row.Upstreams, row.Other = n, other
			log.Printf("%+v", row)
			b.report.Throughput = append(b.report.Throughput, row)
		}
		names.stop()
	}
	return nil
}

// compare runs ours and another at the same time, each with a backend of its own that has room for all connections, and
// loads them in turn. Bursts are so short that both meet the same machine, whatever else it does meanwhile.
func (b *Bench) compare(ctx context.Context, config string, names *zone) (row ThroughputRow, err error) {
	var both [2]*loaded
	for i, config := range []string{"throughput/ours.Caddyfile", config} {
		backend, port, err := b.backend(ctx)
		if err != nil {
			return row, err
		}
		defer backend.stop()
		s, err := b.serve(ctx, config, settings{
			Upstreams: withPort(names.ips, port), Names: names.names, Port: port, Resolver: names.address,
		})
		if err != nil {
			return row, err
		}
		defer s.stop()
		if err := await(ctx, "an answer", func() bool { return answers(ctx, s.url, http.StatusOK) }); err != nil {
			return row, err
		}
		clients, err := connect(ctx, s.url, connections)
		if err != nil {
			return row, err
		}
		defer clients.close()
		// After this, slow starts are over, and nearly all upstreams have a connection.
		if _, _, err := clients.burst(b.warmUp); err != nil {
			return row, err
		}
		both[i] = &loaded{server: s, clients: clients}
		if both[i].before, err = s.use(); err != nil {
			return row, err
		}
	}
	var ratios []float64
	for i := range b.pairs {
		for k := range both {
			if err := both[(i+k)%2].load(b.burst); err != nil {
				return row, err
			}
		}
		ratios = append(ratios, both[0].rates[i]/both[1].rates[i])
	}
	var costs [2]float64
	for i, l := range both {
		after, err := l.use()
		if err != nil {
			return row, err
		}
		costs[i] = (after.cpu - l.before.cpu).Seconds() / float64(l.answers)
	}
	return ThroughputRow{
		Ours: spreadOf(both[0].rates).Median, Their: spreadOf(both[1].rates).Median,
		Rate: spreadOf(ratios), CPU: costs[0] / costs[1],
	}, nil
}

// loaded is a server with its clients, and what was measured.
type loaded struct {
	*server
	*clients
	before  usage // after the warm-up
	answers int
	rates   []float64 // of each burst
}

func (l *loaded) load(d time.Duration) error {
	answers, took, err := l.burst(d)
	l.answers += answers
	l.rates = append(l.rates, float64(answers)/took.Seconds())
	return err
}
