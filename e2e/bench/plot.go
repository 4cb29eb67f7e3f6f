package main

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/healthpool/caddy-healthpool/e2e/internal/chaos"
)

// plot is an SVG image that is being written. It is legible on light and dark backgrounds.
type plot struct{ bytes.Buffer }

const plotStyle = `<style>text{font:13px system-ui,sans-serif;fill:#24292f}` +
	`.axis{stroke:#8c959f;fill:none}.ours{fill:#2f6fdf;stroke:#2f6fdf}.other{fill:#8c959f;stroke:#8c959f}` +
	`.bad{fill:#cf3a3a;stroke:#cf3a3a}.trouble{fill:#d4a72c;opacity:.2}.grid{stroke:#8c959f;opacity:.35}.right{text-anchor:end}.mid{text-anchor:middle}` +
	`@media(prefers-color-scheme:dark){text{fill:#d0d7de}.ours{fill:#6ea8ff;stroke:#6ea8ff}.bad{fill:#ff7b72;stroke:#ff7b72}}</style>`

func newPlot(width, height int, title string) *plot {
	p := new(plot)
	p.add(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img"><title>%s</title>`+plotStyle,
		width, height, width, height, title)
	return p
}

func (p *plot) add(format string, args ...any) {
	_, _ = fmt.Fprintf(p, format+"\n", args...) // a buffer never fails
}

func (p *plot) text(x, y float64, class, words string) {
	p.add(`<text x="%.1f" y="%.1f" class="%s">%s</text>`, x, y, class, words)
}

func (p *plot) end() []byte {
	p.WriteString("</svg>\n")
	return p.Bytes()
}

// plotBlackout shows when each proxy's answers came, and which were errors.
func plotBlackout(rows []ChaosRow) []byte {
	const width, panel, left, bottom = 760, 120, 40, 30
	rows = slices.DeleteFunc(slices.Clone(rows), func(r ChaosRow) bool { return r.Scenario.Name != "blackout" })
	p := newPlot(width, panel*len(rows)+bottom, "How long answers took during the blackout")
	second := float64(width-left-20) / chaos.Duration.Seconds()
	const longest = 3 * time.Second
	const tall = float64(panel-25) / float64(longest)
	for i, row := range rows {
		base := float64(panel*(i+1)) - 5
		s := row.Scenario
		p.add(`<rect x="%.1f" y="%.1f" width="%.1f" height="%d" class="trouble"/>`,
			left+s.From.Seconds()*second, base-panel+25, (s.To-s.From).Seconds()*second, panel-25)
		class := "other"
		if i == 0 {
			class = "ours"
		}
		for slot, a := range worst(row.Answers) {
			x := left + (time.Duration(slot)*slotTime).Seconds()*second
			if a.Error != "" {
				p.add(`<rect x="%.1f" y="%.1f" width="%.2f" height="%d" class="bad"/>`, x, base-12, second*slotTime.Seconds(), 12)
				continue
			}
			height := float64(min(a.Took, longest)) * tall
			p.add(`<rect x="%.1f" y="%.1f" width="%.2f" height="%.1f" class="%s"/>`, x, base-height, second*slotTime.Seconds()/2, height, class)
		}
		p.add(`<path class="axis" d="M%d %.1fH%d"/>`, left, base, width-10)
		p.add(`<path class="grid" d="M%d %.1fH%d"/>`, left, base-float64(time.Second)*tall, width-10)
		p.text(left-6, base-float64(time.Second)*tall+4, "right", "1 s")
		p.text(left, base-panel+20, "", fmt.Sprintf("%s: %s failed, %s late", row.Proxy, count(row.Errors()), count(row.Late())))
	}
	for t := range int(chaos.Duration/time.Second) + 1 {
		p.text(left+float64(t)*second, float64(panel*len(rows)+bottom)-10, "mid", fmt.Sprintf("%d s", t))
	}
	return p.end()
}

// slotTime is how much time one bar of a plot stands for.
const slotTime = 50 * time.Millisecond

// worst returns the worst answer of each slot.
func worst(answers []chaos.Answer) []chaos.Answer {
	slots := make([]chaos.Answer, chaos.Duration/slotTime)
	for _, a := range answers {
		slot := &slots[min(int(a.Due/slotTime), len(slots)-1)]
		if a.Error != "" || slot.Error == "" && a.Took > slot.Took {
			*slot = a
		}
	}
	return slots
}

// plotThroughput shows our rate as a ratio to plain Caddy's, on a logarithmic scale.
func plotThroughput(rows []ThroughputRow) []byte {
	const width, line, left, least = 760, 34, 185, 0.5
	p := newPlot(width, line*len(rows)+30, "Requests per second, as ratio to plain Caddy")
	most := 2.0
	for _, row := range rows {
		most = max(most, row.Rate.High)
	}
	unit := (width - left - 60) / math.Log2(most/least)
	at := func(ratio float64) float64 { return left + math.Log2(max(ratio, least)/least)*unit }
	for ratio := least; ratio <= most; ratio *= 2 {
		p.add(`<path class="grid" d="M%.1f 0V%d"/>`, at(ratio), line*len(rows))
		p.text(at(ratio), float64(line*len(rows))+18, "mid", fmt.Sprintf("%g", ratio))
	}
	for i, row := range rows {
		y := float64(i*line) + 8
		p.text(0, y+14, "", fmt.Sprintf("%s, beside %s", count(row.Upstreams), row.Other))
		from, to := min(1, row.Rate.Median), max(1, row.Rate.Median)
		p.add(`<rect x="%.1f" y="%.1f" width="%.1f" height="18" class="ours"/>`, at(from), y, max(2, at(to)-at(from)))
		p.add(`<path class="axis" d="M%.1f %.1fH%.1f"/>`, at(row.Rate.Low), y+9, at(row.Rate.High))
		p.text(at(max(1, row.Rate.High))+6, y+14, "", fmt.Sprintf("%.2f", row.Rate.Median))
	}
	p.add(`<path class="axis" d="M%.1f 0V%d"/>`, at(1), line*len(rows))
	return p.end()
}

// plotReturn shows how many visitors came back in each second.
func plotReturn(w Waiting) []byte {
	const width, height, left, bottom = 760, 220, 60, 30
	p := newPlot(width, height, "How many visitors are back in each second")
	if len(w.Returns) == 0 {
		return p.end()
	}
	most := slices.Max(w.Returns)
	step := float64(width-left-10) / float64(len(w.Returns))
	tall := float64(height-bottom-20) / float64(most)
	for i, n := range w.Returns {
		p.add(`<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" class="ours"/>`,
			left+float64(i)*step, height-bottom-float64(n)*tall, step*.8, float64(n)*tall)
	}
	p.add(`<path class="axis" d="M%d %dH%d"/>`, left, height-bottom, width-10)
	p.text(left-6, 24, "right", count(most))
	for i := 0; i < len(w.Returns); i += 10 {
		p.text(left+float64(i)*step, height-10, "", fmt.Sprintf("%d s", i))
	}
	return p.end()
}
