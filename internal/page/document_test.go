package page

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	nethtml "golang.org/x/net/html"

	"github.com/healthpool/caddy-healthpool/internal/page/words"
)

// document is a page as a browser parses it without scripts.
type document struct{ root *nethtml.Node }

func parse(t testing.TB, page string) document {
	t.Helper()
	root, err := nethtml.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	return document{root}
}

// elements returns the elements with this name, in their order.
func (d document) elements(name string) []*nethtml.Node {
	var found []*nethtml.Node
	for n := range d.root.Descendants() {
		if n.Type == nethtml.ElementNode && n.Data == name {
			found = append(found, n)
		}
	}
	return found
}

// only returns the only element with this name.
func (d document) only(t testing.TB, name string) *nethtml.Node {
	t.Helper()
	found := d.elements(name)
	if len(found) != 1 {
		t.Fatalf("%d elements %s, want one", len(found), name)
	}
	return found[0]
}

// attribute returns the value of an attribute of n, and whether n has it.
func attribute(n *nethtml.Node, name string) (string, bool) {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val, true
		}
	}
	return "", false
}

// data returns the value of the attribute data-name, which one element may have.
func (d document) data(name string) (string, bool) {
	for n := range d.root.Descendants() {
		if value, ok := attribute(n, "data-"+name); ok {
			return value, true
		}
	}
	return "", false
}

// read returns the text that people see in n: nothing hidden, no scripts and styles.
func read(n *nethtml.Node) string {
	if n.Type == nethtml.TextNode {
		return n.Data
	}
	if _, hidden := attribute(n, "hidden"); hidden || n.Data == "script" || n.Data == "style" {
		return ""
	}
	var b strings.Builder
	for child := range n.ChildNodes() {
		b.WriteString(read(child))
	}
	return b.String()
}

// text returns the text that people see on the page.
func (d document) text() string { return read(d.root) }

// sentences returns the keys of the sentences that people see, sorted.
func (d document) sentences(w words.Words) []string {
	text := d.text()
	var keys []string
	for key, sentence := range w {
		pattern := strings.NewReplacer(`\{n\}`, `\d+`, `\{time\}`, `\d{4}-\d\d-\d\d \d\d:\d\d UTC`).Replace(regexp.QuoteMeta(sentence))
		if sentence != "" && regexp.MustCompile(pattern).MatchString(text) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// outline returns a page without its texts: its elements, the names of their attributes, and
// what browsers execute.
func outline(page string) []string {
	var out []string
	z := nethtml.NewTokenizer(strings.NewReader(page))
	raw := false
	for z.Next() != nethtml.ErrorToken {
		token := z.Token()
		if token.Type == nethtml.TextToken {
			if raw {
				out = append(out, token.Data)
			}
			continue
		}
		raw = token.Type == nethtml.StartTagToken && (token.Data == "script" || token.Data == "style")
		line := token.Type.String() + " " + token.Data
		for _, a := range token.Attr {
			line += " " + a.Key
		}
		out = append(out, line)
	}
	return out
}
