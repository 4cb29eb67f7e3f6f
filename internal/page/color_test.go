package page

import (
	"fmt"
	"math"
	"regexp"
	"strings"
	"testing"

	"github.com/healthpool/caddy-healthpool/internal/look"
)

// TestColorRefused: a colour with too little contrast to the label of a button in one of the
// themes is refused, with the value, the rule, and a colour that would be accepted.
func TestColorRefused(t *testing.T) {
	for _, color := range []string{"#ffff00", "#ffffff", "#000000", "#000080", "#00FF00", "#1e90ff", "#8b0000"} {
		err := (&Options{Color: color}).Validate()
		if err == nil {
			t.Errorf("%s is accepted", color)
			continue
		}
		mustHave(t, err.Error(), "color: must have a contrast of at least 4.5:1", "got "+strings.ToLower(color))
		found := regexp.MustCompile(`nearest that passes is (#[0-9a-f]{6})$`).FindStringSubmatch(err.Error())
		if found == nil {
			t.Errorf("%s: no other is offered: %v", color, err)
			continue
		}
		if err := (&Options{Color: found[1]}).Validate(); err != nil {
			t.Errorf("%s: the one that is offered is refused: %v", color, err)
		}
	}
}

// TestColorAccepted: a colour with enough contrast passes, in capitals or not, with # or without
// (in a Caddyfile, # begins a comment).
func TestColorAccepted(t *testing.T) {
	for _, color := range []string{"#767676", "#757575", "#0074E8", "d43b43"} {
		c, err := parseAccent(color)
		if err != nil {
			t.Error(err)
			continue
		}
		if look.Contrast(c, look.White) < 4.5 || look.Contrast(c, look.Black) < 4.5 {
			t.Errorf("%s: %.2f to white, %.2f to black", color, look.Contrast(c, look.White), look.Contrast(c, look.Black))
		}
	}
}

// TestColorSyntax: nothing but six hexadecimal digits is a colour, so nothing else gets into the
// style.
func TestColorSyntax(t *testing.T) {
	for _, color := range []string{"red", "#fff", "fff", "#7676767", "7676767", "#76767g", "#+76767", "##76767", "#767676;", " #767676", "#76_676", "#０６７", "#-76767", "#0x7676"} {
		err := (&Options{Color: color}).Validate()
		if err == nil {
			t.Errorf("%q is accepted", color)
			continue
		}
		mustHave(t, err.Error(), "color: must be a colour as #rrggbb", fmt.Sprintf("%q", color))
	}
}

// TestColorNearest: for every hue and lightness, the nearest colour passes and is a mixture with
// white or black; a colour that passes is its own nearest.
func TestColorNearest(t *testing.T) {
	const hues, lightnesses = 24, 20
	for _, saturation := range []float64{0, 0.5, 1} {
		for hue := range hues {
			for lightness := range lightnesses + 1 {
				c := hsl(float64(hue)/hues, saturation, float64(lightness)/lightnesses)
				near := nearestLegible(c)
				if !isLegible(near) {
					t.Errorf("%v: %v does not pass", c, near)
				}
				if isLegible(c) && near != c {
					t.Errorf("%v passes, but becomes %v", c, near)
				}
				end := look.White
				if look.Contrast(c, look.White) < minContrast {
					end = look.Black
				}
				if d := offLine(c, end, near); d > 1 {
					t.Errorf("%v: %v is %.1f off the line to %v", c, near, d, end)
				}
			}
		}
	}
}

// offLine is how far c is from being a mixture of two others, in its worst channel.
func offLine(from, to, c look.Color) float64 {
	var dot, length float64
	for i := range c {
		dot += (c[i] - from[i]) * (to[i] - from[i])
		length += (to[i] - from[i]) * (to[i] - from[i])
	}
	if length == 0 {
		return 0
	}
	worst := 0.0
	for i := range c {
		worst = max(worst, math.Abs(from[i]+(to[i]-from[i])*dot/length-c[i]))
	}
	return worst
}

// hsl is a colour by hue, saturation and lightness, each from 0 to 1.
func hsl(h, s, l float64) (c look.Color) {
	for i, offset := range [...]float64{0, 8, 4} {
		k := math.Mod(offset+h*12, 12)
		c[i] = math.Round(255 * (l - s*min(l, 1-l)*max(-1, min(k-3, 9-k, 1))))
	}
	return c
}
