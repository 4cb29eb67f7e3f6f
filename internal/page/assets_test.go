package page

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	nethtml "golang.org/x/net/html"

	"github.com/healthpool/caddy-healthpool/internal/look"
	"github.com/healthpool/caddy-healthpool/internal/represent"
)

// TestPolicy: the policy allows exactly the style and the scripts that the page has,
// by their hashes, and the page has nothing else that a policy would have to allow.
func TestPolicy(t *testing.T) {
	owners := map[string]*Page{
		"plain": plainPage, "full": fullPage,
		"colour and logo": newPage(t, Options{Color: "#767676", Logo: file(t, "logo.svg", []byte(svg))}),
	}
	for owner, p := range owners {
		for scripts, change := range map[int]func(*Notice){
			0: func(n *Notice) { n.Poll = "" },
			1: func(*Notice) {},
			2: func(n *Notice) { n.Until = time2031 },
		} {
			n := notice()
			n.Details = detailed("x")
			change(&n)
			w := p.respond(t, ask(http.MethodGet), represent.HTML, n)
			d := parse(t, w.Body.String())
			policy := directives(w.Header().Get("Content-Security-Policy"))
			if found := d.elements("script"); len(found) != scripts {
				t.Errorf("%s: %d scripts, want %d", owner, len(found), scripts)
			}
			for _, name := range []string{"style", "script"} {
				for _, element := range d.elements(name) {
					mustHave(t, policy[name+"-src"], look.Hash(element.FirstChild.Data))
				}
			}
			if found := d.elements("style"); len(found) != 2 { // that of the page, and that of the details
				t.Errorf("%s: %d styles", owner, len(found))
			}
			checkPolicy(t, policy, n.Poll != "")
			for node := range d.root.Descendants() {
				checkAttributes(t, node)
			}
		}
	}
}

func directives(policy string) map[string]string {
	all := map[string]string{}
	for directive := range strings.SplitSeq(policy, "; ") {
		name, value, _ := strings.Cut(directive, " ")
		all[name] = value
	}
	return all
}

func checkPolicy(t *testing.T, policy map[string]string, polls bool) {
	t.Helper()
	connect := ""
	if polls {
		connect = "'self'"
	}
	for name, want := range map[string]string{
		"default-src": "'none'", "base-uri": "'none'", "form-action": "'none'", "img-src": "data:", "connect-src": connect,
	} {
		if policy[name] != want {
			t.Errorf("%s is %q, want %q", name, policy[name], want)
		}
	}
	for _, name := range []string{"style-src", "script-src"} {
		for source := range strings.FieldsSeq(policy[name]) {
			if !strings.HasPrefix(source, "'sha256-") {
				t.Errorf("%s allows %s", name, source)
			}
		}
	}
}

// checkAttributes checks that no attribute is a script or a style, or loads anything.
func checkAttributes(t *testing.T, n *nethtml.Node) {
	t.Helper()
	for _, a := range n.Attr {
		switch {
		case strings.HasPrefix(a.Key, "on"), a.Key == "style", a.Key == "http-equiv", a.Key == "srcset":
			t.Errorf("%s has the attribute %s", n.Data, a.Key)
		case (a.Key == "src" || a.Key == "href" && n.Data != "a") && !strings.HasPrefix(a.Val, "data:"):
			t.Errorf("%s loads %s", n.Data, a.Val)
		}
	}
}

// TestAccent: an owner's colour is in the style of that owner's page only.
func TestAccent(t *testing.T) {
	for _, color := range []string{"#767676", "767676"} {
		body := newPage(t, Options{Color: color}).respond(t, ask(http.MethodGet), represent.HTML, notice()).Body.String()
		mustHave(t, parse(t, body).only(t, "style").FirstChild.Data, "#767676")
	}
	plain := plainPage.respond(t, ask(http.MethodGet), represent.HTML, notice()).Body.String()
	mustNotHave(t, plain, "#767676")
}

