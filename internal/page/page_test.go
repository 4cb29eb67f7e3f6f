package page

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/cause"
	"github.com/healthpool/caddy-healthpool/internal/page/words"
	"github.com/healthpool/caddy-healthpool/internal/represent"
)

// notice returns a notice with every field that most tests need.
func notice() Notice {
	return Notice{
		Status:     503,
		Cause:      cause.DestinationUnavailable,
		Fate:       cause.NotSent,
		Reference:  "7QX4-M2KD",
		RetryAfter: 30,
		Poll:       "Zm9vYmFy",
	}
}

// options returns options with every text.
func options() Options {
	return Options{
		Service: "example.com",
		Message: "We are moving to a new house.",
		Links:   []Link{{"Status page", "https://status.example.com/?a=1&b=2"}, {"Call us", "tel:+15550100"}},
	}
}

// newPage returns a page with these options.
func newPage(t testing.TB, o Options) *Page {
	t.Helper()
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// plainPage has no options, fullPage has every text.
var plainPage, fullPage = must(New(Options{})), must(New(options()))

func must(p *Page, err error) *Page {
	if err != nil {
		panic(err)
	}
	return p
}

// ask returns a request with these headers, names and values in turn.
func ask(method string, headers ...string) *http.Request {
	r := httptest.NewRequest(method, "/cart?secret=1", nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

// respond returns the response of p to r.
func (p *Page) respond(t testing.TB, r *http.Request, format represent.Format, n Notice) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	if err := p.Respond(w, r, format, n); err != nil {
		t.Fatal(err)
	}
	return w
}

// answer returns the response of fullPage.
func answer(t testing.TB, method string, format represent.Format, n Notice) *httptest.ResponseRecorder {
	t.Helper()
	return fullPage.respond(t, ask(method), format, n)
}

// html returns the HTML of fullPage.
func html(t testing.TB, method string, n Notice) string {
	t.Helper()
	return answer(t, method, represent.HTML, n).Body.String()
}

func mustHave(t *testing.T, body string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(body, part) {
			t.Errorf("%q is missing in:\n%s", part, body)
		}
	}
}

func mustNotHave(t *testing.T, body string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if strings.Contains(body, part) {
			t.Errorf("%q must not be in:\n%s", part, body)
		}
	}
}

// english are the built-in English sentences.
var english = words.Of(words.English)

// TestPageSays: the page has every text of the owner under one heading, and no jargon.
func TestPageSays(t *testing.T) {
	d := parse(t, html(t, http.MethodGet, notice()))
	if got, want := read(d.only(t, "title")), english[words.Title]+" – example.com"; got != want {
		t.Errorf("title %q, want %q", got, want)
	}
	if got := read(d.only(t, "h1")); got != english[words.Title] {
		t.Errorf("heading %q", got)
	}
	d.only(t, "main")
	mustHave(t, d.text(), "example.com", "We are moving to a new house.", "about 30 seconds", "7QX4-M2KD")
	ways := map[string]string{}
	for _, a := range d.elements("a") {
		href, _ := attribute(a, "href")
		ways[href] = read(a)
	}
	for href, want := range map[string]string{"": english[words.Retry], "https://status.example.com/?a=1&b=2": "Status page", "tel:+15550100": "Call us"} {
		if ways[href] != want {
			t.Errorf("link to %q says %q, want %q", href, ways[href], want)
		}
	}
	mustNotHave(t, strings.ToLower(d.text()), "destination_unavailable", "upstream", "proxy", "server", "gateway", "503", "secret", "cart", "!")
}

// pageCase is a change of a notice, and the keys of the sentences that its page shows.
type pageCase struct {
	name, method string
	change       func(*Notice)
	want         string
}

