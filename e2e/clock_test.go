package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
)

const timeElement = `document.querySelector("time")`

// TestClock: a time to come back at is shown as the visitor's own clock and language have it, with the day unless that
// is today; without script, in UTC.
func TestClock(t *testing.T) {
	const zone = "Asia/Kathmandu" // UTC+5:45
	location, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		after    string
		language string
		format   string // of Go
	}{
		{"30m", "en", "3:04"},
		{"30m", "de", "15:04"},
		{"48h", "en", "January 2"},
	} {
		t.Run(test.after+" in "+test.language, func(t *testing.T) {
			b := openTab(t)
			site, _ := newSite(t, " {\n\t\tpage {\n\t\t\tretry_after "+test.after+"\n\t\t}\n\t}")
			b.do("moving to Nepal",
				call(emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: zone}),
				call(emulation.SetLocaleOverride, emulation.SetLocaleOverrideParams{Locale: test.language}))

			b.visitKind(kind{}, site, test.language)
			at := b.time(t)
			want := strings.TrimPrefix(at.In(location).Format(test.format), "0") // languages differ, and change, in whether there is one
			if got := b.eval(timeElement + ".textContent"); !strings.Contains(got, want) {
				t.Errorf("the page says %q, want it to have %q", got, want)
			}
			b.do("without script", disableScript(true))
			b.visitKind(kind{}, site, test.language)
			b.wantText(timeElement, b.time(t).Format("2006-01-02 15:04 UTC"))
			b.wantNoProblems()
		})
	}
}

// time returns the time that the page names, for machines.
func (b *tab) time(t *testing.T) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, b.eval(timeElement+".dateTime"))
	if err != nil {
		t.Fatal(err)
	}
	return at.UTC()
}
