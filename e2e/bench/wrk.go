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

// connections is how many connections wrk keeps busy.
const connections = 32

var (
	perSecond = regexp.MustCompile(`Requests/sec:\s+([\d.]+)`)
	wrong     = regexp.MustCompile(`(?m)^\s*(Socket errors: .*|Non-2xx or 3xx responses: \d+)`)
)

// wrk returns how many requests per second a URL answers, and fails if answers are not what is expected.
func wrk(ctx context.Context, url string, d time.Duration, errorsExpected bool, args ...string) (float64, error) {
	args = append([]string{
		"--threads", "1", "--connections", strconv.Itoa(connections),
		"--duration", fmt.Sprintf("%.0fs", d.Seconds()), "--timeout", "10s",
	}, append(args, url)...)
	out, err := exec.CommandContext(ctx, "wrk", args...).CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("wrk %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	if bad := wrong.FindSubmatch(out); (bad != nil) != errorsExpected {
		return 0, fmt.Errorf("wrk %s: not the answers that were expected:\n%s", strings.Join(args, " "), out)
	}
	rate := perSecond.FindSubmatch(out)
	if rate == nil {
		return 0, fmt.Errorf("wrk said no rate:\n%s", out)
	}
	return strconv.ParseFloat(string(rate[1]), 64)
}