// TestPageSentences: the page says what is known and no more: when to come back, as precisely as
// is useful, and what happened to a form.
func TestPageSentences(t *testing.T) {
	after := func(seconds int) func(*Notice) { return func(n *Notice) { n.RetryAfter = seconds } }
	for _, c := range []pageCase{
		{"nothing known", "GET", after(0), "reason reference retry title"},
		{"nonsense", "GET", after(-7), "reason reference retry title"},
		{"at once", "GET", after(1), "moment reason reference retry title"},
		{"almost at once", "GET", after(4), "moment reason reference retry title"},
		{"seconds", "GET", after(5), "reason reference retry seconds title"},
		{"many seconds", "GET", after(119), "reason reference retry seconds title"},
		{"minutes", "GET", after(120), "reason reference retry title until"},
		{"hours", "GET", after(7200), "reason reference retry title until"},
		{"long", "GET", func(n *Notice) { n.Long = true }, "long reason reference retry title"},
		{"long without a guess", "GET", func(n *Notice) { n.Long, n.RetryAfter = true, 0 }, "long reason reference retry title"},
		{"long, and minutes", "GET", func(n *Notice) { n.Long, n.RetryAfter = true, 120 }, "reason reference retry title until"},
		{"until", "GET", func(n *Notice) { n.Until = time.Now().Add(time.Hour) }, "reason reference retry title until"},
		{"planned", "GET", func(n *Notice) { n.Planned, n.RetryAfter = true, 0 }, "planned reference retry title"},
		{"until a time that is over", "GET", func(n *Notice) { n.Until = time.Now() }, "reason reference retry seconds title"},
		{"planned until", "GET", func(n *Notice) { n.Planned, n.Until = true, time.Now().Add(time.Hour) }, "planned reference retry title until"},
		{"no reference", "GET", func(n *Notice) { n.Reference = "" }, "reason retry seconds title"},
		{"no poll", "GET", func(n *Notice) { n.Poll = "" }, "reason reference retry seconds title"},
		{"GET of unknown fate", "GET", func(n *Notice) { n.Fate = cause.Unknown }, "reason reference retry seconds title"},
		{"form", "POST", func(*Notice) {}, "not_sent open reason reference seconds title"},
		{"form of unknown fate", "POST", func(n *Notice) { n.Fate = cause.Unknown }, "open reason reference seconds title unknown"},
		{"form of no fate", "PUT", func(n *Notice) { n.Fate = "" }, "open reason reference seconds title unknown"},
		{"form of a fate there isn't", "PATCH", func(n *Notice) { n.Fate = "fine" }, "open reason reference seconds title unknown"},
		{"form without poll", "DELETE", func(n *Notice) { n.Poll = "" }, "not_sent open reason reference seconds title"},
		{"form, planned", "OPTIONS", func(n *Notice) { n.Planned = true }, "not_sent open planned reference seconds title"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := notice()
			c.change(&n)
			d := parse(t, html(t, c.method, n))
			if got := strings.Join(d.sentences(english), " "); got != c.want {
				t.Errorf("got %s, want %s:\n%s", got, c.want, d.text())
			}
			if want := strconv.Itoa(n.RetryAfter) + " seconds"; strings.Contains(c.want, "seconds") {
				mustHave(t, d.text(), want)
			}
		})
	}
}

// time2031 is at 10:34:56 in UTC.
var time2031 = time.Date(2031, 2, 3, 12, 34, 56, 0, time.FixedZone("", 2*60*60))

// TestPageUntil: a time is marked up so that the script can show it in the visitor's time zone; it
// is in UTC where there is no script.
func TestPageUntil(t *testing.T) {
	n := notice()
	n.Until = time2031
	at := parse(t, html(t, http.MethodGet, n)).only(t, "time")
	if got, _ := attribute(at, "datetime"); got != "2031-02-03T10:34:56Z" {
		t.Errorf("datetime %q", got)
	}
	if got := read(at); got != "2031-02-03 10:34 UTC" {
		t.Errorf("text %q", got)
	}

	n.Until, n.RetryAfter = time.Time{}, 600
	earliest := time.Now().Add(10 * time.Minute)
	at = parse(t, html(t, http.MethodGet, n)).only(t, "time")
	written, _ := attribute(at, "datetime")
	for layout, text := range map[string]string{time.RFC3339: written, "2006-01-02 15:04 UTC": read(at)} {
		got, err := time.Parse(layout, text)
		if err != nil || got.Second() != 0 || got.Before(earliest) || got.After(time.Now().Add(11*time.Minute)) {
			t.Errorf("%q is no full minute just after %v: %v", text, earliest, err)
		}
	}
}

// TestPagePolls: only a page with a token polls, and it has every text that its script shows.
func TestPagePolls(t *testing.T) {
	for _, form := range []bool{false, true} {
		method, watching := http.MethodGet, words.Watching
		if form {
			method, watching = http.MethodPost, words.WatchingForm
		}
		n := notice()
		d := parse(t, html(t, method, n))
		for name, want := range map[string]string{
			"poll": n.Poll, "after": "30", "watching": english[watching], "back": english[words.Back],
			"stop": english[words.Stop], "resume": english[words.Resume],
		} {
			if got, _ := d.data(name); got != want {
				t.Errorf("%s: data-%s is %q, want %q", method, name, got, want)
			}
		}
		if _, has := d.data("form"); has != form {
			t.Errorf("%s: data-form is there: %v", method, has)
		}
		n.Poll = ""
		d = parse(t, html(t, method, n))
		if scripts, buttons := len(d.elements("script")), len(d.elements("button")); scripts+buttons > 0 {
			t.Errorf("%s without poll: %d scripts, %d buttons", method, scripts, buttons)
		}
		mustNotHave(t, html(t, method, n), "data-")
	}
}

