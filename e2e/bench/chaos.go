package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"syscall"
	"time"

	"github.com/healthpool/caddy-healthpool/e2e/internal/chaos"
	"github.com/healthpool/caddy-healthpool/e2e/internal/loopback"
)

// chaosRate is how many requests arrive in each second.
const chaosRate = 300

// proxies are the proxies that are compared.
var proxies = []struct{ Name, config string }{
	{"healthpool", "ours.Caddyfile"},
	{"Caddy", "caddy.Caddyfile"},
	{"HAProxy", "haproxy.cfg"},
	{"nginx", "nginx.conf"},
}

// ChaosRow is the result of one proxy in all rounds of one scenario.
type ChaosRow struct {
	Scenario chaos.Scenario
	Proxy    string
	*chaos.Result
}

// measureChaos runs each scenario against each proxy, in turn.
func (b *Bench) measureChaos(ctx context.Context) error {
	for _, scenario := range b.scenarios {
		results := make([]chaos.Result, len(proxies))
		for round := range b.rounds {
			for i := range proxies {
				i := (i + round) % len(proxies) // so that no proxy is always the first
				result, err := b.runScenario(ctx, proxies[i].config, scenario)
				if err != nil {
					return fmt.Errorf("%s: %w", proxies[i].Name, err)
				}
				results[i].Add(result)
				log.Printf("%s, %s: %d errors, %d late", scenario.Name, proxies[i].Name, result.Errors(), result.Late())
			}
		}
		for i := range proxies {
			b.report.Chaos = append(b.report.Chaos, ChaosRow{scenario, proxies[i].Name, &results[i]})
		}
	}
	return nil
}

// runScenario runs a scenario against one proxy with four new backends.
func (b *Bench) runScenario(ctx context.Context, config string, scenario chaos.Scenario) (*chaos.Result, error) {
	backends := make([]*chaos.Backend, 4)
	var s settings
	for i := range backends {
		backends[i] = &chaos.Backend{Address: loopback.Free(ctx), Name: fmt.Sprint(i + 1)}
		if err := backends[i].Start(ctx); err != nil {
			return nil, err
		}
		defer backends[i].Stop(syscall.SIGKILL)
		s.Upstreams = append(s.Upstreams, backends[i].Address)
	}
	proxy, err := b.serve(ctx, "chaos/"+config, s)
	if err != nil {
		return nil, err
	}
	defer proxy.stop()
	if err := await(ctx, "an answer", func() bool { return answers(ctx, proxy.url, http.StatusOK) }); err != nil {
		return nil, err
	}
	chaos.Load(ctx, proxy.url, chaosRate, 2*time.Second) // opens connections; not counted
	return scenario.Run(ctx, proxy.url, chaosRate, backends)
}

// answers reports whether a URL answers with a status.
func answers(ctx context.Context, url string, status int) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return false
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	response.Body.Close()
	return response.StatusCode == status
}
