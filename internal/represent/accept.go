package represent

import "strings"

// What is beyond these bounds of an Accept header is not read. Browsers send
// some 150 bytes and ten ranges.
const (
	maxAcceptBytes  = 8 << 10
	maxAcceptRanges = 100
)

// The formats that Accept can choose, best first: the order decides between
// equals.
const (
	html = iota
	problem
	json
	markdown
	text
	xml
	numFormats
)

var formats = [numFormats]Format{html: HTML, problem: Problem, json: JSON, markdown: Markdown, text: Text, xml: XML}

// How closely a range names a format; the closest one decides (RFC 9110
// §12.5.1), and none is zero.
const (
	byAny   = 1 + iota // */*
	byType             // text/*
	byAlias            // application/vnd.api+json, for problem+json
	byName             // text/html
)

// weight is what an Accept header says about one format.
type weight struct {
	closeness int
	q         int // thousandths
}

// accept is what all of an Accept header says.
type accept struct {
	weights [numFormats]weight

	subresource bool // names a type that only an embedding page wants
	foreign     bool // names another type that is not ours
}

// parseAccept reads the values of all Accept headers. What is malformed is
// skipped: it would be harsh to answer an outage with a syntax error.
func parseAccept(values []string) accept {
	var a accept
	bytes, ranges := maxAcceptBytes, maxAcceptRanges
	for _, v := range values {
		for v != "" && ranges > 0 {
			if bytes <= 0 {
				return a
			}
			// No further than allowed: a range that is cut off is lost.
			item, rest, whole := cutOutsideQuotes(v, ',', bytes)
			if !whole {
				return a
			}
			bytes -= len(v) - len(rest)
			ranges--
			v = rest
			a.add(item)
		}
	}
	return a
}

// claim is what a media range says about one format.
type claim struct{ format, closeness int }

// claims are the media ranges that say something about formats of ours.
var claims = map[string][]claim{
	"*/*":                      anyClaim,
	"*":                        anyClaim, // what Java's HttpURLConnection sends
	"text/*":                   {{html, byType}, {markdown, byType}, {text, byType}},
	"application/*":            {{problem, byType}, {json, byType}, {xml, byType}},
	"text/html":                {{html, byName}},
	"application/xhtml+xml":    {{html, byName}},
	"application/problem+json": {{problem, byName}},
	"application/json":         {{json, byName}},
	"application/problem+xml":  {{xml, byName}},
	"application/xml":          {{xml, byAlias}},
	"text/xml":                 {{xml, byAlias}},
	"text/markdown":            {{markdown, byName}},
	"text/plain":               {{text, byName}},
}

var anyClaim = []claim{{html, byAny}, {problem, byAny}, {json, byAny}, {markdown, byAny}, {text, byAny}, {xml, byAny}}

// add counts one media range in.
func (a *accept) add(item string) {
	name, params, _ := strings.Cut(item, ";")
	name = strings.ToLower(strings.TrimSpace(name))
	q, ok := quality(params)
	if name == "" || !ok {
		return
	}
	known, ours := claims[name]
	for _, c := range known {
		a.raise(c.format, c.closeness, q)
	}
	if !ours {
		a.addOther(name, q)
	}
}

// addOther counts in a type that is none of ours by its name.
func (a *accept) addOther(name string, q int) {
	switch {
	case strings.HasPrefix(name, "application/") && strings.HasSuffix(name, "+json"):
		a.raise(problem, byAlias, q)
	case strings.HasPrefix(name, "application/") && strings.HasSuffix(name, "+xml"):
		a.raise(xml, byAlias, q)
	case isEmbedded(name):
		a.subresource = true
	default:
		a.foreign = true
	}
}

// raise notes quality q for format f unless a closer range has spoken, or an
// equally close one has said more.
func (a *accept) raise(f, closeness, q int) {
	w := &a.weights[f]
	if closeness > w.closeness || closeness == w.closeness && q > w.q {
		*w = weight{closeness, q}
	}
}

// onlySubresources tells whether the header is that of an image, style, font,
// script or media element of a browser without Fetch Metadata: such types and
// perhaps */*, but nothing of ours.
func (a *accept) onlySubresources() bool {
	if !a.subresource || a.foreign {
		return false
	}
	for _, w := range a.weights {
		if w.closeness > byAny && w.q > 0 {
			return false
		}
	}
	return true
}

// best returns the format with the highest quality. Between equals one that
// was named goes before one that */* includes: the header of many programs is
// "application/json, text/plain, */*", and they don't want a page. It reports
// false when nothing is acceptable, or only */* made it so.
func (a *accept) best() (Format, bool) {
	found := -1
	for f, w := range a.weights {
		if w.q == 0 {
			continue
		}
		if found < 0 || w.q > a.weights[found].q || w.q == a.weights[found].q && w.closeness > byAny && a.weights[found].closeness == byAny {
			found = f
		}
	}
	if found < 0 || a.weights[found].closeness == byAny {
		return "", false
	}
	return formats[found], true
}

// takes tells whether the client accepts f: nothing it said excludes it.
func (a *accept) takes(f Format) bool {
	for i, w := range a.weights {
		if formats[i] == f {
			return w.q > 0 || w.closeness == 0 && !a.says()
		}
	}
	return false
}

// first returns the first format that the client accepts at all.
func (a *accept) first() (Format, bool) {
	for f, w := range a.weights {
		if w.q > 0 {
			return formats[f], true
		}
	}
	return "", false
}

// says tells whether the header says anything.
func (a *accept) says() bool {
	return *a != accept{}
}

// isEmbedded tells whether a type is one that pages embed, which makes a body
// other than that useless.
func isEmbedded(name string) bool {
	kind, _, _ := strings.Cut(name, "/")
	switch kind {
	case "image", "audio", "video", "font":
		return true
	}
	switch name {
	case "text/css", "text/javascript", "text/ecmascript", "application/javascript",
		"application/ecmascript", "application/x-javascript", "application/x-ecmascript", "application/ogg":
		return true
	}
	return false
}

// quality returns the weight among the parameters of a range in thousandths,
// 1000 without one, and false if it is no number from 0 to 1.
func quality(params string) (int, bool) {
	for params != "" {
		var param string
		param, params, _ = cutOutsideQuotes(params, ';', len(params))
		name, value, _ := strings.Cut(param, "=")
		if strings.EqualFold(strings.TrimSpace(name), "q") {
			return thousandths(strings.TrimSpace(value))
		}
	}
	return 1000, true
}

// thousandths reads "0.8", "1", ".2" or "0." with at most three decimals that
// count.
func thousandths(s string) (int, bool) {
	whole, decimals, _ := strings.Cut(s, ".")
	n := 0
	switch {
	case whole == "1":
		n = 1000
	case whole != "0" && (whole != "" || decimals == ""):
		return 0, false
	}
	for i, unit := 0, 100; i < len(decimals); i, unit = i+1, unit/10 {
		if decimals[i] < '0' || decimals[i] > '9' {
			return 0, false
		}
		n += int(decimals[i]-'0') * unit
	}
	return n, n <= 1000
}

// cutOutsideQuotes splits s at the first sep that is in no quoted string, and
// reports false if it would have to look further than limit.
func cutOutsideQuotes(s string, sep byte, limit int) (before, after string, whole bool) {
	quoted := false
	for i := 0; i < len(s); i++ {
		if i >= limit {
			return "", "", false
		}
		switch c := s[i]; {
		case c == '"':
			quoted = !quoted
		case c == '\\' && quoted:
			i++
		case c == sep && !quoted:
			return s[:i], s[i+1:], true
		}
	}
	return s, "", true
}
