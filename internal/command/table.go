package command

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/pool"
)

// block is what is shown of one pool.
type block struct {
	terminal
	// head is what is said of the pool, and the titles of the columns.
	head []string
	// titles is which line of head has the titles.
	titles int
	// rows are the upstreams, those with a problem first.
	rows []row
}

// row is what is shown of one upstream.
type row struct {
	state string
	lines []string
}

const (
	indent     = "  "
	deepIndent = "      "
)

// blockOf describes a pool at this moment.
func blockOf(p *pool.Status, t terminal, now time.Time) block {
	b := block{terminal: t, head: summary(p, t, now)}
	b.titles = len(b.head)
	upstreams := slices.Clone(p.Upstreams)
	slices.SortStableFunc(upstreams, func(a, b pool.UpstreamStatus) int { return cmp.Compare(rank(a.State), rank(b.State)) })
	if len(upstreams) == 0 {
		return b
	}
	table := newTable(upstreams, t, now)
	b.head = append(b.head, t.paint(dim, table.title()))
	for i := range upstreams {
		u := &upstreams[i]
		r := row{state: printable(u.State), lines: []string{table.line(i)}}
		if why := reason(u); why != "" && u.State != "healthy" {
			r.lines = append(r.lines, t.wrap(why, deepIndent, deepIndent)...)
		}
		b.rows = append(b.rows, r)
	}
	return b
}

// reason says why an upstream is not healthy, and what to do.
func reason(u *pool.UpstreamStatus) string {
	if u.Cause == "" {
		return ""
	}
	text := string(u.Cause)
	if u.Detail != "" {
		text += ": " + strings.TrimRight(u.Detail, ". \n")
	}
	if u.Advice != "" {
		text += ". " + u.Advice
	}
	return strings.Join(strings.Fields(printable(text)), " ")
}

// rank is how far down upstreams in a state are shown.
func rank(state string) int {
	return slices.Index(pool.UpstreamStates, state)
}

// way is how a state of a pool or an upstream is painted.
func way(state string) string {
	switch state {
	case "up", "healthy":
		return green
	case "down", "unhealthy", "ejected":
		return red
	case pool.Draining, "maintenance":
		return cyan
	default:
		return yellow
	}
}

// lines are those of a block, at most so many of them if most is not 0.
func (b block) lines(most int) []string {
	lines := slices.Clone(b.head)
	for _, r := range b.rows {
		lines = append(lines, r.lines...)
	}
	if most == 0 || len(lines) <= most {
		return lines
	}
	if most <= len(b.head) { // no titles without upstreams
		return b.head[:min(most, b.titles)]
	}
	lines = slices.Clone(b.head)
	shown := 0
	for _, r := range b.rows {
		room := most - len(lines) - 1 // one is for what is not shown
		if room == 0 {
			break
		}
		lines = append(lines, r.lines[:min(len(r.lines), room)]...)
		shown++
	}
	return append(lines, b.paint(dim, b.more(b.rows[shown:])))
}

// more counts the upstreams that are not shown.
func (b block) more(hidden []row) string {
	states := make(map[string]int)
	for _, r := range hidden {
		states[r.state]++
	}
	counts := make([]string, 0, len(states))
	for _, s := range slices.SortedFunc(maps.Keys(states), func(a, b string) int { return cmp.Compare(rank(a), rank(b)) }) {
		counts = append(counts, fmt.Sprintf("%d %s", states[s], s))
	}
	text := indent + b.either("…", "...") + " and " + strings.Join(counts, ", ")
	if b.width > 0 {
		text = b.clip(text, b.width)
	}
	return text
}

// summary says how a pool as a whole is.
func summary(p *pool.Status, t terminal, now time.Time) []string {
	text := t.paint(bold, printable(p.Name)+":") + " " + t.paint(way(string(p.State)), printable(string(p.State)))
	if !p.Since.IsZero() {
		text += " for " + elapsed(now.Sub(p.Since))
	}
	text += fmt.Sprintf(", %d of %d healthy, %d held, %d waiting", p.Healthy, p.Total, p.Held, p.Waiting)
	lines := t.wrap(text, "", indent)
	if m := p.Maintenance; m != nil {
		var said []string
		if m.Message != "" {
			said = append(said, t.either("“", `"`)+printable(m.Message)+t.either("”", `"`))
		}
		if !m.Until.IsZero() {
			said = append(said, "planned until "+timeOf(m.Until, now))
		}
		if len(m.Allow) > 0 {
			said = append(said, fmt.Sprintf("let through: %s", strings.Trim(fmt.Sprint(m.Allow), "[]")))
		}
		if len(said) > 0 {
			lines = append(lines, t.wrap(strings.Join(said, ", "), indent, indent)...)
		}
	}
	return lines
}

// timeOf is a time to come, or one that has passed.
func timeOf(at, now time.Time) string {
	at = at.In(now.Location())
	layout := "2006-01-02 15:04"
	if at.Format(time.DateOnly) == now.Format(time.DateOnly) {
		layout = "15:04"
	}
	if at.Before(now) {
		return at.Format(layout) + " (" + elapsed(now.Sub(at)) + " ago)"
	}
	return at.Format(layout) + " (in " + elapsed(at.Sub(now)) + ")"
}

// elapsed is a span of time in its two largest units.
func elapsed(d time.Duration) string {
	const day = 24 * time.Hour
	d = max(d, 0) // clocks may differ
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

// took is how long something quick was under way.
func took(ms float64) string {
	const tens, second = 10, 1000
	switch {
	case ms < tens:
		return strconv.FormatFloat(ms, 'f', 1, 64) + " ms"
	case ms < second:
		return strconv.FormatFloat(ms, 'f', 0, 64) + " ms"
	default:
		return strconv.FormatFloat(ms/second, 'f', 1, 64) + " s"
	}
}
