package command

import (
	"cmp"
	"io"
	"os"
	"runtime"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/healthpool/caddy-healthpool/internal/plain"
)

// terminal describes what a text is written to.
type terminal struct {
	// ansi is whether it is a terminal that can move its cursor.
	ansi bool
	// color is whether to use colours.
	color bool
	// unicode is whether it shows more than ASCII.
	unicode bool
	// width and rows are its size; 0 for no limit, as in a file.
	width, rows int
}

// terminalOf finds out what out can show.
func terminalOf(out io.Writer) terminal {
	t := terminal{unicode: showsUnicode(os.Getenv, runtime.GOOS)}
	f, ok := out.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return t
	}
	t.width, t.rows, _ = term.GetSize(int(f.Fd()))
	const usualWidth, usualRows = 80, 24 // of terminals that do not say
	t.width, t.rows = cmp.Or(t.width, usualWidth), cmp.Or(t.rows, usualRows)
	t.ansi = movesCursor(os.Getenv, runtime.GOOS)
	t.color = t.ansi && os.Getenv("NO_COLOR") == ""
	return t
}

// movesCursor reports whether a terminal understands escape sequences. The consoles of
// old Windows do not, and those of Windows that do say so.
func movesCursor(env func(string) string, system string) bool {
	if system == "windows" {
		return env("WT_SESSION") != "" || env("TERM") != "" && env("TERM") != "dumb"
	}
	return env("TERM") != "dumb"
}

// showsUnicode reports whether the locale has UTF-8. Windows has none: its consoles
// are given UTF-16.
func showsUnicode(env func(string) string, system string) bool {
	locale := strings.ToLower(cmp.Or(env("LC_ALL"), env("LC_CTYPE"), env("LANG")))
	return strings.Contains(locale, "utf-8") || strings.Contains(locale, "utf8") || locale == "" && system == "windows"
}

// Parameters of SGR, the escape sequence for colours.
const (
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
)

// paint gives text an SGR parameter, if t shows colours.
func (t terminal) paint(sgr, text string) string {
	if !t.color || sgr == "" || text == "" {
		return text
	}
	return "\x1b[" + sgr + "m" + text + "\x1b[0m"
}

// either returns the first text if t shows more than ASCII, else the other.
func (t terminal) either(fine, ascii string) string {
	if t.unicode {
		return fine
	}
	return ascii
}

// printable returns a text on one line that is safe for a terminal: much of what is shown
// comes from upstreams.
func printable(s string) string { return strings.TrimSpace(plain.Line(s, '?')) }

// width is the number of visible characters of a text.
func width(s string) (n int) {
	for {
		before, after, found := strings.Cut(s, "\x1b[")
		n += utf8.RuneCountInString(before)
		if !found {
			return n
		}
		_, s, _ = strings.Cut(after, "m")
	}
}

// clip cuts a text without colours to a width.
func (t terminal) clip(s string, most int) string {
	if width(s) <= most {
		return s
	}
	mark := t.either("…", "~")
	return string([]rune(s)[:max(most-1, 0)]) + mark
}

// wrap breaks a text into lines of t's width, with one margin before the first line and
// another before the rest.
func (t terminal) wrap(text, first, rest string) []string {
	if t.width == 0 || width(first+text) <= t.width {
		return []string{first + text}
	}
	var lines []string
	line, empty := first, true
	next := func() {
		lines = append(lines, line)
		line, empty = rest, true
	}
	for word := range strings.FieldsSeq(text) {
		if !empty && width(line)+1+width(word) > t.width {
			next()
		}
		if !empty {
			line += " "
		}
		// A word that is longer than a line is broken anywhere.
		for room := t.width - width(line); width(word) > room && room > 0 && !strings.Contains(word, "\x1b"); room = t.width - width(rest) {
			r := []rune(word)
			line, word = line+string(r[:room]), string(r[room:])
			next()
		}
		line, empty = line+word, false
	}
	return append(lines, line)
}
