package plain

import (
	"strings"
	"testing"
)

func TestLine(t *testing.T) {
	for in, want := range map[string]string{
		"":                             "",
		"plain, “quoted” büro 茶 🦩":     "plain, “quoted” büro 茶 🦩",
		"a\r\nb\tc\x00d\u2028e\u202ef": "a  b c?d e?f",
		"\x1b[2J \u00a0\u200b\ufffd":   "?[2J  ??",
		"bad \xff\xfe end":             "bad ?? end",
	} {
		if got := Line(in, '?'); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestShort(t *testing.T) {
	for in, want := range map[string]string{
		"":                                    "",
		"12345\n78":                           "12345 78",
		"123456789":                           "1234567…",
		strings.Repeat("é", 9):                "ééééééé…",
		strings.Repeat("🦩", 8):                strings.Repeat("🦩", 8),
		strings.Repeat("🦩", 1000):             strings.Repeat("🦩", 7) + "…",
		strings.Repeat("\xff", 1000):          "       …",
		"x" + strings.Repeat("🦩", 8) + "\xff": "x" + strings.Repeat("🦩", 6) + "…",
	} {
		if got := Short(in, ' ', 8); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
