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
	// matched are the indices of tags, by the index that the matcher returns.
	matched []int
	// recent caches choices by the hash of their header: in an outage, the same few headers
	// come again and again.
	recent [recentChoices]atomic.Pointer[choice]
	seed   maphash.Seed
}

const recentChoices = 256

type choice struct {
	header string
	index  int
}

// near are languages whose readers can read one that we have just as well. The matcher knows
// most of these pairs, but prefers a language that the header names exactly: browsers in Hong
// Kong send zh-HK and then zh, and it would choose simplified Chinese.
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

// NewChooser returns a Chooser among tags. The first is for visitors who ask for none of them.
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
	return language.NewMatcher(parsed, language.PreferSameScript(false)) // or readers of French would get German because both use Latin letters
}

// Choose returns the index of the tag that fits the values of Accept-Language best, by the
// distances between languages in Unicode's CLDR.
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

// match chooses by a header, and ignores the parts of it that are malformed.
func (c *Chooser) match(header string) int {
	tags, _, err := language.ParseAcceptLanguage(header)
	if err != nil {
		var good []string
		for part := range strings.SplitSeq(header, ",") {
			if part = repaired(part); part != "" {
				good = append(good, part)
			}
		}
		tags, _, _ = language.ParseAcceptLanguage(strings.Join(good, ","))
	}
	_, index, _ := c.matcher.Match(tags...)
	return c.matched[index]
}

// repaired returns a language range without its region if that does not exist, as in ja-JA. It
// is empty if the range is malformed otherwise.
func repaired(part string) string {
	tag, q, _ := strings.Cut(part, ";")
	base, _, _ := strings.Cut(tag, "-")
	for _, attempt := range []string{part, base + ";" + q} {
		if _, _, err := language.ParseAcceptLanguage(strings.TrimSuffix(attempt, ";")); err == nil {
			return strings.TrimSuffix(attempt, ";")
		}
	}
	return ""
}

// maxHeader is how many bytes of the header are read. Browsers send about 50.
const maxHeader = 256

// bounded cuts a header off after the last complete range.
func bounded(header string) string {
	if len(header) <= maxHeader {
		return header
	}
	return header[:max(0, strings.LastIndexByte(header[:maxHeader], ','))]
}
