package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/pool"
)

// FuzzStatus: whatever the admin API answers, the text fits the terminal and contains no
// escape sequences but colours.
func FuzzStatus(f *testing.F) {
	for _, p := range append(oddNames(), shop()) {
		text, err := json.Marshal([]pool.Status{p})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text, 80)
	}
	f.Add([]byte(`[{"name":"\u001b[2J\u202e","state":"\n","since":"0001-01-01T00:00:00Z","maintenance":{"message":"\r\u0000","until":"9999-12-31T23:59:59Z"},
		"upstreams":[{"address":"`+"\xff"+`","state":"x","history":"PF?","latency_ms":-1e300,"cause":"\u2028","last_check":{"duration_ms":1e300}}]}]`), 21)
	f.Add([]byte(`[{}]`), 0)
	f.Add([]byte(`{"error":"not a list"}`), 80)
	f.Fuzz(func(t *testing.T, text []byte, width int) {
		var all []pool.Status
		if err := new(client).decode(reply{body: text}, &all); err != nil {
			return
		}
		for _, on := range []terminal{{width: width}, {width: width, color: true, unicode: true, ansi: true}} {
			if on.width != 0 {
				on.width = max(40, on.width%200)
			}
			checkShown(t, statusText(all, on, time.Unix(1_800_000_000, 0)), on)
		}
		offered(all, nil, func(pool.UpstreamStatus) bool { return true })
	})
}

// FuzzRefusal: whatever error comes instead of an answer, it is shown on one line.
func FuzzRefusal(f *testing.F) {
	for _, said := range []string{`{"error":"no\u001b[2J"}`, `{"error":""}`, `{"error":1}`, "404 page not found\n", "\x1b[31m\xff", ""} {
		f.Add(404, said)
		f.Add(-1, said)
	}
	c := &client{address: "localhost:2019"}
	f.Fuzz(func(t *testing.T, status int, said string) {
		for _, text := range []string{
			fmt.Sprintf("caddy responded with error: HTTP %d: %s", status, said), "caddy responded with error: HTTP " + said, `performing request: Get "x": ` + said,
		} {
			err := c.explain(errors.New(text))
			if got := err.Error(); got != printable(got) || got == "" {
				t.Errorf("%q: %q", text, got)
			}
		}
	})
}
