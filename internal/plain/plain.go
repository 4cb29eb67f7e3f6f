// Package plain makes what others wrote fit to stand in a line of a log, a table or a
// terminal.
package plain

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Line is s with a space for each white space, and with mark for all else that is not
// seen: what moves a cursor, turns the text that follows around, or is no UTF-8.
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

// Short is a line of at most so many characters.
func Short(s string, mark rune, most int) string {
	enough := min(len(s), (most+1)*utf8.UTFMax)
	line := []rune(Line(s[:enough], mark))
	if len(line) <= most {
		return string(line)
	}
	return string(line[:most-1]) + "…"
}
