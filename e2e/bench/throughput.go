package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"slices"
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
	ours, err := b.warm(ctx, "throughput/ours.Caddyfile", names)
	if err != nil {
		return row, err
	}
	defer ours.stop()
	other, err := b.warm(ctx, config, names)
	if err != nil {
		return row, err
	}
	defer other.stop()
	var ratios []float64
	pair := []*candidate{ours, other}
	for i := range b.pairs {
		for _, c := range pair {
			if err := c.load(b.burst); err != nil {
				return row, err
			}
		}
		ratios = append(ratios, ours.rates[i]/other.rates[i])
		slices.Reverse(pair)
	}
	row = ThroughputRow{Ours: spreadOf(ours.rates).Median, Their: spreadOf(other.rates).Median, Rate: spreadOf(ratios)}
	ourCost, err := ours.cost()
	if err != nil {
		return row, err
	}
	otherCost, err := other.cost()
	row.CPU = ourCost / otherCost
	return row, err
}

// candidate is a proxy with its backend and its clients, and what was measured.
type candidate struct {
	proxy, backend *server
	clients        *clients
	before         usage // after the warm-up
	answers        int
	rates          []float64 // of each burst
}

// warm starts a proxy and its backend, and loads them until slow starts are over and nearly all upstreams have a connection.
func (b *Bench) warm(ctx context.Context, config string, names *zone) (_ *candidate, err error) {
	c := new(candidate)
	defer func() {
		if err != nil {
			c.stop()
		}
	}()
	var port string
	if c.backend, port, err = b.backend(ctx); err != nil {
		return nil, err
	}
	c.proxy, err = b.serve(ctx, config, settings{
		Upstreams: withPort(names.ips, port), Names: names.names, Port: port, Resolver: names.address,
	})
	if err != nil {
		return nil, err
	}
	if err := await(ctx, "an answer", func() bool { return answers(ctx, c.proxy.url, http.StatusOK) }); err != nil {
		return nil, err
	}
	if c.clients, err = connect(ctx, c.proxy.url, connections); err != nil {
		return nil, err
	}
	if _, _, err := c.clients.burst(b.warmUp); err != nil {
		return nil, err
	}
	c.before, err = c.proxy.use()
	return c, err
}

// stop stops what was started.
func (c *candidate) stop() {
	if c.clients != nil {
		c.clients.close()
	}
	for _, s := range []*server{c.proxy, c.backend} {
		if s != nil {
			s.stop()
		}
	}
}

func (c *candidate) load(d time.Duration) error {
	answers, took, err := c.clients.burst(d)
	c.answers += answers
	c.rates = append(c.rates, float64(answers)/took.Seconds())
	return err
}

// cost is the processor time per request, in seconds.
func (c *candidate) cost() (float64, error) {
	after, err := c.proxy.use()
	return (after.cpu - c.before.cpu).Seconds() / float64(c.answers), err
}
