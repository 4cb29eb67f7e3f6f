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
	CPU         spread  // the same for processor time per request, where less is better
}

// spread is the range of a ratio over several pairs.
type spread struct{ Low, Median, High float64 }

func spreadOf(ratios []float64) spread {
	slices.Sort(ratios)
	return spread{ratios[0], median(ratios), ratios[len(ratios)-1]}
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// measureThroughput compares pairs in alternation, so that whatever else the machine does affects both.
func (b *Bench) measureThroughput(ctx context.Context) error {
	for _, n := range b.sizes {
		names, err := serveZone(ctx, loopback(n))
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
// loads them in turn.
func (b *Bench) compare(ctx context.Context, config string, names *zone) (row ThroughputRow, err error) {
	var servers [2]*server
	for i, config := range []string{"throughput/ours.Caddyfile", config} {
		backend, port, err := b.backend(ctx)
		if err != nil {
			return row, err
		}
		defer backend.stop()
		servers[i], err = b.serve(ctx, config, settings{
			Upstreams: withPort(names.ips, port), Names: names.names, Port: port, Resolver: names.address,
		})
		if err != nil {
			return row, err
		}
		defer servers[i].stop()
		if err := await(ctx, "an answer", func() bool { return answers(ctx, servers[i].url, http.StatusOK) }); err != nil {
			return row, err
		}
		// After this, slow starts are over, and nearly all upstreams have a connection.
		if _, err := servers[i].throughput(ctx, 6*b.load); err != nil {
			return row, err
		}
	}
	ours, their := servers[0], servers[1]
	var ourRates, theirRates, rates, costs []float64
	for i := range b.pairs {
		pair := []*server{ours, their}
		if i%2 == 1 {
			slices.Reverse(pair)
		}
		samples := make(map[*server]sample)
		for _, one := range pair {
			if samples[one], err = one.throughput(ctx, b.load); err != nil {
				return row, err
			}
		}
		ourRates, theirRates = append(ourRates, samples[ours].rate), append(theirRates, samples[their].rate)
		rates = append(rates, samples[ours].rate/samples[their].rate)
		costs = append(costs, samples[ours].cost/samples[their].cost)
	}
	return ThroughputRow{
		Ours: median(ourRates), Their: median(theirRates),
		Rate: spreadOf(rates), CPU: spreadOf(costs),
	}, nil
}

// sample is one measurement.
type sample struct {
	rate float64 // requests per second
	cost float64 // seconds of processor time per request
}

func (s *server) throughput(ctx context.Context, d time.Duration) (sample, error) {
	before, err := s.use()
	if err != nil {
		return sample{}, err
	}
	speed, err := wrk(ctx, s.url, d, false)
	if err != nil {
		return sample{}, err
	}
	after, err := s.use()
	return sample{speed.rate, (after.cpu - before.cpu).Seconds() / speed.requests}, err
}
