package command

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/healthpool/caddy-healthpool/internal/plain"
	"github.com/healthpool/caddy-healthpool/internal/pool"
)

// table is upstreams in columns that fit a terminal.
type table struct {
	terminal
	columns   []column
	upstreams []pool.UpstreamStatus
}

// column shows one property of each upstream.
type column struct {
	title string
	// right is whether its cells are right-aligned.
	right bool
	// keep is its priority when there is not enough room: columns with a low one are
	// dropped first, those with 0 never.
	keep  int
	cells []string
	width int
	// paint colours a cell that is padded to its final width; nil for no colour.
	paint func(t terminal, u *pool.UpstreamStatus, cell string) string
}

const (
	// checksShown is how many of the latest checks are shown, and fewestChecks how
	// many if there is little room.
	checksShown, fewestChecks = 32, 8
	gap                       = "  "
)

func newTable(upstreams []pool.UpstreamStatus, t terminal, now time.Time) *table {
	tab := &table{terminal: t, upstreams: upstreams}
	tab.add(column{title: "UPSTREAM"}, func(u *pool.UpstreamStatus) string { return u.Address })
	if slices.ContainsFunc(upstreams, func(u pool.UpstreamStatus) bool { return u.Tier == "backup" }) {
		tab.add(column{title: "TIER", keep: 5}, func(u *pool.UpstreamStatus) string { return u.Tier })
	}
	tab.add(column{title: "STATE", paint: paintState}, stateOf)
	tab.add(column{title: "SINCE", keep: 4}, func(u *pool.UpstreamStatus) string {
		if u.Since.IsZero() {
			return "-"
		}
		return plain.Elapsed(now.Sub(u.Since))
	})
	tab.add(column{title: "CHECK", right: true, keep: 2}, func(u *pool.UpstreamStatus) string {
		if u.LastCheck == nil {
			return "-"
		}
		return plain.Milliseconds(u.LastCheck.DurationMS)
	})
	tab.add(column{title: "HISTORY", right: true, keep: 3, paint: paintMarks}, func(u *pool.UpstreamStatus) string {
		return t.marks(u.History, checksShown)
	})
	tab.add(column{title: "BUSY", right: true, keep: 3}, func(u *pool.UpstreamStatus) string {
		return strconv.FormatInt(u.InFlight, 10)
	})
	tab.add(column{title: "LATENCY", right: true, keep: 1}, func(u *pool.UpstreamStatus) string {
		if u.LatencyMS == 0 {
			return "-"
		}
		return plain.Milliseconds(u.LatencyMS)
	})
	tab.fit()
	return tab
}

func (tab *table) add(c column, text func(*pool.UpstreamStatus) string) {
	c.cells = make([]string, len(tab.upstreams))
	for i := range tab.upstreams {
		c.cells[i] = printable(text(&tab.upstreams[i]))
	}
	c.measure()
	tab.columns = append(tab.columns, c)
}

func (c *column) measure() {
	c.width = width(c.title)
	for _, cell := range c.cells {
		c.width = max(c.width, width(cell))
	}
}

func stateOf(u *pool.UpstreamStatus) string {
	if u.Warming && u.State == "healthy" {
		return "healthy, warming"
	}
	return cmp.Or(printable(u.State), "-")
}

func paintState(t terminal, u *pool.UpstreamStatus, cell string) string {
	return t.paint(sgrOf(u.State), cell)
}

// marks draws the latest checks, the newest last.
func (t terminal) marks(history string, most int) string {
	history = history[max(len(history)-most, 0):]
	return strings.Map(func(r rune) rune {
		if r == 'P' {
			return t.passed()
		}
		return t.failed()
	}, history)
}

func (t terminal) passed() rune {
	r, _ := utf8.DecodeRuneInString(t.either("▁", "."))
	return r
}

func (t terminal) failed() rune {
	r, _ := utf8.DecodeRuneInString(t.either("█", "x"))
	return r
}

// paintMarks colours each run of equal marks.
func paintMarks(t terminal, _ *pool.UpstreamStatus, cell string) string {
	var text strings.Builder
	for cell != "" {
		first, _ := utf8.DecodeRuneInString(cell)
		rest := strings.TrimLeft(cell, string(first))
		text.WriteString(t.paint(map[rune]string{t.passed(): green, t.failed(): red}[first], cell[:len(cell)-len(rest)]))
		cell = rest
	}
	return text.String()
}

// fit makes the table as narrow as the terminal: first it shortens the history, then it
// drops the columns that matter least, and last it clips the addresses.
func (tab *table) fit() {
	for most := checksShown / 2; tab.excess() > 0 && most >= fewestChecks; most /= 2 {
		i := slices.IndexFunc(tab.columns, func(c column) bool { return c.title == "HISTORY" })
		for j := range tab.upstreams {
			tab.columns[i].cells[j] = tab.marks(tab.upstreams[j].History, most)
		}
		tab.columns[i].measure()
	}
	for tab.excess() > 0 {
		least := -1
		for i, c := range tab.columns {
			if c.keep > 0 && (least < 0 || c.keep < tab.columns[least].keep) {
				least = i
			}
		}
		if least < 0 {
			break
		}
		tab.columns = slices.Delete(tab.columns, least, least+1)
	}
	if over := tab.excess(); over > 0 {
		const readable = 8
		c := &tab.columns[0]
		c.width = min(c.width, max(c.width-over, readable))
		for i := range c.cells {
			c.cells[i] = tab.clip(c.cells[i], c.width)
		}
	}
}

// excess is how much wider the table is than the terminal.
func (tab *table) excess() int {
	if tab.width == 0 {
		return 0
	}
	total := len(indent) + len(gap)*(len(tab.columns)-1)
	for _, c := range tab.columns {
		total += c.width
	}
	return total - tab.width
}

// title is the line with the titles of the columns.
func (tab *table) title() string {
	cells := make([]string, len(tab.columns))
	for i, c := range tab.columns {
		cells[i] = c.pad(c.title)
	}
	return strings.TrimRight(indent+strings.Join(cells, gap), " ")
}

// line is the line of the i-th upstream.
func (tab *table) line(i int) string {
	cells := make([]string, len(tab.columns))
	for j, c := range tab.columns {
		cells[j] = c.pad(c.cells[i])
		if j == len(tab.columns)-1 {
			cells[j] = strings.TrimRight(cells[j], " ") // once it is painted, it ends with an escape sequence
		}
		if c.paint != nil {
			cells[j] = c.paint(tab.terminal, &tab.upstreams[i], cells[j])
		}
	}
	return strings.TrimRight(indent+strings.Join(cells, gap), " ")
}

func (c *column) pad(cell string) string {
	space := strings.Repeat(" ", max(c.width-width(cell), 0))
	if c.right {
		return space + cell
	}
	return cell + space
}
