package words

import (
	"hash/maphash"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/text/language"
)

// Chooser chooses one of a few languages by the Accept-Language header.
type Chooser struct {
	matcher language.Matcher
	// matched are the indices of the languages that the matcher's stand for.
	matched []int
	// recent are the latest choices, each at a place that its header leads to: in
	// an outage the same few headers come again and again.
	recent [recentChoices]atomic.Pointer[choice]
	seed   maphash.Seed
}

const recentChoices = 256

type choice struct {
	header string
	index  int
}

// near are languages whose readers are served as well by one that we have. The
// matcher knows of most of them, but takes any language that a header has by its
// name before them: to readers in Hong Kong, whose browsers say zh-HK and then zh,
// it would give simplified Chinese.
var near = map[string][]string{
	"fil":   {"tl"},
	"hr":    {"bs"},
	"nb":    {"no", "nn"},
	"pt-PT": {"pt-AO", "pt-MZ"},
	"ro":    {"mo"},
	"sr":    {"sr-Latn"},
	"zh-CN": {"zh-Hans", "zh-SG"},
	"zh-TW": {"zh-Hant", "zh-HK", "zh-MO", "yue"},
}

// NewChooser returns a Chooser of tags, the first of which serves whoever asks for
// none of them.
func NewChooser(tags []string) *Chooser {
	c := &Chooser{seed: maphash.MakeSeed()}
	all := slices.Clone(tags)
	for i := range tags {
		c.matched = append(c.matched, i)
	}
	for i, tag := range tags {
		for _, other := range near[tag] {
			all, c.matched = append(all, other), append(c.matched, i)
		}
	}
	c.matcher = matcher(all)
	return c
}

func matcher(tags []string) language.Matcher {
	parsed := make([]language.Tag, len(tags))
	for i, tag := range tags {
		parsed[i] = language.MustParse(tag)
	}
	return language.NewMatcher(parsed, language.PreferSameScript(false)) // French is no nearer to German than to Japanese
}

// Choose returns the index of the tag that suits the values of Accept-Language
// best, by the distances between languages of Unicode's CLDR.
func (c *Chooser) Choose(values []string) int {
	if len(values) == 0 {
		return 0
	}
	header := bounded(strings.Join(values, ","))
	place := &c.recent[maphash.String(c.seed, header)%recentChoices]
	if known := place.Load(); known != nil && known.header == header {
		return known.index
	}
	index := c.match(header)
	place.Store(&choice{strings.Clone(header), index})
	return index
}

// match reads a header. What is wrong in it is passed over.
func (c *Chooser) match(header string) int {
	tags, _, err := language.ParseAcceptLanguage(header)
	if err != nil {
		var good []string
		for part := range strings.SplitSeq(header, ",") {
			if part = mended(part); part != "" {
				good = append(good, part)
			}
		}
		tags, _, _ = language.ParseAcceptLanguage(strings.Join(good, ","))
	}
	_, index, _ := c.matcher.Match(tags...)
	return c.matched[index]
}

// mended is a range, less a region that does not exist, such as that of ja-JA;
// empty if even so it is none.
func mended(part string) string {
	tag, q, _ := strings.Cut(part, ";")
	base, _, _ := strings.Cut(tag, "-")
	for _, attempt := range []string{part, base + ";" + q} {
		if _, _, err := language.ParseAcceptLanguage(strings.TrimSuffix(attempt, ";")); err == nil {
			return strings.TrimSuffix(attempt, ";")
		}
	}
	return ""
}

// maxHeader is how much of the header is read. Browsers send some 50 bytes.
const maxHeader = 256

// bounded cuts a header off behind the last range that is whole.
func bounded(header string) string {
	if len(header) <= maxHeader {
		return header
	}
	return header[:max(0, strings.LastIndexByte(header[:maxHeader], ','))]
}
