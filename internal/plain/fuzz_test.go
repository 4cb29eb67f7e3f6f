package plain

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// FuzzShort: whatever a text is, the line is one, can be seen, is no longer than asked
// for, and stays what it is.
func FuzzShort(f *testing.F) {
	for _, s := range []string{"", "plain", "a\r\nb\u2028c", "\x1b[2J\u202e", "\xff\xfe", "ÿ\xff", strings.Repeat("🦩", 40), "12345678…"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		const most = 9
		got := Short(s, '?', most)
		if !utf8.ValidString(got) || utf8.RuneCountInString(got) > most || strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q: got %q", s, got)
		}
		if again := Short(got, '?', most); again != got {
			t.Errorf("%q: got %q, and then %q", s, got, again)
		}
		if whole := Line(s, '?'); utf8.RuneCountInString(whole) <= most && got != whole {
			t.Errorf("%q: got %q, want %q", s, got, whole)
		}
	})
}
