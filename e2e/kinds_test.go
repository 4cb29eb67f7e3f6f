package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/network"
)

// kind is a kind of page that visitors may be shown.
type kind struct {
	name    string
	options string // of no_healthy_upstream
	form    bool   // the page answers a form
	unknown bool   // it can't tell whether the form was received
	color   bool   // the owner chose the colour of buttons
	variant bool   // it differs from another in few things
}

// kinds are all kinds of page. Logo stands for the name of a file.
var kinds = []kind{
	{name: "get"},
	{name: "form not sent", form: true},
	{name: "form unknown", form: true, unknown: true},
	{name: "dressed", color: true, options: `
		service "Bäckerei & Söhne <Köln>"
		message "We are moving to a new building today."
		link Status https://status.example.com
		link "Write to us" mailto:help@example.com
		logo LOGO
		color "#767676"`},
	{name: "until", variant: true, options: "\nretry_after 30m"},
	{name: "still", variant: true, options: "\nrefresh off\nretry_after off"},
	{name: "still form", variant: true, form: true, options: "\nrefresh off"},
	{name: "details", variant: true, options: "\ndetails 127.0.0.1"},
	{name: "long", variant: true, options: fmt.Sprintf(`
		service %s.example.com
		message "A word that is %s. And more."
		link %s https://status.example.com`,
		strings.Repeat("subdomain-", 15), strings.Repeat("Donaudampfschiff", 9), strings.Repeat("Straßenverkehr", 9))},
}

// logo is an image that is wider than most windows, as drawing programs write them.
const logo = `<svg xmlns="http://www.w3.org/2000/svg" width="1200" height="600" viewBox="0 0 40 20"><circle cx="20" cy="10" r="10" fill="#767676"/></svg>`

// pseudo is the language whose sentences are, in these tests, those of English with accents, each of them twice:
// longer than any translation.
const pseudo = "fil"

// serveKinds runs Caddy with a site for each kind of page, none of which ever comes back, and returns their URLs by
// kind.
func serveKinds(t *testing.T) map[string]string {
	t.Helper()
	image := filepath.Join(t.TempDir(), "logo.svg")
	if err := os.WriteFile(image, []byte(logo), 0o600); err != nil {
		t.Fatal(err)
	}
	translation := translate(t)
	dead, killer := freeAddress(t), newApp(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	killer.start(t)
	urls := make(map[string]string)
	var sites strings.Builder
	for _, k := range kinds {
		address := freeAddress(t)
		urls[k.name] = "http://" + address
		options := strings.ReplaceAll(k.options, "LOGO", image) + translation
		if k.unknown {
			fmt.Fprintf(&sites, "http://%s {\nno_healthy_upstream {%s\n}\nreverse_proxy %s\n}\n", address, options, killer.address)
			continue
		}
		fmt.Fprintf(&sites, "http://%s {\nhealthpool %s {\nhold off\npage {%s\n}\n}\n}\n", address, dead, options)
	}
	runCaddy(t, sites.String())
	return urls
}

// translate returns the options that make pseudo what it is.
func translate(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	words := english(t)
	for _, key := range slices.Sorted(maps.Keys(words)) {
		again := strings.NewReplacer("{n}", "120", "{time}", "12:00").Replace(words[key])
		fmt.Fprintf(&b, "\ntranslate %s %s `%s %s`", pseudo, key, accented(words[key]), accented(again))
	}
	return b.String()
}

// english returns the sentences of the page, by key.
func english(t *testing.T) map[string]string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("..", "internal", "page", "words", "en.json"))
	if err != nil {
		t.Fatal(err)
	}
	words := make(map[string]string)
	if err := json.Unmarshal(content, &words); err != nil {
		t.Fatal(err)
	}
	delete(words, "status") // of the translation, not of the site
	delete(words, "note")
	return words
}

// accented leaves the words in braces as they are.
func accented(sentence string) string {
	return strings.NewReplacer("{n}", "{n}", "{time}", "{time}",
		"a", "å", "e", "ë", "i", "ï", "o", "ø", "u", "ü", "n", "ñ", "S", "Š", "T", "Ŧ", "Y", "Ý", "W", "Ŵ").Replace(sentence)
}

// visitKind loads a page of a kind, in a language. A form is sent from a document without an address.
func (b *tab) visitKind(k kind, url, language string) {
	b.t.Helper()
	b.do("asking for "+language, call(network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{
		Headers: network.Headers{"Accept-Language": language},
	}))
	b.visit("about:blank")
	if !k.form {
		b.visit(url)
	} else {
		b.eval(fmt.Sprintf(`document.body.innerHTML = '<form method="post" action="%s"><input name="item" value="tea">'`, url))
		b.eval(`document.forms[0].submit()`)
	}
	b.await(isPage)
}

// TestLogoAndColor: what the owner adds to the look of the page is there, and the page's policy allows it.
func TestLogoAndColor(t *testing.T) {
	urls := serveKinds(t)
	b := openTab(t)
	b.visit(urls["dressed"])
	b.await(isPage)
	if b.eval(`document.querySelector("img").naturalWidth > 0`) != "true" {
		t.Error("no logo")
	}
	if got := b.eval("getComputedStyle(" + pageLink + ").backgroundColor"); got != "rgb(118, 118, 118)" {
		t.Errorf("the colour of the button is %s, want that of the owner", got)
	}
	b.wantText("document.querySelector('.name')", "Bäckerei & Söhne <Köln>")
	if links := b.eval(`[...document.querySelectorAll("a:not(.go)")].map(a => a.href)`); links != "https://status.example.com/,mailto:help@example.com" {
		t.Errorf("the links lead to %s", links)
	}
	b.wantNoProblems()
}

// TestPrint: on paper is what can be read, and nothing that would have to be pressed.
func TestPrint(t *testing.T) {
	urls := serveKinds(t)
	b := openTab(t)
	b.visit(urls["dressed"])
	b.await(isPage)
	b.do("printing", emulateMedia("print", nil))
	for part, want := range map[string]bool{pageLink: false, pageStop: false, `document.querySelector("h1")`: true, `document.querySelector("footer")`: true} {
		if shown := b.isShown(part); shown != want {
			t.Errorf("is %s printed? %t", part, shown)
		}
	}
	b.wantNoProblems()
}
