package page

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
)

// writeText writes n as lines for a terminal. Tools have searched for the first one since
// Envoy wrote it.
func (p *Page) writeText(b *bytes.Buffer, n *Notice, method string) {
	service := "The service"
	if n.service != "" {
		service = n.service
	}
	fmt.Fprintf(b, "no healthy upstream\n\n%s %s\n", service, n.state())
	if n.Message != "" {
		fmt.Fprintln(b, n.Message)
	}
	fmt.Fprintln(b, outcome(n, method))
	switch {
	case n.Planned && !n.Until.IsZero():
		fmt.Fprintf(b, "Try again after %s.\n", n.Until.Format("2006-01-02 15:04 UTC"))
	case n.RetryAfter > 0:
		fmt.Fprintf(b, "Try again in %s.\n", n.wait())
	}
	for _, l := range p.links {
		fmt.Fprintf(b, "%s: %s\n", l.Label, l.URL)
	}
	if n.Reference != "" {
		fmt.Fprintf(b, "Reference: %s\n", n.Reference)
	}
	if n.Details != nil {
		fmt.Fprintf(b, "\n%s:\n", onlyYou)
		n.Details.facts(func(label, text string) { fmt.Fprintf(b, "%s: %s\n", label, text) })
	}
}

// wait returns how long to wait before the next attempt.
func (n *Notice) wait() string {
	if n.RetryAfter == 1 {
		return "1 second"
	}
	return fmt.Sprintf("%d seconds", n.RetryAfter)
}

// writeMarkdown writes n for AI agents and for the people who read what they pass on.
func (p *Page) writeMarkdown(b *bytes.Buffer, n *Notice, method string) {
	fmt.Fprintf(b, "# %s\n\n%s\n\n", problemTitle, literal(detail(n, method)))
	if n.service != "" {
		fmt.Fprintf(b, "- Service: %s\n", literal(n.service))
	}
	fmt.Fprintf(b, "- Status: %d\n- Cause: %s\n- Safe to repeat: %s\n", n.Status, literal(string(n.Cause)), yesNo[n.retryable(method)])
	if n.RetryAfter > 0 {
		fmt.Fprintf(b, "- Try again in: %s\n", n.wait())
	}
	if n.Reference != "" {
		fmt.Fprintf(b, "- Reference: %s\n", literal(n.Reference))
	}
	for _, l := range p.links {
		fmt.Fprintf(b, "- [%s](<%s>)\n", literal(l.Label), angles.Replace(string(l.URL)))
	}
	if n.Details != nil {
		fmt.Fprintf(b, "\n## %s\n\n", onlyYou)
		n.Details.facts(func(label, text string) { fmt.Fprintf(b, "- %s: %s\n", label, literal(text)) })
	}
}

var (
	yesNo  = map[bool]string{true: "yes", false: "no"}
	angles = strings.NewReplacer("<", "%3C", ">", "%3E", "\\", "%5C")
)

// literal escapes the characters that have a meaning within a line of Markdown (CommonMark
// §2.4). An underscore within a word has none.
func literal(s string) string {
	if !strings.ContainsAny(s, special) {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		if strings.IndexByte(special, s[i]) >= 0 && (s[i] != '_' || !isWithinWord(s, i)) {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

const special = "\\`*_[]<>&~|"

func isWithinWord(s string, i int) bool {
	return i > 0 && i < len(s)-1 && isWord(s[i-1]) && isWord(s[i+1])
}

func isWord(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' }

// writeEvents tells an EventSource when to reconnect. With any status but 200 it would give up
// for good (HTML standard, §9.2). Streams that broke off together reconnect spread out.
func writeEvents(b *bytes.Buffer, n *Notice) {
	const usual, spread = 5, 250 // seconds; milliseconds for each of them
	after := n.RetryAfter
	if after == 0 {
		after = usual
	}
	milliseconds := after*1000 + rand.IntN(after*spread+1)
	fmt.Fprintf(b, "retry: %d\n: no healthy upstream\n\n", milliseconds)
}
