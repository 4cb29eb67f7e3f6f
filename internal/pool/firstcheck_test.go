package pool

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/cause"
)

// TestFirstChecksEnd: the state checking, and waiting for it, ends whatever the first
// checks find (YARP's InitialDestinationsProbed).
func TestFirstChecksEnd(t *testing.T) {
	for name, tt := range map[string]struct {
		first, second cause.Cause
		takes         time.Duration
		want          string
	}{
		"both pass":     {"", "", time.Millisecond, "hh"},
		"one times out": {cause.ConnectionTimeout, "", 2 * time.Second, "uh"},
		"both time out": {cause.ConnectionTimeout, cause.HTTPResponseTimeout, 2 * time.Second, "uu"},
		"one refuses":   {"", cause.ConnectionRefused, time.Millisecond, "hu"},
		"both refuse":   {cause.ConnectionRefused, cause.ConnectionRefused, time.Millisecond, "uu"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, apps, _ := newPool(options(), 2)
				apps[0].result, apps[1].result = tt.first, tt.second
				apps[0].takes, apps[1].takes = tt.takes, tt.takes
				start(t, p)
				begun := time.Now()
				pick(p, new(Request))
				if waited := time.Since(begun); waited > tt.takes+releaseDelay {
					t.Errorf("a request waited %v for checks of %v", waited, tt.takes)
				}
				time.Sleep(tt.takes)
				synctest.Wait()
				if got := states(p); got != tt.want {
					t.Errorf("states %s, want %s", got, tt.want)
				}
			})
		})
	}
}

// TestRemovedDuringACheck: the result of a check must not bring back an upstream that was
// removed meanwhile (Envoy's RemoveHostInCallback).
func TestRemovedDuringACheck(t *testing.T) {
	listed(t, []string{"app1:80", "app2:80"}, func(t *testing.T, p *Pool, n *fakeDNS) {
		gone := n.apps["app2:80"]
		gone.set(cause.ConnectionRefused)
		time.Sleep(2 * interval)
		gone.mu.Lock()
		gone.takes = 3 * refresh
		gone.mu.Unlock()
		for gone.busy.Load() == 0 {
			time.Sleep(100 * time.Millisecond)
		}
		n.set(func() { n.list = []string{"app1:80"} })
		time.Sleep(2 * refresh)
		want(t, p, "app1")
		gone.set("")
		time.Sleep(10 * refresh)
		want(t, p, "app1")
		if n := gone.busy.Load(); n != 0 {
			t.Errorf("%d checks of it go on", n)
		}
	})
}
