package words

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/language"
	"golang.org/x/text/unicode/norm"
)

// TestTags: the languages are these: every file in the folder is one that visitors can get.
func TestTags(t *testing.T) {
	want := strings.Fields("en es pt-BR pt-PT fr de it nl ru uk pl cs sk hu ro bg hr sr sl el tr ar fa he" +
		" ur hi bn ta te mr th vi id ms fil zh-CN zh-TW ja ko sv da nb fi et lv lt sw ca")
	if Tags[0] != English {
		t.Errorf("the first is %s, want %s", Tags[0], English)
	}
	slices.Sort(want)
	if got := slices.Sorted(slices.Values(Tags)); !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// TestKeys: English has a sentence for each key, and no other.
func TestKeys(t *testing.T) {
	want := []string{
		Title, Reason, Planned, NotSent, Unknown, Moment, Seconds, Until, Long, Watching,
		WatchingForm, Back, Retry, Stop, Resume, Open, Resend, Reference,
	}
	slices.Sort(want)
	if got := slices.Sorted(maps.Keys(Of(English))); !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// TestOf: a caller that changes its words changes nobody else's.
func TestOf(t *testing.T) {
	clear(Of(English))
	if len(Of(English)) == 0 {
		t.Error("the words are gone")
	}
}

// TestFiles: each file has the keys of the English one, each once, and says whether a person has
// reviewed it and what was decided.
func TestFiles(t *testing.T) {
	want := append(slices.Collect(maps.Keys(Of(English))), "status", "note")
	slices.Sort(want)
	for _, tag := range Tags {
		text, err := files.ReadFile(tag + ".json")
		if err != nil {
			t.Fatal(err)
		}
		w, err := decode(text)
		if err != nil {
			t.Errorf("%s: %v", tag, err)
		}
		if got := slices.Sorted(maps.Keys(w)); !slices.Equal(got, want) {
			t.Errorf("%s: keys\ngot  %v\nwant %v", tag, got, want)
		}
		if s := w["status"]; s != "machine" && s != "reviewed" {
			t.Errorf("%s: status is %q, want machine or reviewed", tag, s)
		}
		if strings.TrimSpace(w["note"]) == "" {
			t.Errorf("%s: no note", tag)
		}
	}
}

// decode reads a file strictly: json.Unmarshal accepts duplicate keys, and replaces invalid
// UTF-8.
func decode(text []byte) (Words, error) {
	if !utf8.Valid(text) {
		return nil, errors.New("not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(text))
	if first, err := d.Token(); err != nil || first != json.Delim('{') {
		return nil, fmt.Errorf("no object: %v, %w", first, err)
	}
	w := make(Words)
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return w, err
		}
		name, value := fmt.Sprint(key), ""
		if err := d.Decode(&value); err != nil {
			return w, fmt.Errorf("%s: %w", name, err)
		}
		if _, twice := w[name]; twice {
			return w, fmt.Errorf("%s stands twice", name)
		}
		w[name] = value
	}
	if _, err := d.Token(); err != nil { // the closing brace
		return w, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return w, errors.New("more behind the object")
	}
	return w, nil
}

// TestDecode: decode is strict.
func TestDecode(t *testing.T) {
	for text, fine := range map[string]bool{
		`{"a": "b", "c": ""}`:  true,
		`{"a": "b", "a": "b"}`: false,
		`{"a": 1}`:             false,
		`{"a": {"b": "c"}}`:    false,
		`["a"]`:                false,
		`{"a": "b"`:            false,
		`{"a": "b",}`:          false,
		`{"a": "b"} {}`:        false,
		"{\"a\": \"\xff\"}":    false,
		``:                     false,
	} {
		if _, err := decode([]byte(text)); (err == nil) != fine {
			t.Errorf("%s: got %v", text, err)
		}
	}
}

// every runs a check on every sentence. The check returns what is wrong with it, or "".
func every(t *testing.T, fault func(tag, key, sentence string) string) {
	t.Helper()
	for _, tag := range Tags {
		for key, sentence := range Of(tag) {
			if f := fault(tag, key, sentence); f != "" {
				t.Errorf("%s: %s: %s: %q", tag, key, f, sentence)
			}
		}
	}
}

// TestPlaceholders: a sentence has the placeholders of the English one, once each,
// and nothing else that looks like one.
func TestPlaceholders(t *testing.T) {
	english := Of(English)
	every(t, func(_, key, sentence string) string {
		for _, p := range []string{Number, Time} {
			if strings.Count(sentence, p) != strings.Count(english[key], p) {
				return p + " not as often as in English"
			}
		}
		if err := Check(key, sentence); err != nil {
			return err.Error()
		}
		if strings.ContainsAny(bare(sentence), "{}｛｝") {
			return "other braces"
		}
		return ""
	})
}

// bare returns a sentence without its placeholders.
func bare(sentence string) string {
	return strings.NewReplacer(Number, "", Time, "").Replace(sentence)
}

// TestTypography: no sentence shouts, has sloppy typography, or could be taken for HTML.
func TestTypography(t *testing.T) {
	every(t, func(_, _, sentence string) string {
		switch {
		case !norm.NFC.IsNormalString(sentence):
			return "not in NFC"
		case strings.ContainsAny(sentence, "!！¡"):
			return "exclamation mark"
		case strings.ContainsAny(sentence, `'"`):
			return "straight quotation mark or apostrophe"
		case strings.ContainsAny(sentence, "<>&"):
			return "character with a meaning in HTML"
		case strings.ContainsFunc(sentence, unicode.IsControl):
			return "control character"
		case strings.TrimSpace(sentence) != sentence:
			return "space at an end"
		case spacesInARow(sentence):
			return "spaces in a row"
		}
		return ""
	})
}

// spacesInARow counts no-break spaces, too.
func spacesInARow(sentence string) bool {
	before := false
	for _, r := range sentence {
		if before && unicode.IsSpace(r) {
			return true
		}
		before = unicode.IsSpace(r)
	}
	return false
}

// ends has what sentences end with in languages that do not use a full stop. Thai has a space
// between sentences and nothing after the last.
var ends = map[string]string{
	"bn": "।", "hi": "।", "ur": "۔", "ja": "。", "zh-CN": "。", "zh-TW": "。", "th": "",
}

// TestEnds: sentences end with the mark of their language; the title and labels have none, as in
// English.
func TestEnds(t *testing.T) {
	english := Of(English)
	every(t, func(tag, key, sentence string) string {
		end, other := ends[tag]
		if !other {
			end = "."
		}
		if !strings.HasSuffix(english[key], ".") {
			end = ""
		}
		last, _ := utf8.DecodeLastRuneInString(sentence)
		if end == "" && strings.ContainsRune(".．。।۔:：;；؛,，、،?？؟…", last) {
			return "ends with a mark"
		}
		if !strings.HasSuffix(sentence, end) {
			return "does not end with " + end
		}
		return ""
	})
}

// scripts are the letters of each script that the languages are written in.
var scripts = map[string][]*unicode.RangeTable{
	"Arab": {unicode.Arabic},
	"Beng": {unicode.Bengali},
	"Cyrl": {unicode.Cyrillic},
	"Deva": {unicode.Devanagari},
	"Grek": {unicode.Greek},
	"Hans": {unicode.Han},
	"Hant": {unicode.Han},
	"Hebr": {unicode.Hebrew},
	"Jpan": {unicode.Hiragana, unicode.Katakana, unicode.Han},
	"Kore": {unicode.Hangul, unicode.Han},
	"Latn": {unicode.Latin},
	"Taml": {unicode.Tamil},
	"Telu": {unicode.Telugu},
	"Thai": {unicode.Thai},
}

func script(tag string) string {
	s, _ := language.Make(tag).Script()
	return s.String()
}

// TestScript: sentences are in the script of their language, and each word is in
// one script: a Latin a in a Cyrillic word looks right and is read out wrong. In
// Chinese, Japanese and Korean, what is Latin need not be a word of its own.
func TestScript(t *testing.T) {
	every(t, func(tag, _, sentence string) string {
		all, most := 0, 0
		for _, word := range strings.FieldsFunc(bare(sentence), notLetter) {
			inside, outside := count(word, scripts[script(tag)])
			if inside > 0 && outside > 0 && !isDense(tag) {
				return "mix of scripts in " + word
			}
			all, most = all+inside+outside, most+inside
		}
		if 2*most <= all {
			return fmt.Sprintf("%d of %d letters are in the script", most, all)
		}
		return ""
	})
}

func notLetter(r rune) bool { return !unicode.IsLetter(r) }

// count counts the letters of a word inside and outside a script. Letters that scripts share, such
// as ー and ʼ, count as neither.
func count(word string, script []*unicode.RangeTable) (inside, outside int) {
	for _, r := range word {
		switch {
		case unicode.Is(unicode.Common, r):
		case unicode.In(r, script...):
			inside++
		default:
			outside++
		}
	}
	return inside, outside
}

// isDense reports whether a language needs few characters for what takes many letters elsewhere.
func isDense(tag string) bool {
	switch script(tag) {
	case "Hans", "Hant", "Jpan", "Kore":
		return true
	}
	return false
}

// TestChinese: neither kind of Chinese has characters of the other. To package unicode, both are
// the same script.
func TestChinese(t *testing.T) {
	const (
		simplified  = "这们时请网页问题错设备开关发务为会对来试单确认维护没"
		traditional = "這們時請網頁問題錯設備開關發務為會對來試單確認維護沒"
	)
	foreign := map[string]string{"zh-CN": traditional, "zh-TW": simplified}
	every(t, func(tag, _, sentence string) string {
		if i := strings.IndexAny(sentence, foreign[tag]); i >= 0 {
			r, _ := utf8.DecodeRuneInString(sentence[i:])
			return "other kind of Chinese: " + string(r)
		}
		return ""
	})
}

// TestTranslated: no sentence was left in English.
func TestTranslated(t *testing.T) {
	same := map[string]string{
		"da": Reference, // the Danish word, too
	}
	english := Of(English)
	every(t, func(tag, key, sentence string) string {
		if sentence == english[key] && tag != English && key != same[tag] {
			return "English"
		}
		return ""
	})
}

// TestLength: a sentence far shorter or longer than the English one has probably lost or gained
// something. For short labels, the proportion says nothing.
func TestLength(t *testing.T) {
	english := Of(English)
	every(t, func(tag, key, sentence string) string {
		length := utf8.RuneCountInString(english[key])
		low, high := 0.4*float64(length), 2.2*float64(length)
		if isDense(tag) {
			low = 0.15 * float64(length)
		}
		if length <= 20 {
			low, high = 2, float64(length)+20
		}
		if got := utf8.RuneCountInString(sentence); float64(got) < low || float64(got) > high {
			return fmt.Sprintf("%d characters, want %.0f to %.0f", got, low, high)
		}
		return ""
	})
}

// TestIsRightToLeft: these four languages, and no others, are written from right to left.
func TestIsRightToLeft(t *testing.T) {
	want := []string{"ar", "fa", "he", "ur"}
	for _, tag := range Tags {
		if got := IsRightToLeft(tag); got != slices.Contains(want, tag) {
			t.Errorf("%s: got %v", tag, got)
		}
	}
}

// TestCheck: a sentence with an unknown key, or without its placeholder, is refused.
func TestCheck(t *testing.T) {
	const keys = "must be one of the keys back, long, moment, not_sent, open, planned, reason, reference," +
		" resend, resume, retry, seconds, stop, title, unknown, until, watching, watching_form, got "
	for _, tt := range []struct {
		key, sentence string
		want          string // the error
	}{
		{Title, "We’ll be back", ""},
		{Seconds, "{n} seconds", ""},
		{Until, "Until {time}, please wait", ""},
		{Until, "{time}{n}", `until must not have {n} in it, got "{time}{n}"`},
		{"greeting", "Hello", keys + `"greeting"`},
		{"", "Hello", keys + `""`},
		{"Title", "Hello", keys + `"Title"`},
		{"note", "for translators only", keys + `"note"`},
		{Title, "", "title must not be empty"},
		{Title, " \t\u00a0", "title must not be empty"},
		{Seconds, "", "seconds must not be empty"},
		{Seconds, "soon", `seconds must have {n} in it once, got "soon"`},
		{Seconds, "{N} seconds", `seconds must have {n} in it once, got "{N} seconds"`},
		{Seconds, "{n} or {n}", `seconds must have {n} in it once, got "{n} or {n}"`},
		{Until, "{n}", `until must not have {n} in it, got "{n}"`},
		{Until, "{time} {time}", `until must have {time} in it once, got "{time} {time}"`},
	} {
		got := ""
		if err := Check(tt.key, tt.sentence); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%q, %q:\ngot  %s\nwant %s", tt.key, tt.sentence, got, tt.want)
		}
	}
}

// TestTag: a language may be written in any of the ways that people use.
func TestTag(t *testing.T) {
	written := map[string]string{
		"de": "de", "DE-de": "de", "de_AT": "de", "en-US": "en",
		"no": "nb", "iw": "he", "in": "id", "mo": "ro", "tl": "fil", "sh": "sr", "sr-Cyrl": "sr",
		"pt": "pt-BR", "PT-pt": "pt-PT", "pt-AO": "pt-PT",
		"zh": "zh-CN", "zh-Hans": "zh-CN", "zh-SG": "zh-CN", "cmn": "zh-CN",
		"zh-Hant": "zh-TW", "zh-HK": "zh-TW", "zh-tw": "zh-TW",
	}
	for _, tag := range Tags {
		written[tag] = tag
	}
	for in, want := range written {
		if got, err := Tag(in); got != want || err != nil {
			t.Errorf("%s: got %s, %v, want %s", in, got, err, want)
		}
	}
}

// TestTagOfNone: a language without a translation is an error, even if CLDR knows one that its
// speakers can read, and the error lists those there are.
func TestTagOfNone(t *testing.T) {
	for _, written := range []string{
		"xx", "klingon", "german", "", "*", "de,fr", "de;q=0.5", "x-private",
		"ml", // CLDR has English for it
		"nn", "bs", "af", "yue",
	} {
		want := fmt.Sprintf("must be one of ar, bg, bn, ca, cs, da, de, el, en, es, et, fa, fi, fil, fr, he, hi,"+
			" hr, hu, id, it, ja, ko, lt, lv, mr, ms, nb, nl, pl, pt-BR, pt-PT, ro, ru, sk, sl, sr, sv, sw, ta,"+
			" te, th, tr, uk, ur, vi, zh-CN, zh-TW, got %q", written)
		if tag, err := Tag(written); tag != "" || err == nil || err.Error() != want {
			t.Errorf("%q: got %q, %v", written, tag, err)
		}
	}
}