// TestAssetsContrast: text, links and the labels of buttons have a contrast of at least
// 7:1 (WCAG 2.2, 1.4.6) on both themes.
func TestAssetsContrast(t *testing.T) {
	themes := regexp.MustCompile(`(?s):root\s*\{(.*?)\}`).FindAllStringSubmatch(styleSource, -1)
	if len(themes) != 2 {
		t.Fatalf("%d themes, want a light and a dark one", len(themes))
	}
	for i, theme := range themes {
		colors := map[string]look.Color{}
		for _, m := range regexp.MustCompile(`--(\w+): (#[0-9a-f]{6});`).FindAllStringSubmatch(theme[1], -1) {
			colors[m[1]], _ = look.ParseColor(m[2])
		}
		ground := colors["ground"]
		delete(colors, "ground")
		if len(colors) == 0 {
			t.Errorf("theme %d has no colours", i)
		}
		for name, c := range colors {
			if ratio := look.Contrast(c, ground); ratio < 7 {
				t.Errorf("theme %d: %s has a contrast of %.2f", i, name, ratio)
			}
		}
	}
}

// TestAssetsSelfContained: nothing moves, nothing says left or right, which would be wrong in
// right-to-left languages, and nothing is loaded.
func TestAssetsSelfContained(t *testing.T) {
	mustNotHave(t, style, "animation", "transition", "left", "right", "url(", "@import")
	mustNotHave(t, script+clock, "http:", "https:", "innerHTML", "eval(", "cookie", "document.write")
	// No comment is left, and no tag, which would end the element.
	mustNotHave(t, style+script+clock, "//", "/*", "*/", "</", "\t", "  ")
}

// TestSqueeze: only what readers of the source need is dropped.
func TestSqueeze(t *testing.T) {
	for _, c := range []struct{ source, newline, want string }{
		{"a {\n\tb: c, d;\n}\n", "", "a{b:c,d}"},
		{"/* x */\na {\n}\n\n", "", "a{}"},
		{"// x\nlet a = 1\n\tb()\n", "\n", "let a=1\nb()"},
	} {
		if got := squeeze(c.source, c.newline); got != c.want {
			t.Errorf("%q: got %q, want %q", c.source, got, c.want)
		}
	}
}

// TestShorten: a name is replaced where it is a whole identifier, and nowhere else.
func TestShorten(t *testing.T) {
	names := map[string]string{"words": "w", "--text": "--t"}
	for source, want := range map[string]string{
		"words+passwords+wordsLeft+words2+words_": "w+passwords+wordsLeft+words2+words_",
		"say(words)":                     "say(w)",
		"color:var(--text);text:--texts": "color:var(--t);text:--texts",
		"x--text":                        "x--t",
	} {
		if got := shorten(source, names); got != want {
			t.Errorf("%q: got %q, want %q", source, got, want)
		}
	}
}

// TestShortNames: each long name stands in its source, as a variable and never as a property
// or within a string, and no short one meant something there before.
func TestShortNames(t *testing.T) {
	for source, names := range map[string]map[string]string{
		squeeze(scriptSource, "\n"): shortNames, squeeze(styleSource, ""): shortProperties,
	} {
		used := identifier.FindAllString(source, -1)
		var others []string // strings and properties
		for _, text := range regexp.MustCompile(`"[^"\n]*"|\.\w+`).FindAllString(source, -1) {
			others = append(others, identifier.FindAllString(text, -1)...)
		}
		given := map[string]bool{}
		for long, short := range names {
			if !slices.Contains(used, long) || slices.Contains(others, long) {
				t.Errorf("%s is no variable of the source, or not only that", long)
			}
			if slices.Contains(used, short) || given[short] {
				t.Errorf("%s, for %s, is taken", short, long)
			}
			given[short] = true
		}
		if strings.ContainsAny(source, "$'`") {
			t.Error("the source has a name with $, or a string in other quotes, which this test does not know")
		}
	}
}

// TestScriptWords: every text that the script reads from the page is there.
func TestScriptWords(t *testing.T) {
	name := regexp.MustCompile(`(\w+) = \w+\.dataset`).FindStringSubmatch(scriptSource)
	if name == nil {
		t.Fatal("the script reads no data")
	}
	read := regexp.MustCompile(`\b`+name[1]+`\.(\w+)`).FindAllStringSubmatch(scriptSource, -1)
	if len(read) == 0 {
		t.Error("the script uses no data")
	}
	d := parse(t, html(t, http.MethodPost, notice()))
	for _, word := range read {
		if value, _ := d.data(word[1]); value == "" {
			t.Errorf("the script reads %s, which the page does not have", word[1])
		}
	}
}
