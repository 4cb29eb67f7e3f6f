package words

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

// chooser returns a Chooser among these tags.
type chooser struct {
	*Chooser
	tags []string
}

func newChooser(tags []string) chooser { return chooser{NewChooser(tags), tags} }

// check fails unless these values of Accept-Language lead to the language.
func check(t *testing.T, c chooser, want string, values ...string) {
	t.Helper()
	if got := c.tags[c.Choose(values)]; got != want {
		t.Errorf("%.100q: got %s, want %s", values, got, want)
	}
}

// TestChoose: visitors get the best match, whatever code or region they ask with.
func TestChoose(t *testing.T) {
	c := newChooser(Tags)
	for header, want := range map[string]string{
		"zh-TW": "zh-TW", "zh-HK": "zh-TW", "zh-MO": "zh-TW", "zh-Hant": "zh-TW", "zh-Hant-HK": "zh-TW",
		"zh": "zh-CN", "zh-SG": "zh-CN", "zh-Hans": "zh-CN", "yue": "zh-TW",
		"zh-TW,zh;q=0.9,en-US;q=0.8,en;q=0.7": "zh-TW",
		"zh-HK,zh;q=0.9,en-US;q=0.8,en;q=0.7": "zh-TW", "zh-Hant-HK,zh;q=0.9": "zh-TW", "zh-MO,zh;q=0.9": "zh-TW",
		"zh-HK, zh-CN;q=0.9": "zh-TW", "yue-HK,zh-HK;q=0.9,zh;q=0.8": "zh-TW", "zh-SG,zh-TW;q=0.3": "zh-CN",
		"nn-NO,en;q=0.5": "nb", "bs-BA,bs;q=0.9,en;q=0.5": "hr", "sr-Latn-RS,en;q=0.5": "sr",
		"ja-JA": "ja", "en-EN,fr;q=0.9": "en", "de;q=0.1, ???, fr;q=0.9": "fr", "de;q=0.1, xx-YY, fr;q=0.9": "fr",
		"pt": "pt-BR", "pt-PT": "pt-PT", "pt-AO": "pt-PT", "pt-AO,pt;q=0.9": "pt-PT",
		"no": "nb", "nn": "nb", "no-NO,en;q=0.8": "nb",
		"iw": "he", "in": "id", "mo": "ro", "tl": "fil", "sh": "sr",
		"sr-Latn": "sr", "bs": "hr", // not in the script or language they ask for, but one they can read
		"es-419": "es", "fr-CA,en": "fr", "ca-valencia": "ca", "deu": "de",
		"de-AT;q=0.9,en;q=0.8": "de",
		"fr;q=0.1, ja":         "ja",
		"DE;q=0.2, FR":         "fr",
		"fr;q=0.3 , de;q=0.5":  "de",
		"fr-CH, fr;q=0.9, en;q=0.8, de;q=0.7, *;q=0.5": "fr",
		"ml": "en", "ml, de;q=0.5": "de", "xx": "en",
		"*": "en", "*, fr;q=0.5": "fr",
		"": "en", " ": "en", ",,,": "en", "garbage": "en", "???": "en", "\xff\x00": "en",
		"de;q=0, fr": "fr", "de;q=0": "en", "en;q=0": "en", "de;q=0.000, fr;q=0.001": "fr",
		"de-, fr": "de", "???;q=x, fr": "fr", "de;q=, fr": "fr", "garbage, de": "de", "fr, garbage": "fr", "de,,fr": "de",
	} {
		check(t, c, want, header)
	}
	for _, tag := range Tags {
		check(t, c, tag, tag)
		check(t, c, tag, "xx, "+strings.ToLower(tag))
	}
}

// TestChooseSeveralLines: a header may come as several lines, or not at all.
func TestChooseSeveralLines(t *testing.T) {
	c := newChooser(Tags)
	check(t, c, "ja", "fr;q=0.1", "ja")
	check(t, c, "fr", "fr", "ja")
	check(t, c, "ja", "", "ja", "")
	check(t, c, "en")
}

// TestChooseOfFew: whoever asks for none of the languages gets the first.
func TestChooseOfFew(t *testing.T) {
	c := newChooser([]string{"fr", "de"})
	for header, want := range map[string]string{
		"de": "de", "de-CH": "de", "en, de;q=0.1": "de", "fr": "fr", "de;q=0.5, fr": "fr",
		"en": "fr", "ja": "fr", "zh-HK": "fr", "xx": "fr", "*": "fr", "": "fr", "???": "fr",
		"fr;q=0": "fr",
	} {
		check(t, c, want, header)
	}
	check(t, newChooser([]string{"fr"}), "fr", "de")
}

// TestChooseHostile: only the first ranges of a very long header count.
func TestChooseHostile(t *testing.T) {
	c := newChooser(Tags)
	ranges := strings.Repeat("ja;q=0.1,", 4000)
	check(t, c, "pt-PT", "pt-PT,"+ranges)
	check(t, c, "ja", ranges+"pt-PT")
	for _, filling := range []string{",", "-", "a-", "x", " ", "é", ";", "a,", "de-", "\x00"} {
		long := strings.Repeat(filling, 1<<20/len(filling))
		check(t, c, "fr", "fr,"+long)
		check(t, c, "en", "en,"+long+",fr")
	}
	check(t, c, "en", strings.Repeat("x", 1<<20)+",fr")

	check(t, c, "fr", append([]string{"fr"}, slices.Repeat([]string{"ja;q=0.1"}, 4000)...)...)
}

