package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"strings"
	"time"

	"github.com/healthpool/caddy-healthpool/e2e/internal/loopback"
)

// OutageRow is how many error responses per second a proxy gives when nothing answers.
type OutageRow struct {
	Proxy  string
	Format string
	Bytes  int // of the body
	Rate   spread

	AtLeast bool // whether wrk could not ask any faster
}

// asker is a kind of client, and the proxy that answers it.
type asker struct {
	proxy, config, format string

	headers []string
	grpc    bool // whether it is answered with status 200, as gRPC is
}

var askers = []asker{
	{proxy: "healthpool", config: "ours.Caddyfile", format: "page", headers: []string{"Accept: text/html", "Sec-Fetch-Dest: document"}},
	{proxy: "healthpool", config: "ours.Caddyfile", format: "problem+json", headers: []string{"Accept: application/json"}},
	{proxy: "healthpool", config: "ours.Caddyfile", format: "text"},
	{proxy: "healthpool", config: "ours.Caddyfile", format: "status only (image)", headers: []string{"Sec-Fetch-Dest: image"}},
	{proxy: "healthpool", config: "ours.Caddyfile", format: "gRPC", headers: []string{"Content-Type: application/grpc"}, grpc: true},
	{proxy: "Caddy, reverse_proxy", config: "caddy.Caddyfile", format: "empty"},
	{proxy: "Caddy, respond", config: "respond.Caddyfile", format: "page"},
	{proxy: "HAProxy, errorfile", config: "haproxy.cfg", format: "page"},
	{proxy: "nginx, error_page", config: "nginx.conf", format: "page"},
}

// oldOutage is how old an outage must be for requests not to be held any more.
const oldOutage = 7 * time.Second

// measureOutage asks proxies whose upstreams are all down, in turn.
func (b *Bench) measureOutage(ctx context.Context) error {
	s := settings{Upstreams: []string{loopback.Free(ctx), loopback.Free(ctx)}}
	servers := make(map[string]*server)
	for _, a := range askers {
		if servers[a.config] != nil {
			continue
		}
		one, err := b.serve(ctx, "outage/"+a.config, s)
		if err != nil {
			return err
		}
		defer one.stop()
		servers[a.config] = one
		if s.Page != "" {
			continue
		}
		// The others show a page of the same size.
		if err := pause(ctx, oldOutage); err != nil {
			return err
		}
		page, err := a.ask(ctx, one.url)
		if err != nil {
			return err
		}
		s.Page = pageOf(len(page))
	}
	return b.askAll(ctx, servers)
}

func (b *Bench) askAll(ctx context.Context, servers map[string]*server) error {
	rates, limited := make([][]float64, len(askers)), make([]bool, len(askers))
	for round := range b.turns {
		for i := range askers {
			i := (i + round) % len(askers)
			args := make([]string, 0, 2*len(askers[i].headers))
			for _, header := range askers[i].headers {
				args = append(args, "--header", header)
			}
			speed, err := wrk(ctx, servers[askers[i].config].url, b.load, !askers[i].grpc, args...)
			if err != nil {
				return err
			}
			rates[i] = append(rates[i], speed.rate)
			limited[i] = limited[i] || speed.limited
		}
	}
	for i, a := range askers {
		body, err := a.ask(ctx, servers[a.config].url)
		if err != nil {
			return err
		}
		row := OutageRow{Proxy: a.proxy, Format: a.format, Bytes: len(body), Rate: spreadOf(rates[i]), AtLeast: limited[i]}
		log.Printf("%+v", row)
		b.report.Outage = append(b.report.Outage, row)
	}
	return nil
}

// ask returns the body of one answer.
func (a asker) ask(ctx context.Context, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	for _, header := range a.headers {
		name, value, _ := strings.Cut(header, ": ")
		request.Header.Set(name, value)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	return io.ReadAll(response.Body)
}

// pageOf returns a page of so many bytes.
func pageOf(size int) string {
	const begin, end = "<!doctype html><title>Sorry</title><p>", "</p>"
	return begin + strings.Repeat("Sorry. ", max(0, size-len(begin)-len(end))/len("Sorry. ")) + end
}

// httpOf returns a page as HAProxy wants it: with status line and header.
func httpOf(page string) []byte {
	return fmt.Appendf(nil, "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/html; charset=utf-8\r\n"+
		"Cache-Control: no-store\r\nContent-Length: %d\r\n\r\n%s", len(page), page)
}
