package probe

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/health"
)

// BenchmarkProbe measures a passed check, without the network.
func BenchmarkProbe(b *testing.B) {
	ok := func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
	}
	serving := func(r *http.Request) (*http.Response, error) {
		return answering(http.Response{Body: io.NopCloser(strings.NewReader(isServing)), Trailer: http.Header{"Grpc-Status": {"0"}}})(r)
	}
	dial := func(context.Context, string, string) (net.Conn, error) { return closed{}, nil }
	for name, probe := range map[string]func(context.Context) health.Result{
		"tcp":  (&TCP{Address: "app.test:80", Timeout: time.Hour, Dial: dial}).Probe,
		"http": (&HTTP{URL: "http://app.test/healthz", Timeout: time.Hour, Transport: tripper(ok)}).Probe,
		"grpc": (&GRPC{URL: "http://app.test", Service: "cart", Timeout: time.Hour, Transport: tripper(serving)}).Probe,
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if r := probe(b.Context()); !r.Passed() {
					b.Fatal(r)
				}
			}
		})
	}
}

// closed is a connection that can be closed.
type closed struct{ net.Conn }

func (closed) Close() error { return nil }
