// Package look has what the visitors' page and the status page have in common: contrast of
// colours, and the hashes by which a policy allows styles and scripts.
package look

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Color is a colour of red, green and blue, each from 0 to 255.
type Color [3]float64

// The ends of the scale of contrast.
var (
	White = Color{255, 255, 255}
	Black = Color{}
)

// ParseColor reads #rrggbb, with or without the #.
func ParseColor(s string) (Color, error) {
	digits := strings.TrimPrefix(s, "#")
	n, err := strconv.ParseUint(digits, 16, 24)
	if err != nil || len(digits) != len("rrggbb") {
		return Color{}, fmt.Errorf("must be a colour as #rrggbb, got %q", s)
	}
	return Color{float64(n >> 16), float64(n >> 8 & 255), float64(n & 255)}, nil
}

// String returns the colour as #rrggbb.
func (c Color) String() string {
	return fmt.Sprintf("#%02x%02x%02x", int(c[0]), int(c[1]), int(c[2]))
}

// Mix returns a mixture of c and d; share is that of d, from 0 to 1.
func (c Color) Mix(d Color, share float64) Color {
	for i := range c {
		c[i] = math.Round(c[i] + (d[i]-c[i])*share)
	}
	return c
}

// Contrast returns the contrast ratio of two colours (WCAG 2.2), from 1 to 21.
func Contrast(a, b Color) float64 {
	const flare = 0.05
	light, dark := a.luminance(), b.luminance()
	return (max(light, dark) + flare) / (min(light, dark) + flare)
}

// luminance returns the relative luminance (WCAG 2.2), from 0 to 1.
func (c Color) luminance() float64 {
	weights := Color{0.2126, 0.7152, 0.0722}
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
