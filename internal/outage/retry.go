package outage

import (
	"slices"
	"time"
)

// PollAfter returns in how many seconds a page should poll again in an outage of this age.
// It starts short, because a poll costs next to nothing and somebody is waiting, and grows
// over hours, and with the number of waiting pages, so that they poll at most 500 times a
// second in total.
func PollAfter(age time.Duration, waiting int) int {
	const (
		// A quarter of the age up to 5 s, from 10 min on a 120th of it up to 30 s.
		firstPart, firstMost = 4, 5 * time.Second
		laterPart, most      = 120, 30 * time.Second
		perSecond            = 500
	)
	after := max(min(age/firstPart, firstMost), age/laterPart, time.Duration(waiting)*time.Second/perSecond)
	return Seconds(min(after, most))
}

// longest is the longest that clients are told to wait, unless the end is known.
const longest = time.Minute

// Estimate returns how long clients should wait before they try again: until the next check
// at least, otherwise until the median of the earlier outages that were longer than this
// one; without any, half as long as this one has lasted.
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

// IsLong reports whether an outage of this age is longer than earlier ones, and than any
// restart takes.
func IsLong(age time.Duration, earlier []time.Duration) bool {
	usual := 2 * time.Minute
	for _, lasted := range earlier {
		usual = max(usual, lasted)
	}
	return age > usual
}

// Seconds rounds d up to whole seconds, for headers. It returns at least 1, because 0 would
// mean immediately, and at most a year, so that the longest durations do not overflow.
func Seconds(d time.Duration) int {
	const year = 365 * 24 * time.Hour
	return max(1, int((min(d, year)+time.Second-1)/time.Second))
}
