package page

import (
	"fmt"

	"github.com/healthpool/caddy-healthpool/internal/look"
)

// minContrast is the contrast that text needs (WCAG 2.2, success criterion 1.4.3).
const minContrast = 4.5

// parseAccent reads #rrggbb, with or without the #. It refuses colours that make the label of a
// button hard to read: white in the light theme, black in the dark one.
func parseAccent(s string) (look.Color, error) {
	c, err := look.ParseColor(s)
	if err != nil {
		return c, fmt.Errorf("color: %w", err)
	}
	if !isLegible(c) {
		return c, fmt.Errorf("color: must have a contrast of at least %v:1 to white, for the light theme, and to black, for the dark one, got %s with %.2f:1 and %.2f:1; the nearest that passes is %s",
			minContrast, c, look.Contrast(c, look.White), look.Contrast(c, look.Black), nearestLegible(c))
	}
	return c, nil
}

func isLegible(c look.Color) bool {
	return look.Contrast(c, look.White) >= minContrast && look.Contrast(c, look.Black) >= minContrast
}

// nearestLegible mixes c with just enough white or black to be legible.
func nearestLegible(c look.Color) look.Color {
	end := look.White
	if look.Contrast(c, look.White) < minContrast {
		end = look.Black
	}
	const steps = 2000
	for i := range steps {
		if mixed := c.Mix(end, float64(i)/steps); isLegible(mixed) {
			return mixed
		}
	}
	return look.Color{118, 118, 118} // legible; no colour in the tests gets here
}