// TestChooseBound: a header is read up to the limit, and a range that crosses it is not taken for
// another: "fil" cut to "fi" would be Finnish.
func TestChooseBound(t *testing.T) {
	c := newChooser(Tags)
	check(t, c, "fil", strings.Repeat(" ", maxHeader-3)+"fil")
	check(t, c, "en", strings.Repeat(" ", maxHeader-2)+"fil")
	check(t, c, "ja", "ja;q=0.5,"+strings.Repeat(" ", maxHeader-len("ja;q=0.5,fi"))+"fil")
}

// TestChooseRepeated: a header that was seen before costs no allocation, whatever its length.
func TestChooseRepeated(t *testing.T) {
	c := newChooser(Tags)
	for _, header := range []string{
		"de-AT,de;q=0.9,en;q=0.8", "", "???", "fr," + strings.Repeat("ja;q=0.1,", 1<<20/9),
	} {
		values := []string{header}
		if got := testing.AllocsPerRun(100, func() { c.Choose(values) }); got != 0 {
			t.Errorf("%.100q: got %v allocations, want 0", header, got)
		}
	}
}

// TestChooseKeepsLittle: no more of a long header is kept than is read.
func TestChooseKeepsLittle(t *testing.T) {
	c := newChooser(Tags)
	before := heap()
	const headers = 64
	for i := range headers {
		c.Choose([]string{fmt.Sprintf("fr, x-%d,", i) + strings.Repeat(" ", 1<<20)})
	}
	if after := heap(); after > before+headers<<20/8 {
		t.Errorf("%d headers of 1 MiB: %d bytes are kept", headers, after-before)
	}
	check(t, c, "fr", "fr, x-0,")
}

// heap is how much memory is in use.
func heap() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// distinct returns headers that all differ, and the languages to choose for them.
func distinct(n int) (headers, want []string) {
	for i := range n {
		tag := Tags[i%len(Tags)]
		headers = append(headers, fmt.Sprintf("%s, x-%d", tag, i))
		want = append(want, tag)
	}
	return headers, want
}

// TestChooseSharedPlace: with more headers than places in the cache, none gets the choice of
// another.
func TestChooseSharedPlace(t *testing.T) {
	c := newChooser(Tags)
	headers, want := distinct(6 * recentChoices)
	for range 3 {
		for i, header := range headers {
			check(t, c, want[i], header)
			check(t, c, want[i], header) // now from its place
		}
	}
}

// TestChooseConcurrent: requests choose at the same time.
func TestChooseConcurrent(t *testing.T) {
	c := newChooser(Tags)
	headers, want := distinct(2 * recentChoices)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for i, header := range headers {
				check(t, c, want[i], header)
				check(t, c, "pt-PT", "pt-PT,pt;q=0.9")
			}
		})
	}
	group.Wait()
}

// FuzzChoose: every header leads to one of the languages, always the same, whatever others asked
// for before.
func FuzzChoose(f *testing.F) {
	for _, seed := range [][2]string{
		{"de-AT,de;q=0.9,en;q=0.8", ""},
		{"fr;q=0.1", "ja"},
		{"de-, ???;q=x, fr", "*;q=0"},
		{"zh-Hant-HK-x-a-u-co-stroke;q=NaN", "i-klingon, sr-Latn, \xff"},
		{strings.Repeat("a-", maxHeader), "und-TW"},
	} {
		f.Add(seed[0], seed[1])
	}
	used := newChooser(Tags)
	f.Fuzz(func(t *testing.T, first, second string) {
		values := []string{first, second}
		index := used.Choose(values)
		if index < 0 || index >= len(Tags) {
			t.Fatalf("%q: got %d", values, index)
		}
		if again := used.Choose(values); again != index {
			t.Errorf("%q: got %s, then %s", values, Tags[index], Tags[again])
		}
		if fresh := newChooser(Tags).Choose(values); fresh != index {
			t.Errorf("%q: got %s, a fresh chooser %s", values, Tags[index], Tags[fresh])
		}
	})
}

func BenchmarkChoose(b *testing.B) {
	c := newChooser(Tags)
	b.Run("repeated", func(b *testing.B) {
		values := []string{"de-AT,de;q=0.9,en-US;q=0.8,en;q=0.7"}
		b.ReportAllocs()
		for b.Loop() {
			c.Choose(values)
		}
	})
	b.Run("new", func(b *testing.B) {
		// So many that each has lost its place when it comes again.
		headers, _ := distinct(32 * recentChoices)
		values := make([]string, 1)
		i := 0
		b.ReportAllocs()
		for b.Loop() {
			values[0] = headers[i%len(headers)]
			c.Choose(values)
			i++
		}
	})
}
