package pool

import (
	"container/heap"
	"math"
	"testing"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/outage"
)

// pollTimes has the times at which waiting pages poll next, earliest first.
type pollTimes []time.Time

func (a pollTimes) Len() int           { return len(a) }
func (a pollTimes) Less(i, j int) bool { return a[i].Before(a[j]) }
func (a pollTimes) Swap(i, j int)      { a[i], a[j] = a[j], a[i] }
func (a *pollTimes) Push(t any)        { *a = append(*a, t.(time.Time)) }
func (a *pollTimes) Pop() any {
	last := (*a)[len(*a)-1]
	*a = (*a)[:len(*a)-1]
	return last
}

// TestVisitorsReturnAtPace simulates 10,000 visitors who wait through an outage of a
// minute: at any time after it, no more have returned than the pace allows, all have within
// one more minute, and never more than twice the pace at once.
func TestVisitorsReturnAtPace(t *testing.T) {
	const crowd, upstreams = 10_000, 2
	began := time.Unix(1_000_000, 0)
	up := began.Add(time.Minute)
	var v visitors
	var pages pollTimes
	for i := range crowd { // they arrive all through the outage
		heap.Push(&pages, began.Add(time.Duration(i)*time.Minute/crowd))
	}
	returned := make(map[int]int) // by whole seconds since it is up
	for len(pages) > 0 {
		now := heap.Pop(&pages).(time.Time)
		if now.Before(up) {
			v.expect(now.Add(time.Duration(outage.PollAfter(now.Sub(began), v.waiting(now))) * time.Second))
			heap.Push(&pages, now.Add(time.Duration(outage.PollAfter(now.Sub(began), v.waiting(now)))*time.Second))
			continue
		}
		turn := v.nextReturn(now, up, upstreams)
		after := time.Duration(math.Ceil(turn.Sub(now).Seconds())) * time.Second
		returned[int(now.Add(after).Sub(up)/time.Second)]++
	}
	total, peak := 0, 0
	for second := range 120 {
		total += returned[second]
		peak = max(peak, returned[second])
		if allowed := returnsUntil(time.Duration(second+1)*time.Second, upstreams); float64(total) > allowed+1 {
			t.Errorf("%d have returned after %d s, at most %.0f should", total, second+1, allowed)
		}
		if total == crowd {
			t.Logf("all are back after %d s, at most %d in one second", second+1, peak)
			if second > 60 || peak > 2*firstPace*upstreams<<ramps {
				t.Errorf("the last visitor is back after %d s, %d came at once", second, peak)
			}
			return
		}
	}
	t.Errorf("only %d of %d are back after two minutes", total, crowd)
}

// returnsUntil is the integral of the pace: how many may have returned d after the pool is
// up.
func returnsUntil(d time.Duration, upstreams float64) float64 {
	const top = 1 << ramps
	ramping := min(d, ramps*rampTime).Seconds() / rampTime.Seconds()
	ramped := (math.Exp2(ramping) - 1) / math.Ln2 * rampTime.Seconds()
	return firstPace * upstreams * (ramped + top*max(0, d-ramps*rampTime).Seconds())
}

// TestVisitorsWaiting: each page counts until its next poll was due, and no longer.
func TestVisitorsWaiting(t *testing.T) {
	var v visitors
	start := time.Unix(1_000_000, 0)
	in := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	for _, s := range []int{1, 5, 5, 30} {
		v.expect(in(s))
	}
	for s, want := range map[int]int{0: 4, 1: 4, 2: 3, 5: 3, 6: 1, 30: 1, 31: 0, 1000: 0} {
		if got := v.waiting(in(s)); got != want {
			t.Errorf("after %d s: %d wait, want %d", s, got, want)
		}
	}
	v.expect(in(5 + expectedSeconds)) // reuses the buckets of the old ones
	if got := v.waiting(in(20)); got != 2 {
		t.Errorf("%d wait, want 2", got)
	}
}

// TestVisitorsRemember: the latest outages count, however many there were.
func TestVisitorsRemember(t *testing.T) {
	var v visitors
	if got := v.pastOutages(); len(got) != 0 {
		t.Errorf("remembers %v", got)
	}
	for i := range 20 {
		v.outageEnded(time.Duration(i))
	}
	if got := v.pastOutages(); len(got) != 8 || got[0] != 19 || got[7] != 12 {
		t.Errorf("remembers %v, want the latest eight", got)
	}
}

// BenchmarkPoll measures a page's poll, without net/http.
func BenchmarkPoll(b *testing.B) {
	p := New(Options{Name: "bench", Token: b.Name()}, nil)
	b.Cleanup(p.Release)
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		p.Poll(now, false)
	}
}
