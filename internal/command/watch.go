package command

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/pool"
)

// watchTimeout is how long Caddy may take to answer before the watcher says that it
// does not.
const watchTimeout = 3 * time.Second

// watcher shows pools for as long as it runs: on a terminal in place, in a file each
// change below the one before.
type watcher struct {
	address  string
	fetch    func(context.Context) ([]pool.Status, error)
	terminal func() terminal
	out      io.Writer
	interval time.Duration

	// failing is since when the status cannot be fetched; zero if it can.
	failing time.Time
	// seen is the fingerprint of each pool that was last shown, by its name; nil if
	// everything has to be shown again.
	seen map[string]string
}

func watcherOf(c *client, name string, out io.Writer) *watcher {
	return &watcher{
		address: c.address, out: out, interval: time.Second,
		terminal: func() terminal { return terminalOf(out) }, // its size may change
		fetch: func(ctx context.Context) ([]pool.Status, error) {
			all, _, err := c.chosen(ctx, name)
			return all, err
		},
	}
}

// run goes on until ctx ends, or writing fails.
func (w *watcher) run(ctx context.Context) error {
	ticker := time.NewTicker(w.interval)
	defer ticker.Stop()
	inPlace := w.terminal().ansi
	for first := true; ; first = false {
		all, err := w.fetch(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && first: // most likely a wrong name or address
			return err
		}
		text := ""
		if now := time.Now(); inPlace {
			text = w.frame(all, err, now)
		} else {
			text = w.changes(all, err, now)
		}
		if _, err := io.WriteString(w.out, text); err != nil {
			return fmt.Errorf("writing the status: %w", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// frame is everything on the screen. It is drawn over the frame before, with the cursor
// hidden and without wrapping lines, and leaves the terminal as it was.
func (w *watcher) frame(all []pool.Status, err error, now time.Time) string {
	const (
		begin   = "\x1b[?25l\x1b[?7l\x1b[H"
		newLine = "\x1b[K\r\n"
		end     = "\x1b[J\x1b[?7h\x1b[?25h"
	)
	t := w.terminal()
	const fewest = 4                // the title, a blank line, a pool and the cursor
	rows := max(t.rows, fewest) - 1 // one is for the cursor
	var lines []string
	if err != nil {
		if w.failing.IsZero() {
			w.failing = now
		}
		lines = append(t.wrap(t.paint(red, "Cannot show this")+" since "+w.failing.Format(time.TimeOnly)+", still trying (Ctrl-C ends this):", "", ""), t.wrap(err.Error(), "", "")...)
	} else {
		w.failing = time.Time{}
		title := fmt.Sprintf("%s at %s (Ctrl-C ends this)", w.address, now.Format(time.TimeOnly))
		if t.width > 0 {
			title = t.clip(title, t.width)
		}
		lines = append(lines, t.paint(dim, title), "")
		lines = append(lines, fitted(all, t, now, rows-len(lines))...)
	}
	lines = lines[:min(len(lines), rows)]
	return begin + strings.Join(lines, newLine) + newLine + end
}

// fitted describes pools in at most so many lines.
func fitted(all []pool.Status, t terminal, now time.Time, most int) []string {
	if len(all) == 0 {
		return []string{noPools}
	}
	blocks := make([]block, len(all))
	for i := range all {
		blocks[i] = blockOf(&all[i], t, now)
	}
	// Find the most lines that each pool may have; pools that need less leave room to others.
	for each := most; each > 0; each-- {
		if lines := join(blocks, each); len(lines) <= most {
			return lines
		}
	}
	// There is no room even for one line each with blank lines between them.
	worst := slices.Clone(all)
	slices.SortStableFunc(worst, func(a, b pool.Status) int { return cmp.Compare(poolRank(a.State), poolRank(b.State)) })
	var lines []string
	for i := range worst {
		if len(lines) == most-1 && i < len(worst)-1 {
			return append(lines, t.paint(dim, fmt.Sprintf("%s and %d more pools", t.either("…", "..."), len(worst)-i)))
		}
		lines = append(lines, blockOf(&worst[i], t, now).lines(1)...)
	}
	return lines
}

// poolRank orders states: pools with a low rank are shown first.
func poolRank(s pool.State) int {
	return slices.Index(pool.States, s)
}

// join puts blocks below each other, each in at most so many lines.
func join(blocks []block, each int) (lines []string) {
	for i, b := range blocks {
		if i > 0 {
			lines = append(lines, "")
		}
		lines = append(lines, b.lines(each)...)
	}
	return lines
}

// changes describes what has changed since the last call.
func (w *watcher) changes(all []pool.Status, err error, now time.Time) string {
	var text strings.Builder
	say := func(format string, args ...any) {
		fmt.Fprintf(&text, now.Format(time.RFC3339)+" "+format+"\n", args...)
	}
	if err != nil {
		if w.failing.IsZero() {
			w.failing = now
			say("Cannot show this, still trying: %v", err)
		}
		return text.String()
	}
	if !w.failing.IsZero() {
		say("It works again.")
		w.failing, w.seen = time.Time{}, nil
	}
	seen := make(map[string]string, len(all))
	for i := range all {
		p := &all[i]
		seen[p.Name] = fingerprint(p)
		if w.seen[p.Name] != seen[p.Name] {
			say("%s", strings.Join(blockOf(p, w.terminal(), now).lines(0), "\n"))
		}
		delete(w.seen, p.Name)
	}
	for name := range w.seen {
		say("%s: gone", printable(name))
	}
	if len(all) == 0 && (w.seen == nil || text.Len() > 0) {
		say(noPools)
	}
	w.seen = seen
	return text.String()
}

// fingerprint changes when there is something new to show about a pool. The number of
// requests and the time are not worth it.
func fingerprint(p *pool.Status) string {
	var text strings.Builder
	fmt.Fprintln(&text, p.State, p.Total, p.Maintenance)
	for _, u := range p.Upstreams {
		fmt.Fprintln(&text, u.Address, u.Tier, u.State, u.Cause)
	}
	return text.String()
}
