package outage

import (
	"slices"
	"time"
)

// PollAfter is in how many seconds a page should ask again, in an outage of this age:
// soon, because an answer costs next to nothing and somebody waits for it; after hours
// more slowly, and so that all who wait together ask at most 500 times a second.
func PollAfter(age time.Duration, waiting int) int {
	const (
		fraction, soon   = 4, 5 * time.Second
		patience, seldom = 120, 30 * time.Second
		perSecond        = 500
	)
	after := max(min(age/fraction, soon), age/patience, time.Duration(waiting)*time.Second/perSecond)
	return Seconds(min(after, seldom))
}

// longest is the most that clients are told to wait, unless the end is known.
const longest = time.Minute

// Estimate is how long clients should wait before they try again: until the next
// check at least, and else about as long as earlier outages of at least this age
// went on; without any, half as long again as this one lasted.
func Estimate(age time.Duration, earlier []time.Duration, nextCheck time.Duration) time.Duration {
	rest := age / 2
	var longer []time.Duration
	for _, lasted := range earlier {
		if lasted > age {
			longer = append(longer, lasted)
		}
	}
	if len(longer) > 0 {
		slices.Sort(longer)
		rest = longer[(len(longer)-1)/2] - age
	}
	return min(max(rest, nextCheck), longest)
}

// IsLong reports whether an outage of this age is longer than others: no restart
// takes that long.
func IsLong(age time.Duration, earlier []time.Duration) bool {
	usual := 2 * time.Minute
	for _, lasted := range earlier {
		usual = max(usual, lasted)
	}
	return age > usual
}

// Seconds rounds a duration up to whole seconds, at least one, because headers
// know no smaller unit and 0 would mean at once; and at most a year, because the
// longest durations would overflow, and mean at once, too.
func Seconds(d time.Duration) int {
	const year = 365 * 24 * time.Hour
	return max(1, int((min(d, year)+time.Second-1)/time.Second))
}
