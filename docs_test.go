package healthpool_test

import (
	"bytes"
	"encoding/pem"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/text"
)

// document is one of the documents, parsed as Markdown.
type document struct {
	name   string
	source []byte
	root   ast.Node
}

// documents returns the README and all of docs.
func documents(t *testing.T) []*document {
	t.Helper()
	names, err := filepath.Glob("docs/*.md")
	if err != nil || len(names) == 0 {
		t.Fatalf("no documents: %v", err)
	}
	names = append(names, "README.md")
	found := make([]*document, 0, len(names))
	for _, name := range names {
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		parser := goldmark.New(goldmark.WithExtensions(extension.Table)).Parser()
		found = append(found, &document{name, source, parser.Parse(text.NewReader(source))})
	}
	return found
}

// each calls f with every node of a kind.
func each[N ast.Node](d *document, f func(N)) {
	_ = ast.Walk(d.root, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if found, ok := n.(N); ok && entering {
			f(found)
		}
		return ast.WalkContinue, nil
	})
}

// textOf returns the text of a node, without markup.
func (d *document) textOf(n ast.Node) string {
	var b strings.Builder
	_ = ast.Walk(n, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if t, ok := n.(*ast.Text); ok && entering {
			b.Write(t.Segment.Value(d.source))
			if t.SoftLineBreak() {
				b.WriteByte(' ')
			}
		}
		return ast.WalkContinue, nil
	})
	return b.String()
}

// caddyfiles returns the code blocks that are Caddyfiles.
func (d *document) caddyfiles() (found []string) {
	each(d, func(n *ast.FencedCodeBlock) {
		if string(n.Language(d.source)) == "caddyfile" {
			found = append(found, string(n.Lines().Value(d.source)))
		}
	})
	return found
}

// siteAddress matches the beginning of a whole Caddyfile: global options, a snippet or a
// site address.
var siteAddress = regexp.MustCompile(`^(\{|\(|[\w*-]*[.:][^\s{]*)`)

// whole completes a part of a site to a Caddyfile.
func whole(block string) string {
	if siteAddress.MatchString(strings.TrimSpace(block)) {
		return block
	}
	return ":80 {\n" + block + "\n}\n"
}

// TestDocumentedCaddyfiles checks that the Caddyfiles in the documents are valid.
func TestDocumentedCaddyfiles(t *testing.T) {
	etc := t.TempDir() // stands for /etc/caddy
	page, err := os.ReadFile("example/outage.html")
	if err != nil {
		t.Fatal(err)
	}
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: untrustedCertificate(t).Certificate[0]})
	for name, content := range map[string][]byte{"outage.html": page, "internal-ca.pem": authority} {
		if err := os.WriteFile(filepath.Join(etc, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	number := 0
	for _, d := range documents(t) {
		for _, block := range d.caddyfiles() {
			number++
			// Those in docs are copied as they are, and Caddy warns if they are not
			// formatted.
			if formatted := string(caddyfile.Format([]byte(block))); d.name != "README.md" && formatted != block {
				t.Errorf("%s: must be formatted as\n%s", d.name, formatted)
			}
			adapted, err := adapt(whole(strings.ReplaceAll(block, "/etc/caddy", filepath.ToSlash(etc))))
			if err == nil {
				err = validate(t, adapted)
			}
			if err != nil {
				t.Errorf("%s: %v\n%s", d.name, err, block)
			}
		}
	}
	if number == 0 {
		t.Error("no Caddyfiles")
	}
}

// TestExamplesAreFormatted checks that Caddy has no warnings about the examples.
func TestExamplesAreFormatted(t *testing.T) {
	files, _ := filepath.Glob("example/*Caddyfile")
	for _, file := range files {
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, caddyfile.Format(got)) || !bytes.HasPrefix(got, []byte("# ")) {
			t.Errorf("%s: must be formatted, and begin with what happens", file)
		}
	}
}

// repository is the address of our files on the web.
const repository = "https://github.com/healthpool/caddy-healthpool/blob/main/"

// links has the documents that can be linked to, and their anchors.
type links map[string][]string

// TestLinks checks that links between documents, and in alerts, are not broken.
func TestLinks(t *testing.T) {
	all, anchors := documents(t), make(links)
	for _, d := range all {
		each(d, func(n *ast.Heading) { anchors[d.name] = append(anchors[d.name], anchor(d.textOf(n))) })
	}
	source := regexp.MustCompile(`(?:src|srcset)="([^"]+)"`)
	for _, d := range all {
		each(d, func(n *ast.Link) { anchors.check(t, d.name, string(n.Destination)) })
		each(d, func(n *ast.Image) { anchors.check(t, d.name, string(n.Destination)) })
		for _, found := range source.FindAllSubmatch(d.source, -1) {
			anchors.check(t, d.name, string(found[1]))
		}
	}
	ours := regexp.MustCompile(regexp.QuoteMeta(repository) + `[\w./#-]+`)
	for _, name := range []string{"docs/problems.md", "example/alerts.yml"} {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range ours.FindAll(content, -1) {
			anchors.check(t, name, string(found))
		}
	}
}

// check checks a link in a file.
func (l links) check(t *testing.T, from, link string) {
	t.Helper()
	target, isOurs := strings.CutPrefix(link, repository)
	switch {
	case isOurs:
	case strings.Contains(link, "://"), strings.HasPrefix(link, "mailto:"):
		return // not our file
	case strings.HasPrefix(link, "#"):
		target = from + link
	default:
		target = filepath.ToSlash(filepath.Join(filepath.Dir(from), link))
	}
	file, fragment, hasFragment := strings.Cut(target, "#")
	if _, err := os.Stat(file); err != nil {
		t.Errorf("%s: link to %s: %v", from, link, err)
	}
	if hasFragment && !slices.Contains(l[file], fragment) {
		t.Errorf("%s: link to %s: there is only %v", from, link, l[file])
	}
}

// anchor returns GitHub's anchor of a heading.
func anchor(heading string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-', r == '_', unicode.IsLetter(r), unicode.IsDigit(r):
			return unicode.ToLower(r)
		}
		return -1
	}, heading)
}

// read returns one of the documents.
func read(t *testing.T, name string) *document {
	t.Helper()
	all := documents(t)
	i := slices.IndexFunc(all, func(d *document) bool { return d.name == name })
	if i < 0 {
		t.Fatalf("no %s", name)
	}
	return all[i]
}
