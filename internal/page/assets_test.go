package page

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestAssetsContrast: text, links and what is written on buttons have at least
// 7:1 (WCAG 2.2, 1.4.6) on both themes.
func TestAssetsContrast(t *testing.T) {
	themes := regexp.MustCompile(`(?s):root \{(.*?)\}`).FindAllStringSubmatch(styleSource, -1)
	if len(themes) != 2 {
		t.Fatalf("%d themes, want a light and a dark one", len(themes))
	}
	for i, theme := range themes {
		colors := map[string]float64{}
		for _, m := range regexp.MustCompile(`--(\w+): #(\w{6});`).FindAllStringSubmatch(theme[1], -1) {
			colors[m[1]] = luminance(m[2])
		}
		for _, name := range []string{"text", "soft", "link"} {
			light, dark := max(colors[name], colors["ground"]), min(colors[name], colors["ground"])
			if ratio := (light + 0.05) / (dark + 0.05); ratio < 7 {
				t.Errorf("theme %d: %s has a contrast of %.2f", i, name, ratio)
			}
		}
	}
}

// luminance is the relative luminance of a colour (WCAG 2.2).
func luminance(hex string) float64 {
	n, _ := strconv.ParseUint(hex, 16, 24)
	channel := func(shift uint) float64 {
		c := float64(n>>shift&255) / 255
		if c <= 0.04045 {
			return c / 12.92
		}
		return math.Pow((c+0.055)/1.055, 2.4)
	}
	return 0.2126*channel(16) + 0.7152*channel(8) + 0.0722*channel(0)
}

// TestAssetsSelfContained: no motion, nothing physical that would be wrong from
// right to left, and nothing loaded from anywhere.
func TestAssetsSelfContained(t *testing.T) {
	for _, word := range []string{"animation", "transition", "left", "right", "url(", "@import"} {
		if strings.Contains(styleSource, word) {
			t.Errorf("the style has %q", word)
		}
	}
	for _, word := range []string{"http:", "https:", "innerHTML", "eval", "cookie"} {
		if strings.Contains(scriptSource, word) {
			t.Errorf("the script has %q", word)
		}
	}
	if strings.Contains(style+script, "//") || strings.Contains(style+script, "/*") || strings.Contains(style+script, "</") {
		t.Error("a comment is left, or something that ends the element")
	}
}

// TestWordsPlain: short words, no exclamation marks, none of the trade.
func TestWordsPlain(t *testing.T) {
	all := strings.ToLower(html("GET", notice()) + html("POST", notice()))
	all = strings.NewReplacer(script, "", style, "", "<!doctype", "").Replace(strings.ReplaceAll(all, strings.ToLower(script), ""))
	mustNotHave(t, all, "oops", "upstream", "backend", "gateway", "technical", "maintenance", "team")
	for _, sentence := range []string{english.Title, english.Whose, english.NotSent, english.Unknown, english.Watching, english.WatchingForm, english.Back, english.BackForm, english.BackCheck} {
		mustNotHave(t, sentence, "!", "server", "error")
	}
}
