package plain

import (
	"strings"
	"testing"
	"time"
)

func TestList(t *testing.T) {
	for names, want := range map[string]string{"": "", "a": "a", "a b": "a and b", "a b c": "a, b and c"} {
		if got := List(strings.Fields(names)); got != want {
			t.Errorf("%q: got %q, want %q", names, got, want)
		}
	}
}

func TestListFirst(t *testing.T) {
	for names, want := range map[string]string{"a b": "a and b", "a b c": "a, b and c", "a b c d": "a, b and 2 more"} {
		if got := ListFirst(strings.Fields(names), 2); got != want {
			t.Errorf("%q: got %q, want %q", names, got, want)
		}
	}
}

func TestMilliseconds(t *testing.T) {
	for ms, want := range map[float64]string{
		0: "0.0 ms", 0.04: "0.0 ms", 4.26: "4.3 ms", 9.94: "9.9 ms", 9.96: "10 ms", 12.4: "12 ms", 999.4: "999 ms",
		999.6: "1 s", 1500: "1.5 s", 2345: "2.3 s", 5001: "5 s", 3_600_000: "3600 s",
	} {
		if got := Milliseconds(ms); got != want {
			t.Errorf("%v: got %q, want %q", ms, got, want)
		}
	}
}

func TestElapsed(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 59 * time.Second: "59s", time.Minute: "1m 0s", 200 * time.Second: "3m 20s",
		3*time.Hour + 5*time.Minute: "3h 5m", 50 * time.Hour: "2d 2h",
	} {
		if got := Elapsed(d); got != want {
			t.Errorf("%v: got %q, want %q", d, got, want)
		}
	}
}
