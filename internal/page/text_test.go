package page

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"

	"github.com/healthpool/caddy-healthpool/internal/represent"
)

// TestText: the text has lines for people, and the first one for grep.
func TestText(t *testing.T) {
	got := answer(t, "POST", represent.Text, notice()).Body.String()
	want := `no healthy upstream

example.com is not answering. The problem is on its side, not yours.
We are moving to a new house.
The request was not passed on, so it is safe to repeat it.
Try again in 30 seconds.
Status page: https://status.example.com/?a=1&b=2
Call us: tel:+15550100
Reference: 7QX4-M2KD
`
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	r := ask("POST")
	r.Host = ""
	got = plainPage.respond(t, r, represent.Text, Notice{RetryAfter: 1}).Body.String()
	want = `no healthy upstream

The service is not answering. The problem is on its side, not yours.
It is unknown whether the request was processed: check before repeating it.
Try again in 1 second.
`
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

// rendered returns Markdown as HTML, with the usual extensions. The one that turns bare addresses
// into links is left out: such links show where they lead.
func rendered(t testing.TB, markdown string) string {
	t.Helper()
	var b bytes.Buffer
	if err := goldmark.New(goldmark.WithExtensions(extension.Table, extension.Strikethrough)).Convert([]byte(markdown), &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// markdown returns the response with these texts.
func markdown(t testing.TB, service, message, reference, label string) string {
	t.Helper()
	p := newPage(t, Options{Service: service, Message: message, Links: []Link{{label, "https://example.com/a_(b)?c=1&d=2"}}})
	n := notice()
	n.Reference = reference
	return p.respond(t, ask("POST"), represent.Markdown, n).Body.String()
}

// TestMarkdown: the Markdown has the same facts as the other formats.
func TestMarkdown(t *testing.T) {
	d := parse(t, rendered(t, markdown(t, "example.com", "Back *soon*.", "7QX4-M2KD", "Status_page_")))
	if got := read(d.only(t, "h1")); got != "No healthy upstream" {
		t.Errorf("heading %q", got)
	}
	mustHave(t, d.text(), "example.com", "is not answering.", "Back *soon*.", "not passed on")
	items := d.elements("li")
	facts := make([]string, len(items))
	for i, li := range items {
		facts[i] = read(li)
	}
	for _, want := range []string{"Status: 503", "Cause: destination_unavailable", "Safe to repeat: yes", "Try again in: 30 seconds", "Reference: 7QX4-M2KD", "Status_page_"} {
		if !slices.Contains(facts, want) {
			t.Errorf("got %q, want %q among them", facts, want)
		}
	}
	if got, _ := attribute(d.only(t, "a"), "href"); got != "https://example.com/a_(b)?c=1&d=2" {
		t.Errorf("link to %q", got)
	}
}

// TestMarkdownStaysText: a name, a message or a label stays text, whatever Markdown it contains.
func TestMarkdownStaysText(t *testing.T) {
	want := outline(rendered(t, markdown(t, "a", "a", "a", "a")))
	for _, bad := range append([]string{
		"[click](https://evil.example)", "](https://evil.example) [x", "<https://evil.example>", "https://evil.example", "www.evil.example",
		"a@evil.example", "![x](https://evil.example/y.png)", "# x", "- x", "1. x", "> x", "`x`", "```", "~~x~~", "**x**", "a|b", "---", "===",
		"<img src=x>", "&lt;b&gt;", "\\", "\\[x](y)", "[x]: https://evil.example", "\n\n# x", "    x", "  x  ", "\tx", "x\u00a0", "_x_", "a_b_c", "*", "**", "[ ] x",
	}, hostile...) {
		for i := range 4 {
			texts := []string{"a", "a", "a", "a"}
			texts[i] = bad
			body := markdown(t, texts[0], texts[1], texts[2], texts[3])
			if got := outline(rendered(t, body)); !slices.Equal(got, want) {
				t.Errorf("%q at %d: got %q, want %q", bad, i, got, want)
			}
		}
	}
}

// TestEvents: an EventSource gets no event, and reconnects when it makes sense, at slightly
// different times.
func TestEvents(t *testing.T) {
	for after, least := range map[int]int{0: 5000, 1: 1000, 8: 8000, 3600: 3600000} {
		n := notice()
		n.RetryAfter = after
		seen := map[int]bool{}
		for range 50 {
			w := answer(t, "GET", represent.EventStream, n)
			first, rest, _ := strings.Cut(w.Body.String(), "\n")
			retry := 0
			if _, err := fmt.Sscanf(first, "retry: %d", &retry); err != nil || retry < least || retry > least+least/4 {
				t.Errorf("%d s: %q is not within [%d, %d]: %v", after, first, least, least+least/4, err)
			}
			if !strings.HasPrefix(rest, ":") || !strings.HasSuffix(rest, "\n\n") || strings.Contains(rest, "data") || w.Code != 200 {
				t.Errorf("%d s: got %d %q", after, w.Code, rest)
			}
			seen[retry] = true
		}
		if len(seen) < 10 {
			t.Errorf("%d s: only %d different times of 50", after, len(seen))
		}
	}
}
