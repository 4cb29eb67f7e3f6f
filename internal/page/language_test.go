package page

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/healthpool/caddy-healthpool/internal/cause"
	"github.com/healthpool/caddy-healthpool/internal/page/words"
	"github.com/healthpool/caddy-healthpool/internal/represent"
)

// variants are pages that together have every sentence.
var variants = []pageCase{
	{"GET", "GET", func(*Notice) {}, "reason reference retry seconds title"},
	{"GET moment", "GET", func(n *Notice) { n.RetryAfter = 2 }, "moment reason reference retry title"},
	{"GET until", "GET", func(n *Notice) { n.Until = time2031 }, "reason reference retry title until"},
	{"GET long", "GET", func(n *Notice) { n.Long = true }, "long reason reference retry title"},
	{"GET planned", "GET", func(n *Notice) { n.Planned = true }, "planned reference retry seconds title"},
	{"POST not sent", "POST", func(*Notice) {}, "not_sent open reason reference seconds title"},
	{"POST unknown", "POST", func(n *Notice) { n.Fate = cause.Unknown }, "open reason reference seconds title unknown"},
	{"POST until", "POST", func(n *Notice) { n.Until = time2031 }, "not_sent open reason reference title until"},
}

// TestPageLanguages: in each of the 48 languages the page is complete, declares its language, and
// fits into 3 KiB.
func TestPageLanguages(t *testing.T) {
	const want, limit = 48, 3 << 10
	p := newPage(t, Options{})
	if n := len(p.Languages()); n != want {
		t.Errorf("%d languages, want %d", n, want)
	}
	largest, where := 0, ""
	for _, lang := range p.Languages() {
		for _, v := range variants {
			w := p.respond(t, sized(v.method, lang), represent.HTML, v.sizedNotice())
			body := w.Body.String()
			checkLanguage(t, body, lang, v)
			if got := w.Header().Get("Content-Language"); got != lang {
				t.Errorf("%s: Content-Language is %q", lang, got)
			}
			if size := gzipped(body); size > largest {
				largest, where = size, lang+" "+v.name
			}
		}
	}
	t.Logf("the largest has %d bytes: %s", largest, where)
	if largest > limit {
		t.Errorf("%s has %d bytes gzipped, want at most %d", where, largest, limit)
	}
}

func checkLanguage(t *testing.T, body, lang string, v pageCase) {
	t.Helper()
	d := parse(t, body)
	dir := "ltr"
	if slices.Contains([]string{"ar", "fa", "he", "ur"}, lang) {
		dir = "rtl"
	}
	for name, want := range map[string]string{"lang": lang, "dir": dir} {
		if got, _ := attribute(d.only(t, "html"), name); got != want {
			t.Errorf("%s, %s: %s is %q, want %q", lang, v.name, name, got, want)
		}
	}
	shown := d.sentences(words.Of(lang))
	for key := range strings.FieldsSeq(v.want) {
		if !slices.Contains(shown, key) {
			t.Errorf("%s, %s: no %s in: %s", lang, v.name, key, d.text())
		}
	}
	if i := strings.IndexFunc(body, isSlot); i >= 0 {
		t.Errorf("%s, %s: a slot is left: %q", lang, v.name, body[i:min(i+40, len(body))])
	}
	mustNotHave(t, clearOfAssets(body), words.Number, words.Time, "{{", "<no value>")
	for _, name := range []string{"watching", "back", "stop", "resume"} {
		if value, _ := d.data(name); strings.TrimSpace(value) == "" {
			t.Errorf("%s, %s: data-%s is empty", lang, v.name, name)
		}
	}
}

// sized is a request for a service whose name has 32 characters.
func sized(method, lang string) *http.Request {
	r := ask(method, "Accept-Language", lang)
	r.Host = "www.some-longer-name.example.com"
	return r
}

// sizedNotice has a token of 12 characters, and a reference of 9.
func (v pageCase) sizedNotice() Notice {
	n := notice()
	n.Poll, n.Reference = "q83vEjRWeJCr", "7qx4m2kdp"
	v.change(&n)
	return n
}

