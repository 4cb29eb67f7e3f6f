package page

import (
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/healthpool/caddy-healthpool/internal/represent"
)

// hostile are texts that would do harm if they were taken for more than text anywhere.
var hostile = []string{
	`<script>alert(1)</script>`,
	`"><img src=x onerror=alert(1)>`,
	`' onmouseover='alert(1)`,
	`</title></style></script><b>`,
	"\u202egnirts\u2066\u2028\u2029\x00\x1b[2J\r\nSet-Cookie: a=b",
	"\xff\xfe{{.Poll}}{n}{time}",
	"\ufdd1\ufdd2\ufdd4\ufdef<!--]]>&amp;&#60;&#x0;",
	"\ufffe\uffff\ufffd\U0001f600\u0085",
}

// isWild reports whether r ends a line, moves a cursor, reverses the text that follows, or stands
// for a slot.
func isWild(r rune) bool {
	isMark := r == '\u061c' || r == '\u200e' || r == '\u200f' // reverses nothing else
	return unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp) || unicode.Is(unicode.Bidi_Control, r) && !isMark || r >= 0xFDD0 && r <= 0xFDEF
}

// checkTame checks that no text has broken out of its place in a body.
func checkTame(t *testing.T, body string) {
	t.Helper()
	if !utf8.ValidString(body) || strings.ContainsFunc(strings.ReplaceAll(body, "\n", ""), isWild) {
		t.Errorf("wild: %q", body)
	}
}

// texts are all the texts of a response that are not built in.
type texts struct{ service, message, reference, poll, label string }

func seed(f *testing.F) {
	f.Helper()
	f.Add("example.com", "A sentence.", "7QX4-M2KD", "Zm9vYmFy", "Status")
	f.Add("", "", "", "", "a")
	for i, bad := range hostile {
		f.Add(bad, bad, bad, bad, bad)
		f.Add(bad, "", hostile[(i+1)%len(hostile)], "", "a")
	}
	f.Add("*a* _b_ ", "&amp; [x](y) \\* `c` \\", "<b>&lt;", "~~a~~", `a_b|c\\d`)
	f.Add(strings.Repeat("é", 200), "100 %", "%41", "a b", " b ")
}

// harmless returns texts that are empty only where those of the notice are.
func harmless(shown Notice) texts {
	some := func(s string) string {
		if s == "" {
			return ""
		}
		return "a"
	}
	return texts{some(shown.service), some(shown.Message), some(shown.Reference), some(shown.Poll), "a"}
}

// answered returns the response with these texts, and the notice as it is shown.
func (x texts) answered(t *testing.T, format represent.Format) (shown Notice, h http.Header, body string) {
	t.Helper()
	p, err := New(Options{Service: x.service, Message: x.message, Links: []Link{{x.label, "https://example.com"}}})
	if err != nil {
		t.Skip() // a label that is empty
	}
	n := notice()
	n.Reference, n.Poll = x.reference, x.poll
	r := ask(http.MethodPost)
	r.Host = ""
	w := p.respond(t, r, format, n)
	return p.normal(n, r), w.Header(), w.Body.String()
}

// FuzzPage: whatever a text is, the page has the same elements, attributes and scripts, and the
// text unchanged except for control characters.
func FuzzPage(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, service, message, reference, poll, label string) {
		x := texts{service, message, reference, poll, label}
		shown, _, body := x.answered(t, represent.HTML)
		_, _, plain := harmless(shown).answered(t, represent.HTML)
		if got, want := outline(body), outline(plain); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		checkTame(t, clearOfAssets(body))
		d := parse(t, body)
		mustHave(t, d.text(), shown.service, shown.Message, shown.Reference, oneLine(label))
		if got, _ := d.data("poll"); got != shown.Poll {
			t.Errorf("data-poll is %q, want %q", got, shown.Poll)
		}
	})
}

