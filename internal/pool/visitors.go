package pool

import (
	"math"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/healthpool/caddy-healthpool/internal/outage"
)

// visitors are the people who see the page of a pool and wait for it to be back.
// They are not known one by one, only by what their pages were told last.
type visitors struct {
	// expected counts, for each second that comes, the pages that will ask in it:
	// the count is in the lowest countBits, the second above them.
	expected [expectedSeconds]atomic.Int64
	// turn is when the next of them may return (of time.UnixNano).
	turn atomic.Int64
	// past is how long the latest outages lasted, the newest first.
	past atomic.Pointer[[]time.Duration]
}

const (
	// expectedSeconds is more than any page is told to wait before it asks again,
	// and a power of two: any second, even one before 1970, has a place.
	expectedSeconds = 64
	// countBits hold more than can ask in one second, and leave enough for a second
	// until the year 3058.
	countBits = 28
)

// crowds are the visitors of each pool by its token, across reloads.
var visitorsByToken = caddy.NewUsagePool()

func visitorsOf(token string) *visitors {
	v, _ := visitorsByToken.LoadOrStore(token, new(visitors))
	return v.(*visitors)
}

// expect counts in a page that will ask at a time.
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

// waiting is how many pages will ask from now on.
func (v *visitors) waiting(now time.Time) (n int) {
	second := now.Unix()
	for i := range v.expected {
		if b := v.expected[i].Load(); b>>countBits >= second {
			n += int(b & (1<<countBits - 1))
		}
	}
	return n
}

// The pace at which visitors return, each with a page and all that belongs to it:
// so many a second to each upstream at first, and twice as many after each of the
// first rampTimes that the pool stays up.
const (
	firstPace = 20
	rampTime  = 10 * time.Second
	ramps     = 3
	// maxLead is how long a visitor is kept waiting at most. Anybody can ask without
	// being one: that must not keep the others away.
	maxLead = time.Minute
)

// admit returns when the next visitor may return to a pool with so many usable
// upstreams, which is up since a time.
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

// ended notes how long an outage lasted.
func (v *visitors) outageEnded(lasted time.Duration) {
	const kept = 8
	all := append([]time.Duration{lasted}, v.pastOutages()...)
	all = all[:min(len(all), kept)]
	v.past.Store(&all)
}

// earlier is how long earlier outages lasted.
func (v *visitors) pastOutages() []time.Duration {
	if past := v.past.Load(); past != nil {
		return *past
	}
	return nil
}

// Poll answers a page that asks whether the pool is back. After is, in seconds,
// when to return if it is, and else when to ask again. Admitted is whether the client
// passes while the pool is closed.
func (p *Pool) Poll(now time.Time, admitted bool) (up bool, after int) {
	v, maintenance := p.view.Load(), p.maintenance.Load()
	if admitted {
		maintenance = nil
	}
	if v.ready(false) && maintenance == nil {
		turn := p.visitors.nextReturn(now, p.upSince(v), len(v.usable))
		return true, int(math.Ceil(turn.Sub(now).Seconds()))
	}
	since := now // it is up, but this very moment nobody may be sent there
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

// Expect counts in a visitor whose page will ask after so many seconds.
func (p *Pool) Expect(now time.Time, after int) {
	p.visitors.expect(now.Add(time.Duration(min(after, expectedSeconds-1)) * time.Second))
}

// upSince is since when the pool takes requests: since it came back, or was opened.
func (p *Pool) upSince(v *view) time.Time {
	opened := time.Unix(0, p.reopened.Load())
	if opened.After(v.upSince) {
		return opened
	}
	return v.upSince
}

// RetryAfter is when a client should try again, and whether the outage lasts longer
// than others did. A pool that is neither down nor closed to the client knows nothing of
// that.
func (p *Pool) RetryAfter(now time.Time, admitted bool) (after time.Duration, long, known bool) {
	if maintenance := p.maintenance.Load(); maintenance != nil && !admitted {
		if rest := untilOpen(maintenance, now); rest > 0 {
			return rest, false, true
		}
		return outage.Estimate(now.Sub(maintenance.Since), nil, 0), false, true
	}
	down, since := p.DownSince()
	if !down {
		return 0, false, false
	}
	earlier := p.visitors.pastOutages()
	return outage.Estimate(now.Sub(since), earlier, p.nextCheck(now)), outage.IsLong(now.Sub(since), earlier), true
}

// nextCheck is how long it takes until the next check, which may bring an upstream
// back. Of a big pool it looks at a part, where it is hardly later.
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