// TestPageSize: in English the page with its scripts fits into 2 KiB.
func TestPageSize(t *testing.T) {
	const limit = 2 << 10
	for _, v := range variants {
		size := gzipped(plainPage.respond(t, sized(v.method, "en"), represent.HTML, v.sizedNotice()).Body.String())
		t.Logf("%s: %d bytes", v.name, size)
		if size > limit {
			t.Errorf("%s: %d bytes gzipped, want at most %d", v.name, size, limit)
		}
	}
}

// gzipped returns the compressed size of a page.
func gzipped(body string) int {
	var z bytes.Buffer
	w, _ := gzip.NewWriterLevel(&z, gzip.BestCompression)
	_, _ = w.Write([]byte(body))
	_ = w.Close()
	return z.Len()
}

// TestPageChoosesLanguage: a visitor gets the language that fits best, or else the owner's first.
func TestPageChoosesLanguage(t *testing.T) {
	some := newPage(t, Options{Languages: []string{"FR", "de-AT", "no"}})
	if want := []string{"fr", "de", "nb"}; !slices.Equal(some.Languages(), want) {
		t.Errorf("languages are %v, want %v", some.Languages(), want)
	}
	for _, c := range []struct {
		page         *Page
		accept, want string
	}{
		{plainPage, "", "en"},
		{plainPage, "de-CH", "de"},
		{plainPage, "xx, fr;q=0.5", "fr"},
		{plainPage, "en;q=0.1, ja", "ja"},
		{plainPage, "zh-Hant-HK", "zh-TW"},
		{plainPage, "pt", "pt-BR"},
		{plainPage, "*", "en"},
		{plainPage, "\"<>", "en"},
		{some, "", "fr"},
		{some, "en", "fr"},
		{some, "de", "de"},
		{some, "nb-NO, de;q=0.9", "nb"},
	} {
		r := ask(http.MethodGet)
		if c.accept != "" {
			r.Header.Set("Accept-Language", c.accept)
		}
		w := c.page.respond(t, r, represent.HTML, notice())
		lang, _ := attribute(parse(t, w.Body.String()).only(t, "html"), "lang")
		if got := w.Header().Get("Content-Language"); got != c.want || lang != c.want {
			t.Errorf("%q: Content-Language %q, lang %q, want %q", c.accept, got, lang, c.want)
		}
	}
}

// TestPageTranslate: the owner's sentence replaces the built-in one, as text, in its language
// only.
func TestPageTranslate(t *testing.T) {
	const title = `Wir <b>ziehen</b> "um" & 'kommen' wieder`
	p := newPage(t, Options{Languages: []string{"en", "de", "nb"}, Translate: map[string]map[string]string{
		"de-AT": {words.Title: title, words.Seconds: "Noch {n} Sekunden.\n", words.Until: "Ab {time} <i>Uhr</i>.", words.Back: "\">Da!", words.Retry: "Noch\u202e\ufdd2mal"},
		"no":    {words.Reason: "Det er oss."},
	}})
	get := func(lang string, n Notice) document {
		return parse(t, p.respond(t, ask(http.MethodGet, "Accept-Language", lang), represent.HTML, n).Body.String())
	}
	d := get("de", notice())
	if got := read(d.only(t, "h1")); got != title {
		t.Errorf("heading %q, want %q", got, title)
	}
	if got, _ := d.data("back"); got != "\">Da!" {
		t.Errorf("data-back is %q", got)
	}
	mustHave(t, d.text(), "Noch 30 Sekunden.", "Noch  mal", words.Of("de")[words.Reason])
	later := notice()
	later.Until = time2031
	mustHave(t, get("de", later).text(), "Ab 2031-02-03 10:34 UTC <i>Uhr</i>.")
	mustHave(t, get("nb", notice()).text(), "Det er oss.", words.Of("nb")[words.Title])
	if got := read(get("en", notice()).only(t, "h1")); got != english[words.Title] {
		t.Errorf("English heading %q", got)
	}
}