// FuzzText: each text stays on its line, and moves no cursor.
func FuzzText(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, service, message, reference, poll, label string) {
		x := texts{service, message, reference, poll, label}
		shown, _, body := x.answered(t, represent.Text)
		_, _, plain := harmless(shown).answered(t, represent.Text)
		if got, want := strings.Count(body, "\n"), strings.Count(plain, "\n"); got != want {
			t.Errorf("%d lines, want %d: %q", got, want, body)
		}
		checkTame(t, body)
		mustHave(t, body, shown.service+" is not", shown.Message+"\n", shown.Reference+"\n", "\n"+oneLine(label)+": https:")
	})
}

// FuzzMarkdown: each text stays text, and readers see it unchanged.
func FuzzMarkdown(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, service, message, reference, poll, label string) {
		x := texts{service, message, reference, poll, label}
		shown, _, body := x.answered(t, represent.Markdown)
		_, _, plain := harmless(shown).answered(t, represent.Markdown)
		if got, want := outline(rendered(t, body)), outline(rendered(t, plain)); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", body, got, want)
		}
		checkTame(t, body)
		text := parse(t, rendered(t, body)).text()
		for _, s := range []string{shown.service, shown.Message, shown.Reference, oneLine(label)} {
			mustHave(t, text, strings.TrimSpace(s))
		}
	})
}

// FuzzProblem: the body is one line of JSON with the texts unchanged.
func FuzzProblem(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, service, message, reference, poll, label string) {
		x := texts{service, message, reference, poll, label}
		shown, _, body := x.answered(t, represent.Problem)
		var got problemDetails
		strictly(t, body, &got)
		if got.Detail != detail(&shown, http.MethodPost) || got.Reference != shown.Reference {
			t.Errorf("got %q %q, want those of %+v", got.Detail, got.Reference, shown)
		}
		if strings.Count(body, "\n") != 1 || strings.ContainsAny(body, "<>&") || !json.Valid([]byte(body)) {
			t.Errorf("not one plain line: %q", body)
		}
		if u, err := url.Parse(got.Instance); err != nil || shown.Reference != "" && u.Scheme != "urn" {
			t.Errorf("instance %q: %v", got.Instance, err)
		}
	})
}

// FuzzXML: the body can be parsed, and has the texts unchanged except for characters that XML
// does not allow.
func FuzzXML(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, service, message, reference, poll, label string) {
		x := texts{service, message, reference, poll, label}
		shown, _, body := x.answered(t, represent.XML)
		got := readXML(t, body)
		possible := strings.NewReplacer("\ufffe", "\ufffd", "\uffff", "\ufffd")
		if got["detail"] != possible.Replace(detail(&shown, http.MethodPost)) || got["reference"] != possible.Replace(shown.Reference) {
			t.Errorf("got %q, want those of %+v", got, shown)
		}
		var p problemDetails
		if err := xml.Unmarshal([]byte(body), &p); err != nil || p.Status != 503 {
			t.Errorf("%q: %v", body, err)
		}
	})
}

// FuzzGRPC: headers are printable, and decode to the original texts.
func FuzzGRPC(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, service, message, reference, poll, label string) {
		x := texts{service, message, reference, poll, label}
		shown, h, _ := x.answered(t, represent.GRPC)
		for name, values := range h {
			if strings.ContainsFunc(strings.Join(values, ""), func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Errorf("%s: %q", name, values)
			}
		}
		if got, err := url.PathUnescape(h.Get("Grpc-Message")); err != nil || got != detail(&shown, http.MethodPost) {
			t.Errorf("grpc-message %q: %v", got, err)
		}
		marshalled, err := base64.RawStdEncoding.DecodeString(h.Get("Grpc-Status-Details-Bin"))
		if err != nil {
			t.Fatal(err)
		}
		if info, retry := rpcDetails(t, marshalled); info.GetMetadata()["reference"] != shown.Reference || retry == nil {
			t.Errorf("got %v %v", info, retry)
		}
	})
}
