package command

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/plain"
	"github.com/healthpool/caddy-healthpool/internal/pool"
)

// block is the description of one pool.
type block struct {
	terminal
	// head is the summary of the pool, and the titles of the columns.
	head []string
	// titles is the index of the line of head with the titles.
	titles int
	// rows are the upstreams, those with a problem first.
	rows []row
}

// row is the description of one upstream.
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

// rank orders states: upstreams with a low rank are shown first.
func rank(state string) int {
	return slices.Index(pool.UpstreamStates, state)
}

// sgrOf is the colour of a state of a pool or an upstream.
func sgrOf(state string) string {
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

// lines returns the lines of a block, at most so many of them unless most is 0.
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
	for i, r := range b.rows {
		room := most - len(lines)
		if hidden := b.rows[i:]; len(hidden) > 1 {
			if room == 1 { // for the line that counts them
				return append(lines, b.paint(dim, b.more(hidden)))
			}
			room--
		}
		lines = append(lines, r.lines[:min(len(r.lines), room)]...)
	}
	return lines
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

// summary describes a pool as a whole.
func summary(p *pool.Status, t terminal, now time.Time) []string {
	text := t.paint(bold, printable(p.Name)+":") + " " + t.paint(sgrOf(string(p.State)), printable(string(p.State)))
	if !p.Since.IsZero() {
		text += " for " + plain.Elapsed(now.Sub(p.Since))
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

// timeOf formats a time, and how far away it is.
func timeOf(at, now time.Time) string {
	at = at.In(now.Location())
	layout := "2006-01-02 15:04"
	if at.Format(time.DateOnly) == now.Format(time.DateOnly) {
		layout = "15:04"
	}
	if at.Before(now) {
		return at.Format(layout) + " (" + plain.Elapsed(now.Sub(at)) + " ago)"
	}
	return at.Format(layout) + " (in " + plain.Elapsed(at.Sub(now)) + ")"
}
