package page

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// minContrast is the contrast that text needs (WCAG 2.2, success criterion 1.4.3).
const minContrast = 4.5

// rgb is a colour with channels from 0 to 255.
type rgb [3]float64

var white, black = rgb{255, 255, 255}, rgb{}

// parseAccent reads #rrggbb, with or without the #. It refuses colours that make the label of a
// button hard to read: white in the light theme, black in the dark one.
func parseAccent(s string) (rgb, error) {
	digits := strings.TrimPrefix(s, "#")
	n, err := strconv.ParseUint(digits, 16, 24)
	if err != nil || len(digits) != len("rrggbb") {
		return rgb{}, fmt.Errorf("color: must be a colour as #rrggbb, got %q", s)
	}
	c := rgb{float64(n >> 16), float64(n >> 8 & 255), float64(n & 255)}
	if !c.isLegible() {
		return c, fmt.Errorf("color: must have a contrast of at least %v:1 to white, for the light theme, and to black, for the dark one, got %s with %.2f:1 and %.2f:1; the nearest that passes is %s",
			minContrast, c, contrast(c, white), contrast(c, black), c.nearestLegible())
	}
	return c, nil
}

func (c rgb) isLegible() bool {
	return contrast(c, white) >= minContrast && contrast(c, black) >= minContrast
}

// nearestLegible mixes c with just enough white or black to be legible.
func (c rgb) nearestLegible() rgb {
	end := white
	if contrast(c, white) < minContrast {
		end = black
	}
	const steps = 2000
	for i := range steps {
		if mixed := c.mix(end, float64(i)/steps); mixed.isLegible() {
			return mixed
		}
	}
	return rgb{118, 118, 118} // legible; no colour in the tests gets here
}

// mix returns a mixture of c and d; share is that of d, from 0 to 1.
func (c rgb) mix(d rgb, share float64) rgb {
	for i := range c {
		c[i] = math.Round(c[i] + (d[i]-c[i])*share)
	}
	return c
}

// String returns the colour as #rrggbb.
func (c rgb) String() string {
	return fmt.Sprintf("#%02x%02x%02x", int(c[0]), int(c[1]), int(c[2]))
}

// contrast returns the contrast ratio of two colours (WCAG 2.2), from 1 to 21.
func contrast(a, b rgb) float64 {
	const flare = 0.05
	light, dark := a.luminance(), b.luminance()
	return (max(light, dark) + flare) / (min(light, dark) + flare)
}

// luminance returns the relative luminance (WCAG 2.2), from 0 to 1.
func (c rgb) luminance() float64 {
	weights := rgb{0.2126, 0.7152, 0.0722}
	sum := 0.0
	for i, channel := range c {
		v := channel / 255
		if v <= 0.04045 {
			v /= 12.92
		} else {
			v = math.Pow((v+0.055)/1.055, 2.4)
		}
		sum += weights[i] * v
	}
	return sum
}
