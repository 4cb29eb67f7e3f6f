package healthpool_test

import (
	"bytes"
	"encoding/pem"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	table "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/text"

	"github.com/healthpool/caddy-healthpool/internal/cause"
	"github.com/healthpool/caddy-healthpool/internal/intent"
	"github.com/healthpool/caddy-healthpool/internal/page/words"
	"github.com/healthpool/caddy-healthpool/internal/pool"
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

// options returns the names of all options, which the errors for an unknown option list.
func options(t *testing.T) (all []string) {
	t.Helper()
	for _, block := range []string{
		":80 {\nno_healthy_upstream {\nnonsense\n}\n}",
		":80 {\nreverse_proxy {\ndynamic healthpool {\nnonsense\n}\n}\n}",
		":80 {\nreverse_proxy {\ndynamic healthpool {\nupstream a:1 {\nnonsense\n}\n}\n}\n}",
		"{\nhealthpool {\nnonsense\n}\n}",
	} {
		_, err := adapt(block)
		if err == nil {
			t.Fatalf("no error: %s", block)
		}
		_, names, _ := strings.Cut(err.Error(), "there are ")
		names, _, found := strings.Cut(names, ", at ")
		if !found {
			t.Fatalf("it does not say what there is: %v", err)
		}
		all = append(all, strings.Split(names, ", ")...)
	}
	return all
}

// TestTablesOfOptions checks that every option documented in a table exists.
func TestTablesOfOptions(t *testing.T) {
	known, rows := options(t), 0
	for _, d := range documents(t) {
		each(d, func(n *table.Table) {
			if d.textOf(n.FirstChild().FirstChild()) != "Option" {
				return
			}
			for row := n.FirstChild().NextSibling(); row != nil; row = row.NextSibling() {
				name, _, _ := strings.Cut(d.textOf(row.FirstChild()), " ")
				if rows++; !slices.Contains(known, name) {
					t.Errorf("%s: there is no option %s", d.name, name)
				}
			}
		})
	}
	if rows < len(known)/2 {
		t.Errorf("only %d rows", rows)
	}
}

// notOurs has names of Caddy and others in our documents.
var notOurs = strings.Fields(`
	reverse_proxy php_fastcgi forward_auth handle_errors file_server basic_auth trusted_proxies remote_ip client_ip private_ranges
	lb_policy lb_retries lb_retry_match lb_try_duration header_up dial_timeout response_header_timeout stream_close_delay
	tls_server_name tls_trust_pool request_body max_response_header
	stop_grace_period enable_truncate dns_config target_upstream`)

// TestWordsInCode checks that names with underscores in the documents exist: options,
// causes, JSON fields, metrics and their labels, keys.
func TestWordsInCode(t *testing.T) {
	known := slices.Concat(options(t), notOurs, metricWords(), []string{
		// Our modules, directives and policy.
		"no_healthy_upstream", "health_aware", "healthpool_status",
		// Events, log fields and fates.
		"pool_up", "pool_down", "check_duration", "err_id", "not_sent",
		"alerts_test", // a file
	})
	for _, c := range cause.All() {
		known = append(known, string(c))
	}
	for _, v := range []any{pool.Status{}, pool.UpstreamStatus{}, pool.CheckStatus{}, intent.Maintenance{}, problem{}} {
		known = append(known, members(v)...)
	}
	known = slices.AppendSeq(known, maps.Keys(words.Of(words.English)))
	name := regexp.MustCompile(`\b[a-z]+(?:_[a-z0-9]+)+\b`)
	for _, d := range documents(t) {
		each(d, func(n *ast.CodeSpan) {
			for _, word := range name.FindAllString(d.textOf(n), -1) {
				if !slices.Contains(known, word) {
					t.Errorf("%s: nothing is called %s", d.name, word)
				}
			}
		})
	}
}

// members returns the JSON names of a struct's fields.
func members(v any) (names []string) {
	for _, f := range reflect.VisibleFields(reflect.TypeOf(v)) {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" {
			names = append(names, name)
		}
	}
	return names
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

// TestCausesAreExplained checks that docs/health.md explains each cause under its own
// heading, with the advice that is shown elsewhere.
func TestCausesAreExplained(t *testing.T) {
	d := read(t, "docs/health.md")
	advice := make(map[string]string) // by heading
	heading := ""
	each(d, func(n ast.Node) {
		switch n := n.(type) {
		case *ast.Heading:
			heading = d.textOf(n)
		case *ast.Blockquote:
			advice[heading] = d.textOf(n)
		}
	})
	for _, c := range cause.All() {
		if got := advice[string(c)]; got != c.Advice() {
			t.Errorf("%s: the advice is %q, want %q", c, got, c.Advice())
		}
		delete(advice, string(c))
	}
	if len(advice) > 0 {
		t.Errorf("there are no such causes: %v", advice)
	}
}

// TestMembersAreExplained checks that docs/operating.md explains each field of the admin
// API, and each metric with its labels, in a table row.
func TestMembersAreExplained(t *testing.T) {
	d := read(t, "docs/operating.md")
	rows := make(map[string]string) // by what the first cell names
	each(d, func(n *table.TableRow) {
		for name := range strings.SplitSeq(d.textOf(n.FirstChild()), ", ") {
			rows[name] = d.textOf(n)
		}
	})
	for _, v := range []any{pool.Status{}, pool.UpstreamStatus{}, intent.Maintenance{}} {
		for _, name := range members(v) {
			if rows[name] == "" {
				t.Errorf("no row for the member %s", name)
			}
		}
	}
	for name, labels := range metrics() {
		if !strings.Contains(rows[name], strings.Join(labels, ", ")) {
			t.Errorf("the row for %s is %q, want its labels %v", name, rows[name], labels)
		}
	}
}
