package plain

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// List joins names as in a sentence: "a", "a and b", "a, b and c".
func List(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " and " + names[last]
}

// ListFirst joins the first names as [List] does, and counts the others if there are more
// than most. One more name is as short as its count.
func ListFirst(names []string, most int) string {
	if more := len(names) - most; more > 1 {
		names = append(slices.Clone(names[:most]), fmt.Sprintf("%d more", more))
	}
	return List(names)
}

// Milliseconds formats how long something quick took, with no more digits than matter:
// 0.4 ms, 42 ms, 1.5 s.
func Milliseconds(ms float64) string {
	const oneDigit, second = 9.95, 999.5 // what rounds to 10 ms, and to 1 s
	switch {
	case ms < oneDigit:
		return strconv.FormatFloat(ms, 'f', 1, 64) + " ms"
	case ms < second:
		return strconv.FormatFloat(ms, 'f', 0, 64) + " ms"
	default:
		return strconv.FormatFloat(math.Round(ms/100)/10, 'f', -1, 64) + " s"
	}
}

// Elapsed formats a span of time in its two largest units: 5s, 3m 20s, 2h 5m, 4d 1h. A
// negative one is 0s, since two clocks may differ.
func Elapsed(d time.Duration) string {
	const day = 24 * time.Hour
	d = max(d, 0)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm %ds", d/time.Minute, d%time.Minute/time.Second)
	case d < day:
		return fmt.Sprintf("%dh %dm", d/time.Hour, d%time.Hour/time.Minute)
	default:
		return fmt.Sprintf("%dd %dh", d/day, d%day/time.Hour)
	}
}
