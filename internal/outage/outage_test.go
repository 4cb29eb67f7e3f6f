package outage

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/cause"
)

var key = Key{Pool: "shop", Cause: cause.ConnectionRefused}

// collect returns a Log and the numbers of requests its summaries tell.
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

func TestRetryAfter(t *testing.T) {
	for _, tt := range []struct {
		age  time.Duration
		want int
	}{
		{0, 1}, {4 * time.Second, 1}, {5 * time.Second, 2}, {time.Minute, 15}, {time.Hour, 30},
	} {
		if got := RetryAfter(tt.age); got != tt.want {
			t.Errorf("after %v: got %d, want %d", tt.age, got, tt.want)
		}
	}
}
