package look

import (
	"math"
	"testing"
)

// TestContrast: the ratios are those of WCAG's own definition.
func TestContrast(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want float64
	}{
		{"#ffffff", "#000000", 21},
		{"#000000", "#ffffff", 21},
		{"#ffffff", "#ffffff", 1},
		{"#767676", "#ffffff", 4.54},
		{"#ff0000", "#ffffff", 4.00},
		{"#0000ff", "#ffffff", 8.59},
		{"#008000", "#000000", 4.09},
		{"#010203", "#000000", 1.01}, // the linear part
	} {
		a, errA := ParseColor(c.a)
		b, errB := ParseColor(c.b)
		if got := Contrast(a, b); errA != nil || errB != nil || math.Abs(got-c.want) > 0.005 {
			t.Errorf("%s and %s: got %.3f, want %.2f", c.a, c.b, got, c.want)
		}
	}
}

// TestParseColor: what is read is written alike, and nothing but six digits is read.
func TestParseColor(t *testing.T) {
	for _, s := range []string{"#0074e8", "0074E8"} {
		if c, err := ParseColor(s); err != nil || c.String() != "#0074e8" {
			t.Errorf("%s: got %v, %v", s, c, err)
		}
	}
	for _, s := range []string{"", "#", "#fff", "##00000", "#00000g", "+00000", "#0000000"} {
		if c, err := ParseColor(s); err == nil {
			t.Errorf("%q: got %v", s, c)
		}
	}
}

// TestHash: the hash is that of the example in the specification (CSP Level 3, §2.3.1).
func TestHash(t *testing.T) {
	if got, want := Hash("doSomething();"), "'sha256-RFWPLDbv2BY+rCkDzsE+0fr8ylGr2R2faWMhq4lfEQc='"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
