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

// whileWatching is how long a Caddy may take to answer before that is said.
const whileWatching = 3 * time.Second

// watcher shows pools for as long as it runs: in place on a terminal, else what
// changes, one below the other.
type watcher struct {
	address  string
	fetch    func(context.Context) ([]pool.Status, error)
	terminal func() terminal
	out      io.Writer
	interval time.Duration

	// silent is since when there is no answer; zero if there is.
	silent time.Time
	// seen is what was last shown of each pool, by its name; nil for nothing.
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

// run goes on until ctx ends, or out does.
func (w *watcher) run(ctx context.Context) error {
	ticker := time.NewTicker(w.interval)
	defer ticker.Stop()
	inPlace := w.terminal().ansi
	for first := true; ; first = false {
		all, err := w.fetch(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && first: // most likely not what was meant
			return err
		}
		text := ""
		if now := time.Now(); inPlace {
			text = w.frame(all, err, now)
		} else {
			text = w.changes(all, err, now)
		}
		if _, err := io.WriteString(w.out, text); err != nil {
			return fmt.Errorf("writing what is seen: %w", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// frame is all that is on a terminal. Each is drawn over the one before, without
// wrapping lines and with the cursor hidden, and leaves the terminal as it was.
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
		if w.silent.IsZero() {
			w.silent = now
		}
		lines = append(t.wrap(t.paint(red, "No answer")+" since "+w.silent.Format(time.TimeOnly)+", still trying (Ctrl-C ends this):", "", ""), t.wrap(err.Error(), "", "")...)
	} else {
		w.silent = time.Time{}
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

// fitted are the lines of pools, at most so many.
func fitted(all []pool.Status, t terminal, now time.Time, most int) []string {
	if len(all) == 0 {
		return []string{noPools}
	}
	blocks := make([]block, len(all))
	for i := range all {
		blocks[i] = blockOf(&all[i], t, now)
	}
	// Each may have so many lines; those that need less leave room to others.
	for each := most; each > 0; each-- {
		if lines := join(blocks, each); len(lines) <= most {
			return lines
		}
	}
	// There is not even room for one line each with one between them.
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

// poolRank is how far down pools in a state are shown.
func poolRank(s pool.State) int {
	return slices.Index(pool.States, s)
}

// join puts blocks of at most so many lines below each other.
func join(blocks []block, each int) (lines []string) {
	for i, b := range blocks {
		if i > 0 {
			lines = append(lines, "")
		}
		lines = append(lines, b.lines(each)...)
	}
	return lines
}

// changes is what is to be said since it was called before.
func (w *watcher) changes(all []pool.Status, err error, now time.Time) string {
	var text strings.Builder
	say := func(format string, args ...any) {
		fmt.Fprintf(&text, now.Format(time.RFC3339)+" "+format+"\n", args...)
	}
	if err != nil {
		if w.silent.IsZero() {
			w.silent = now
			say("No answer, still trying: %v", err)
		}
		return text.String()
	}
	if !w.silent.IsZero() {
		say("There is an answer again.")
		w.silent, w.seen = time.Time{}, nil
	}
	seen := make(map[string]string, len(all))
	for i := range all {
		p := &all[i]
		seen[p.Name] = gist(p)
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

// gist is what is worth a new block when it changes: not how many requests there
// are, and not the time.
func gist(p *pool.Status) string {
	var text strings.Builder
	fmt.Fprintln(&text, p.State, p.Total, p.Maintenance)
	for _, u := range p.Upstreams {
		fmt.Fprintln(&text, u.Address, u.Tier, u.State, u.Cause)
	}
	return text.String()
}
