package main

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// connections is how many connections a load keeps busy.
const connections = 32

var (
	perSecond = regexp.MustCompile(`Requests/sec:\s+([\d.]+)`)
	requests  = regexp.MustCompile(`(\d+) requests in`)
	otherwise = regexp.MustCompile(`Non-2xx or 3xx responses: (\d+)`)
	broken    = regexp.MustCompile(`Socket errors: .*`)
)

// speed is what wrk measured.
type speed struct {
	rate    float64 // answers per second
	limited bool    // whether wrk itself was at its limit
}

// wrk loads a URL for some whole seconds, and fails unless all answers are of the expected kind.
func wrk(ctx context.Context, url string, d time.Duration, errorsExpected bool, args ...string) (s speed, err error) {
	args = append([]string{
		"--threads", "1", "--connections", strconv.Itoa(connections),
		"--duration", fmt.Sprintf("%.0fs", d.Seconds()), "--timeout", "10s",
	}, append(args, url)...)
	cmd := exec.CommandContext(ctx, "wrk", args...)
	out, err := cmd.CombinedOutput()
	said := func(what *regexp.Regexp) float64 {
		found := what.FindSubmatch(out)
		if found == nil {
			return 0
		}
		number, _ := strconv.ParseFloat(string(found[1]), 64) // it consists of digits
		return number
	}
	s.rate = said(perSecond)
	errors := 0.0
	if errorsExpected {
		errors = said(requests)
	}
	if err != nil || s.rate == 0 || broken.Match(out) || said(otherwise) != errors {
		return s, fmt.Errorf("wrk %s: not the answers that were expected (%w):\n%s", strings.Join(args, " "), err, out)
	}
	used := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	s.limited = used.Seconds() > 0.9*d.Seconds()
	return s, nil
}
