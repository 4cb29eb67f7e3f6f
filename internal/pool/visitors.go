package pool

import (
	"math"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/healthpool/caddy-healthpool/internal/outage"
)

// visitors are the people whose page waits for the pool to be back. They are not tracked
// one by one, only by what their pages were last told.
type visitors struct {
	// expected counts, for each coming second, the pages that will poll in it: the lowest
	// countBits have the count, the bits above them the second.
	expected [expectedSeconds]atomic.Int64
	// turn is when the next visitor may return, in Unix nanoseconds.
	turn atomic.Int64
	// past has the durations of the latest outages, newest first.
	past atomic.Pointer[[]time.Duration]
}

const (
	// expectedSeconds is longer than any page waits before it polls again, and a power of
	// two, so that any second, even before 1970, maps to a bucket.
	expectedSeconds = 64
	// countBits hold more polls than one second can have, and leave room for seconds until
	// the year 3058.
	countBits = 28
)

// visitorsByToken has the visitors of each pool, across reloads.
var visitorsByToken = caddy.NewUsagePool()

func visitorsOf(token string) *visitors {
	v, _ := visitorsByToken.LoadOrStore(token, new(visitors))
	return v.(*visitors)
}

// expect counts a page that will poll at that time.
func (v *visitors) expect(at time.Time) {
	second := at.Unix()
	bucket := &v.expected[second&(expectedSeconds-1)]
	for {
		old := bucket.Load()
		count := second << countBits
		if old>>countBits == second {
			count = old
		}
		if bucket.CompareAndSwap(old, count+1) {
			return
		}
	}
}

// waiting returns how many pages will poll from now on.
func (v *visitors) waiting(now time.Time) (n int) {
	second := now.Unix()
	for i := range v.expected {
		if b := v.expected[i].Load(); b>>countBits >= second {
			n += int(b & (1<<countBits - 1))
		}
	}
	return n
}

// The pace at which visitors return, each with a page and its assets: firstPace a second
// for each usable upstream, doubled after each of the first rampTimes that the pool stays
// up, up to ramps times.
const (
	firstPace = 20
	rampTime  = 10 * time.Second
	ramps     = 3
	// maxLead is the longest that a visitor is told to wait. Anybody can send polls: a
	// flood of them must not keep visitors away.
	maxLead = time.Minute
)

// nextReturn returns when the next visitor may return to a pool that has been up since a
// time.
func (v *visitors) nextReturn(now, since time.Time, upstreams int) time.Time {
	for {
		last := v.turn.Load()
		turn := max(now.UnixNano(), last)
		if turn-now.UnixNano() > int64(maxLead) {
			return now.Add(rand.N(maxLead))
		}
		doublings := min(time.Unix(0, turn).Sub(since).Seconds()/rampTime.Seconds(), ramps)
		pace := firstPace * float64(max(1, upstreams)) * math.Exp2(max(0, doublings))
		if v.turn.CompareAndSwap(last, turn+int64(float64(time.Second)/pace)) {
			return time.Unix(0, turn)
		}
	}
}

// outageEnded records how long an outage lasted.
func (v *visitors) outageEnded(lasted time.Duration) {
	const kept = 8
	all := append([]time.Duration{lasted}, v.pastOutages()...)
	all = all[:min(len(all), kept)]
	v.past.Store(&all)
}

// pastOutages returns how long earlier outages lasted.
func (v *visitors) pastOutages() []time.Duration {
	if past := v.past.Load(); past != nil {
		return *past
	}
	return nil
}

// Poll answers a page's poll. after is in seconds: when to reload if the pool is up, else
// when to poll again. admitted is whether the client may use the pool during maintenance.
func (p *Pool) Poll(now time.Time, admitted bool) (up bool, after int) {
	v, maintenance := p.view.Load(), p.maintenance.Load()
	if admitted {
		maintenance = nil
	}
	if v.ready(false) && maintenance == nil {
		turn := p.visitors.nextReturn(now, p.upSince(v), len(v.usable))
		return true, int(math.Ceil(turn.Sub(now).Seconds()))
	}
	since := now // the pool is up, but no upstream can take a request right now
	if maintenance != nil {
		since = maintenance.Since
	} else if v.down() {
		_, since = p.DownSince()
	}
	after = outage.PollAfter(now.Sub(since), p.visitors.waiting(now))
	after += rand.IntN(1 + after/4)
	p.Expect(now, after)
	return false, after
}

// Expect counts a visitor whose page will poll after that many seconds.
func (p *Pool) Expect(now time.Time, after int) {
	p.visitors.expect(now.Add(time.Duration(min(after, expectedSeconds-1)) * time.Second))
}

// upSince returns since when the pool takes requests: since it recovered, or since
// maintenance ended.
func (p *Pool) upSince(v *view) time.Time {
	opened := time.Unix(0, p.reopened.Load())
	if opened.After(v.upSince) {
		return opened
	}
	return v.upSince
}

// RetryAfter returns when a client should try again, and whether the outage is longer than
// usual. known is false if the pool is neither down nor closed to the client.
func (p *Pool) RetryAfter(now time.Time, admitted bool) (after time.Duration, long, known bool) {
	if maintenance := p.maintenance.Load(); maintenance != nil && !admitted {
		if rest := untilOpen(maintenance, now); rest > 0 {
			return rest, false, true
		}
		const atLeast = 30 * time.Second // planned work is no restart
		return outage.Estimate(now.Sub(maintenance.Since), nil, atLeast), false, true
	}
	down, since := p.DownSince()
	if !down {
		return 0, false, false
	}
	earlier := p.visitors.pastOutages()
	return outage.Estimate(now.Sub(since), earlier, p.nextCheck(now)), outage.IsLong(now.Sub(since), earlier), true
}

// nextCheck returns the time until the next check, which may bring an upstream back. In a
// big pool it looks at only some members, which hardly changes the result.
func (p *Pool) nextCheck(now time.Time) time.Duration {
	const enough = 64
	members := p.view.Load().members
	next := int64(math.MaxInt64)
	for _, m := range members[:min(len(members), enough)] {
		if due := m.dueAt.Load(); due != 0 {
			next = min(next, due)
		}
	}
	if next == math.MaxInt64 {
		return 0
	}
	return max(0, time.Unix(0, next).Sub(now))
}
