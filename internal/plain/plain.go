// Package plain writes text for people: it makes what others wrote safe to show on one
// line of a log, a table or a terminal, and formats durations and lists.
package plain

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Line returns s on one line: white space becomes spaces, and whatever cannot be seen
// becomes mark, such as what moves a cursor, reverses the text after it, or is not UTF-8.
func Line(s string, mark rune) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case r == utf8.RuneError || !unicode.IsPrint(r):
			return mark
		}
		return r
	}, s)
}

// Short returns s on one line, cut to at most so many characters.
func Short(s string, mark rune, most int) string {
	enough := min(len(s), (most+1)*utf8.UTFMax)
	line := []rune(Line(s[:enough], mark))
	if len(line) <= most {
		return string(line)
	}
	return string(line[:most-1]) + "…"
}