// TestPageResend: the script can offer to send a form again only where nothing was
// sent.
func TestPageResend(t *testing.T) {
	for fate, want := range map[cause.Fate]bool{cause.NotSent: true, cause.Unknown: false, "": false} {
		for method, form := range map[string]bool{http.MethodGet: false, http.MethodPost: true} {
			n := notice()
			n.Fate = fate
			if got := strings.Contains(html(t, method, n), english[words.Resend]); got != (want && form) {
				t.Errorf("%s %q: offers to send again: %v", method, fate, got)
			}
		}
	}
}

// TestPageLeast: what is not known leaves no empty elements.
func TestPageLeast(t *testing.T) {
	r := ask(http.MethodGet)
	r.Host = ""
	d := parse(t, plainPage.respond(t, r, represent.HTML, Notice{}).Body.String())
	if got, want := strings.Join(d.sentences(english), " "), "reason retry title"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := read(d.only(t, "title")); got != english[words.Title] {
		t.Errorf("title %q", got)
	}
	for _, name := range []string{"bdi", "footer", "img", "section", "time", "script", "button"} {
		if n := len(d.elements(name)); n > 0 {
			t.Errorf("%d elements %s", n, name)
		}
	}
}

// TestPageMessage: the message of a notice takes the place of the one in Options.
func TestPageMessage(t *testing.T) {
	n := notice()
	n.Message = "Back at noon."
	text := parse(t, html(t, http.MethodGet, n)).text()
	mustHave(t, text, "Back at noon.")
	mustNotHave(t, text, "new house")
}

// TestPageSlots: pages of one shape differ only in the content of their slots.
func TestPageSlots(t *testing.T) {
	marked := func(mark string, seconds int) string {
		n := notice()
		n.Message, n.Reference, n.Poll, n.RetryAfter = "message "+mark, "reference "+mark, "poll "+mark, seconds
		p := newPage(t, Options{Service: "service " + mark})
		return p.respond(t, ask(http.MethodPost), represent.HTML, n).Body.String()
	}
	first, second := marked("first-one", 41), marked("second", 97)
	if changed := strings.NewReplacer("first-one", "second", "41", "97").Replace(clearOfAssets(first)); changed != clearOfAssets(second) {
		t.Errorf("got\n%s\nand\n%s", first, second)
	}
	for _, slot := range []string{"service first-one", "message first-one", "reference first-one", "poll first-one"} {
		mustHave(t, first, slot)
	}
	if warm := fullPage.respond(t, ask(http.MethodGet), represent.HTML, notice()).Body.String(); warm != html(t, http.MethodGet, notice()) {
		t.Error("the same page looks different the next time")
	}
}

// clearOfAssets returns a page without its style and scripts.
func clearOfAssets(page string) string {
	return strings.NewReplacer(style, "", script, "", clock, "").Replace(page)
}

// TestPageConcurrent: many requests at once for pages that are not cached yet get complete pages.
func TestPageConcurrent(t *testing.T) {
	shared := newPage(t, options())
	type request struct{ method, lang string }
	requests := make([]request, 0, 24)
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		for _, lang := range shared.Languages()[:12] {
			requests = append(requests, request{method, lang})
		}
	}
	bodies := make(chan string)
	for i := range 8 * len(requests) {
		r := requests[i%len(requests)]
		go func() {
			w := httptest.NewRecorder()
			err := shared.Respond(w, ask(r.method, "Accept-Language", r.lang), represent.HTML, notice())
			bodies <- fmt.Sprint(r, err, w.Body)
		}()
	}
	got := map[string]bool{}
	for range 8 * len(requests) {
		got[<-bodies] = true
	}
	for _, r := range requests {
		want := fullPage.respond(t, ask(r.method, "Accept-Language", r.lang), represent.HTML, notice()).Body
		if !got[fmt.Sprint(r, nil, want)] || len(got) != len(requests) {
			t.Fatalf("%v: %d different pages for %d requests", r, len(got), len(requests))
		}
	}
}
