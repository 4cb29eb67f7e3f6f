package main

import (
	"bytes"
	"embed"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
	"time"
)

//go:embed report.md
var reportTemplate embed.FS

// Report is the result of all measurements.
type Report struct {
	Machine    Machine
	Rounds     int
	Pairs      int
	Burst      time.Duration
	Chaos      []ChaosRow
	Throughput []ThroughputRow
	Outage     []OutageRow
	Waiting    Waiting
	Probing    []ProbingRow
}

// functions format numbers in the report.
var functions = template.FuncMap{
	"count":   count,
	"took":    took,
	"tally":   tally,
	"mib":     func(bytes int64) string { return fmt.Sprintf("%.0f MiB", float64(bytes)/(1<<20)) },
	"kib":     func(bytes int64) string { return fmt.Sprintf("%.1f KiB", float64(bytes)/(1<<10)) },
	"percent": func(part float64) string { return fmt.Sprintf("%.1f %%", 100*part) },
	"spread":  func(s spread) string { return fmt.Sprintf("**%.2f** (%.2f to %.2f)", s.Median, s.Low, s.High) },
}

// print writes the report as text.
func (r *Report) print(w io.Writer) error {
	t, err := template.New("report.md").Funcs(functions).ParseFS(reportTemplate, "report.md")
	if err != nil {
		return err
	}
	return t.Execute(w, r)
}

// write writes the report with its plots.
func (r *Report) write(docs string) error {
	var text bytes.Buffer
	if err := r.print(&text); err != nil {
		return err
	}
	for name, content := range map[string][]byte{
		"benchmarks.md":             text.Bytes(),
		"benchmarks-blackout.svg":   plotBlackout(r.Chaos),
		"benchmarks-throughput.svg": plotThroughput(r.Throughput),
		"benchmarks-return.svg":     plotReturn(r.Waiting),
	} {
		if err := os.WriteFile(filepath.Join(docs, name), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// count formats a number with commas between thousands.
func count(n any) string {
	digits := fmt.Sprint(n)
	if f, ok := n.(float64); ok {
		digits = fmt.Sprintf("%.0f", f)
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// took formats a duration with no more digits than matter.
func took(d time.Duration) string {
	if d >= time.Second {
		return fmt.Sprintf("%.2f s", d.Seconds())
	}
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}

// tally formats counts, sorted by what is counted.
func tally(counts map[string]int) string {
	words := make([]string, 0, len(counts))
	for _, key := range slices.Sorted(maps.Keys(counts)) {
		words = append(words, fmt.Sprintf("%s: %s", key, count(counts[key])))
	}
	return strings.Join(words, ", ")
}
