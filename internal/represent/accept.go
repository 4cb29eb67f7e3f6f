package represent

import "strings"

// Bounds on how much of an Accept header is read; the rest is ignored. Browsers send about
// 150 bytes and ten ranges.
const (
	maxAcceptBytes  = 8 << 10
	maxAcceptRanges = 100
)

// The formats that Accept can choose. Of two that a client likes equally, the one that
// comes first here wins.
const (
	formatHTML = iota
	formatProblem
	formatJSON
	formatMarkdown
	formatText
	formatXML
	numFormats
)

var formats = [numFormats]Format{
	formatHTML: HTML, formatProblem: Problem, formatJSON: JSON,
	formatMarkdown: Markdown, formatText: Text, formatXML: XML,
}

// How closely a media range names a format. The closest one decides (RFC 9110 §12.5.1).
// The zero value means that no range names it.
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

// accept is what the whole Accept header says.
type accept struct {
	weights [numFormats]weight

	subresource bool // it names a type that pages embed, such as image/png
	foreign     bool // it names some other type that we don't have
}

// parseAccept reads the values of all Accept headers. It skips malformed ranges: during an
// outage, a syntax error would help nobody.
func parseAccept(values []string) accept {
	var a accept
	bytes, ranges := maxAcceptBytes, maxAcceptRanges
	for _, v := range values {
		for v != "" && ranges > 0 {
			if bytes <= 0 {
				return a
			}
			// A range that does not end within the limit is ignored.
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

// claims are the media ranges that name formats we have.
var claims = map[string][]claim{
	"*/*":                      anyClaim,
	"*":                        anyClaim, // what Java's HttpURLConnection sends
	"text/*":                   {{formatHTML, byType}, {formatMarkdown, byType}, {formatText, byType}},
	"application/*":            {{formatProblem, byType}, {formatJSON, byType}, {formatXML, byType}},
	"text/html":                {{formatHTML, byName}},
	"application/xhtml+xml":    {{formatHTML, byName}},
	"application/problem+json": {{formatProblem, byName}},
	"application/json":         {{formatJSON, byName}},
	"application/problem+xml":  {{formatXML, byName}},
	"application/xml":          {{formatXML, byAlias}},
	"text/xml":                 {{formatXML, byAlias}},
	"text/markdown":            {{formatMarkdown, byName}},
	"text/plain":               {{formatText, byName}},
}

var anyClaim = []claim{
	{formatHTML, byAny},
	{formatProblem, byAny},
	{formatJSON, byAny},
	{formatMarkdown, byAny},
	{formatText, byAny},
	{formatXML, byAny},
}

// add takes one media range into account.
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

// addOther takes a media type into account that is not in claims.
func (a *accept) addOther(name string, q int) {
	switch {
	case strings.HasPrefix(name, "application/") && strings.HasSuffix(name, "+json"):
		a.raise(formatProblem, byAlias, q)
	case strings.HasPrefix(name, "application/") && strings.HasSuffix(name, "+xml"):
		a.raise(formatXML, byAlias, q)
	case isEmbedded(name):
		a.subresource = true
	default:
		a.foreign = true
	}
}

// raise sets the quality of format f to q, unless a closer range has set it already, or an
// equally close one has set it higher.
func (a *accept) raise(f, closeness, q int) {
	w := &a.weights[f]
	if closeness > w.closeness || closeness == w.closeness && q > w.q {
		*w = weight{closeness, q}
	}
}

// onlySubresources reports whether the header looks like that of an image, style, font,
// script or media element in a browser without Fetch Metadata: it names such types and
// perhaps */*, but no format of ours.
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

// best returns the format with the highest quality. It reports false when no format is
// acceptable, or only because of */*.
func (a *accept) best() (Format, bool) {
	var best weight
	found := 0
	for f, w := range a.weights {
		if w.isBetter(best) {
			best, found = w, f
		}
	}
	return formats[found], best.closeness > byAny
}

// isBetter reports whether a client prefers a format with weight w to one with weight v
// that comes before it. At equal quality, a named format wins over one that only */*
// includes: many programs send "application/json, text/plain, */*", and don't want a page.
func (w weight) isBetter(v weight) bool {
	return w.q > v.q || w.q > 0 && w.q == v.q && w.closeness > byAny && v.closeness == byAny
}

// takes reports whether the client accepts the format. A header that says nothing accepts
// all of them.
func (a *accept) takes(format int) bool {
	return a.weights[format].q > 0 || *a == accept{}
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

// isEmbedded reports whether pages embed this media type. Whoever asks for it has no use
// for a body of another type.
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

// quality returns the q parameter of a media range in thousandths, or 1000 if it has none.
// It reports false if q is not a number from 0 to 1.
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

// thousandths reads a number such as "0.8", "1", ".2" or "0.". Decimals after the third are
// ignored.
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

// cutOutsideQuotes splits s at the first sep that is not in a quoted string. It looks at no
// more than limit bytes, and reports false if they are not enough.
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
