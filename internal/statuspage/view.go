package statuspage

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/health"
	"github.com/healthpool/caddy-healthpool/internal/plain"
	"github.com/healthpool/caddy-healthpool/internal/pool"
)

// maxRows is how many upstreams of a pool the page shows: more would slow browsers down,
// and nobody reads them.
const maxRows = 200

// view is the data of statuspage.html.
type view struct {
	// Title is the most important fact, for the heading and the tab.
	Title string
	At    stamp
	Pools []poolView
}

// poolView is a pool on the page.
type poolView struct {
	pool.Status
	// ID is that of its element, with a prefix that no ID of the page itself has,
	// since a pool may have any name.
	ID    string
	Since stamp
	Until stamp
	Rows  []rowView
	// More counts the upstreams that are not shown.
	More string
}

// rowView is an upstream on the page.
type rowView struct {
	pool.UpstreamStatus
	ID      string
	Since   stamp
	Checked stamp
	Took    string
	Latency string
	History historyView
}

// stamp is a point in time; Text is empty if there is none.
type stamp struct {
	ISO  string
	Text string
	// Ago is how long ago it was.
	Ago string
}

// historyView is the history of an upstream, drawn as bars, and in words.
type historyView struct {
	// Passed, Failed and Missing are the paths of an SVG image.
	Passed, Failed, Missing string
	Words                   string
}

func newView(found []pool.Status, now time.Time) view {
	v := view{Title: title(found), At: stampOf(now, now), Pools: make([]poolView, len(found))}
	for i, p := range found {
		v.Pools[i] = newPoolView(p, now)
	}
	return v
}

func newPoolView(p pool.Status, now time.Time) poolView {
	v := poolView{Status: p, ID: "pool-" + url.PathEscape(p.Name), Since: stampOf(p.Since, now)}
	if p.Maintenance != nil {
		v.Until = stampOf(p.Maintenance.Until, now)
	}
	shown := slices.Clone(p.Upstreams)
	slices.SortStableFunc(shown, func(a, b pool.UpstreamStatus) int {
		return slices.Index(pool.UpstreamStates, a.State) - slices.Index(pool.UpstreamStates, b.State)
	})
	if len(shown) > maxRows {
		v.More = countRest(shown[maxRows:])
		shown = shown[:maxRows]
	}
	for _, u := range shown {
		v.Rows = append(v.Rows, newRowView(v.ID, u, now))
	}
	return v
}

// countRest counts upstreams by state, as in “9799 more are healthy”.
func countRest(rest []pool.UpstreamStatus) string {
	counts := make(map[string]int)
	for _, u := range rest {
		counts[u.State]++
	}
	var parts []string
	for _, state := range pool.UpstreamStates {
		switch n := counts[state]; n {
		case 0:
		case 1:
			parts = append(parts, "1 more is "+state)
		default:
			parts = append(parts, fmt.Sprintf("%d more are %s", n, state))
		}
	}
	return strings.Join(parts, ", ")
}

func newRowView(poolID string, u pool.UpstreamStatus, now time.Time) rowView {
	v := rowView{
		UpstreamStatus: u, ID: poolID + "/" + url.PathEscape(u.Address), Since: stampOf(u.Since, now),
		History: newHistoryView(u.History), Latency: duration(u.LatencyMS),
	}
	if last := u.LastCheck; last != nil {
		v.Checked, v.Took = stampOf(last.At, now), duration(last.DurationMS)
	}
	return v
}

// Dimensions of the bars, in units of the image. Each check has a column; the stroke of
// its path is dashed so that there is a gap before the next one.
const (
	barColumn = 5
	barGap    = 1
)

// newHistoryView draws checks, each a P or an F, the latest at the right.
func newHistoryView(checks string) historyView {
	v := historyView{Words: "not checked yet"}
	if checks != "" {
		v.Words = fmt.Sprintf("%d of %d checks passed", strings.Count(checks, "P"), len(checks))
	}
	if room := health.HistorySize - len(checks); room > 0 {
		checks = strings.Repeat(" ", room) + checks
	}
	paths := map[byte]*string{'P': &v.Passed, 'F': &v.Failed, ' ': &v.Missing}
	heights := map[byte]int{'P': 16, 'F': 10, ' ': 19}
	for from, to := 0, 0; from < len(checks); from = to {
		for to = from; to < len(checks) && checks[to] == checks[from]; to++ {
		}
		if path := paths[checks[from]]; path != nil {
			*path += fmt.Sprintf("M%d %dH%d", from*barColumn, heights[checks[from]], to*barColumn-barGap)
		}
	}
	return v
}

// Width is that of the image.
func (historyView) Width() int { return health.HistorySize*barColumn - barGap }

// title describes the pools in a few words.
func title(found []pool.Status) string {
	switch len(found) {
	case 0:
		return "There are no pools"
	case 1:
		return fmt.Sprintf("%s is %s", found[0].Name, word(found[0].State))
	}
	counts := make(map[pool.State]int)
	for _, p := range found {
		counts[p.State]++
	}
	if counts[pool.Up] == len(found) {
		return fmt.Sprintf("All %d pools are up", len(found))
	}
	var parts []string
	for _, state := range pool.States {
		if n := counts[state]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, word(state)))
		}
	}
	return fmt.Sprintf("Of %d pools, %s", len(found), strings.Join(parts, ", "))
}

// word is a state as it is written after “is”.
func word(s pool.State) string {
	if s == pool.InMaintenance {
		return "in maintenance"
	}
	return string(s)
}

// stampOf formats t, with its date unless that is today.
func stampOf(t, now time.Time) stamp {
	if t.IsZero() {
		return stamp{}
	}
	t, now = t.UTC(), now.UTC()
	text := t.Format("2006-01-02 15:04:05 UTC")
	if day := now.Format(time.DateOnly); strings.HasPrefix(text, day) {
		text = strings.TrimPrefix(text, day+" ")
	}
	return stamp{ISO: t.Format(time.RFC3339), Text: text, Ago: plain.Elapsed(now.Sub(t))}
}

// duration formats a number of milliseconds; empty if there is none.
func duration(ms float64) string {
	if ms <= 0 {
		return ""
	}
	return plain.Milliseconds(ms)
}
