package e2e

import (
	"cmp"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/healthpool/caddy-healthpool/e2e/internal/chaos"
)

// retryingAll is a pool that looks at health, and asks another upstream what one has answered with an error.
const retryingAll = `
		health_uri /healthz
		lb_retry_match {
			expression ` + "`{rp.is_transport_error} == true || {rp.status_code} >= 500`" + `
			method GET HEAD
		}`

// startBackends starts apps that live until they are stopped or the test ends.
func startBackends(t *testing.T, n int) (backends []*chaos.Backend, addresses []string) {
	t.Helper()
	for range n {
		b := &chaos.Backend{Address: freeAddress(t)}
		t.Cleanup(func() { b.Stop(syscall.SIGKILL) })
		if err := b.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		backends, addresses = append(backends, b), append(addresses, b.Address)
	}
	return backends, addresses
}

// TestChaos: whatever happens to one of four apps, no client sees an error, and hardly one has to wait; and if all are gone
// for 2 s, each request is answered, and few later than they have to be.
func TestChaos(t *testing.T) {
	const rate = 200
	for _, s := range chaos.Scenarios {
		if s.Name != "blackout" { // which must outlast what is called late
			s = s.Faster(2)
		}
		t.Run(s.Name, func(t *testing.T) {
			backends, addresses := startBackends(t, 4)
			caddy := newCaddy(t, "", toPool(addresses, retryingAll))
			caddy.start()
			chaos.Load(t.Context(), "http://"+caddy.site, rate, time.Second) // opens connections
			result, err := s.Run(t.Context(), "http://"+caddy.site, rate, backends)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d requests, %d late, at most %v", len(result.Answers), result.Late(), result.Quantile(1))
			if n := result.Errors(); n > 0 {
				t.Errorf("%d requests failed: %v", n, result.Failures())
			}
			// What has to be late may be, and half as many or one in fifty more, and what the machine itself sent late.
			doomed := result.Doomed()
			more := max(doomed/2, len(result.Answers)/50)
			lag := slices.MaxFunc(result.Answers, func(a, b chaos.Answer) int { return cmp.Compare(a.Lag, b.Lag) }).Lag
			if n := result.Late(); n > doomed+more+int(lag.Seconds()*rate) || n < doomed/2 {
				t.Errorf("%d requests were late, want %d and up to %d more; the trouble was over after %v, requests were sent up to %v late",
					n, doomed, more, result.Over, lag)
			}
		})
	}
}
