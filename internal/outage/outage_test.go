package outage

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/cause"
)

var key = Key{Pool: "shop", Cause: cause.ConnectionRefused}

// collect returns a Log and the numbers of requests in its summaries.
func collect() (*Log, *[]int) {
	var told []int
	return &Log{Summarise: func(o Outage) { told = append(told, o.Suppressed) }}, &told
}

func TestOnceAndThenSummed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, told := collect()
		defer l.Close()
		o, first := l.Failed(key, "a", time.Now())
		if !first || o.Reference != "a" {
			t.Fatalf("the first request: got first %v with reference %q", first, o.Reference)
		}
		for range 3 {
			if o, first := l.Failed(key, "b", time.Now()); first || o.Reference != "a" {
				t.Fatalf("a later one: got first %v with reference %q", first, o.Reference)
			}
		}
		time.Sleep(window + time.Second)
		synctest.Wait()
		if len(*told) != 1 || (*told)[0] != 3 {
			t.Fatalf("after one window: summaries %v, want one of 3", *told)
		}
		if o, first := l.Failed(key, "c", time.Now()); first || o.Reference != "a" {
			t.Errorf("the outage goes on: got first %v with reference %q", first, o.Reference)
		}
	})
}

func TestQuietWindowEndsTheOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, told := collect()
		defer l.Close()
		l.Failed(key, "a", time.Now())
		time.Sleep(window + time.Second)
		if o, first := l.Failed(key, "b", time.Now()); !first || o.Reference != "b" {
			t.Errorf("a new outage: got first %v with reference %q", first, o.Reference)
		}
		if len(*told) != 0 {
			t.Errorf("nothing was suppressed, yet summaries %v", *told)
		}
	})
}

func TestOtherCauseIsAnotherOutage(t *testing.T) {
	l, _ := collect()
	defer l.Close()
	l.Failed(key, "a", time.Now())
	if _, first := l.Failed(Key{Pool: "shop", Cause: cause.DNSError}, "b", time.Now()); !first {
		t.Error("another cause was suppressed")
	}
}

func TestCloseLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, told := collect()
		l.Failed(key, "a", time.Now())
		l.Failed(key, "b", time.Now())
		l.Close()
		l.Close()
		if len(*told) != 1 || (*told)[0] != 1 {
			t.Errorf("summaries %v, want one of 1", *told)
		}
		if _, first := l.Failed(key, "c", time.Now()); !first {
			t.Error("a request after Close was not logged, and nobody will sum it up")
		}
	})
}

func TestPollAfter(t *testing.T) {
	for _, tt := range []struct {
		age     time.Duration
		waiting int
		want    int
	}{
		{0, 0, 1},
		{4 * time.Second, 0, 1},
		{5 * time.Second, 0, 2},
		{time.Minute, 0, 5},
		{10 * time.Minute, 0, 5},
		{20 * time.Minute, 0, 10},
		{time.Hour, 0, 30},
		{24 * time.Hour, 0, 30},
		{0, 400, 1},
		{time.Minute, 5000, 10},
		{time.Minute, 1_000_000, 30},
	} {
		if got := PollAfter(tt.age, tt.waiting); got != tt.want {
			t.Errorf("after %v, with %d waiting: got %d, want %d", tt.age, tt.waiting, got, tt.want)
		}
	}
}

// TestEstimate: clients come back when it is likely to succeed.
func TestEstimate(t *testing.T) {
	const second = time.Second
	for _, tt := range []struct {
		name      string
		age       time.Duration
		earlier   []time.Duration
		nextCheck time.Duration
		want      time.Duration
	}{
		{"it has just begun", 0, nil, 0, 0},
		{"half as long again", 20 * second, nil, 0, 10 * second},
		{"at most a minute", time.Hour, nil, 0, time.Minute},
		{"not before the next check", 0, nil, 12 * second, 12 * second},
		{"a check that is far off", 0, nil, time.Hour, time.Minute},
		{"as the earlier one", 2 * second, []time.Duration{9 * second}, 0, 7 * second},
		{"as the middle of those", 0, []time.Duration{9 * second, 3 * second, 30 * second}, 0, 9 * second},
		{"as the lower of two", 0, []time.Duration{9 * second, 3 * second}, 0, 3 * second},
		{"those that were shorter are out of it", 10 * second, []time.Duration{9 * second, 3 * second, 30 * second}, 0, 20 * second},
		{"longer than all", 40 * second, []time.Duration{9 * second, 3 * second, 30 * second}, 0, 20 * second},
	} {
		if got := Estimate(tt.age, tt.earlier, tt.nextCheck); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestSeconds: headers have whole seconds, never so few that clients would flood the site.
func TestSeconds(t *testing.T) {
	for d, want := range map[time.Duration]int{
		math.MinInt64: 1, 0: 1, time.Millisecond: 1, time.Second: 1, time.Second + 1: 2,
		90 * time.Minute: 5400, math.MaxInt64: 365 * 24 * 60 * 60, // such as until the year 9999
	} {
		if got := Seconds(d); got != want {
			t.Errorf("%v: got %d, want %d", d, got, want)
		}
	}
}

// TestIsLong: an outage is long if it takes longer than a restart and than any earlier one;
// calling it changes nothing.
func TestIsLong(t *testing.T) {
	earlier := append(make([]time.Duration, 0, 9), time.Hour)
	for _, tt := range []struct {
		age     time.Duration
		earlier []time.Duration
		want    bool
	}{
		{2 * time.Minute, nil, false},
		{3 * time.Minute, nil, true},
		{3 * time.Minute, earlier, false},
		{2 * time.Hour, earlier, true},
	} {
		if got := IsLong(tt.age, tt.earlier); got != tt.want {
			t.Errorf("%v after %v: got %v", tt.age, tt.earlier, got)
		}
	}
}

// TestIsLongOnlyReads: the durations of earlier outages are shared by all requests.
func TestIsLongOnlyReads(t *testing.T) {
	shared := []time.Duration{time.Minute, time.Hour}
	if IsLong(time.Minute, shared[:1]) || shared[1] != time.Hour {
		t.Errorf("shared: %v", shared)
	}
}
