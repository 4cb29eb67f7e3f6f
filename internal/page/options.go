package page

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/healthpool/caddy-healthpool/internal/page/words"
)

// Options are what an owner can set about the responses.
type Options struct {
	// The name by which visitors know the site.
	// Default: the host of the request.
	Service string `json:"service,omitempty"`

	// One sentence of your own, shown to all visitors. The message of a
	// maintenance takes its place. Default: none.
	Message string `json:"message,omitempty"`

	// Links to where visitors can go instead, such as a status page or a
	// support page. Default: none.
	Links []Link `json:"links,omitempty"`

	// The path of an SVG or PNG image, which is embedded in the page. At most
	// 32 KiB; a PNG has at most 2048 pixels on each side. A relative path starts
	// at Caddy's working directory. Default: no logo.
	Logo string `json:"logo,omitempty"`

	// The colour of buttons, link underlines and borders, as `#rrggbb`. Its
	// contrast to white and to black, the label colours of the light and the
	// dark theme, must be at least 4.5:1 (WCAG 2.2, success criterion 1.4.3).
	// Default: a blue for each theme.
	Color string `json:"color,omitempty"`

	// The languages of the page, as BCP 47 tags. Visitors get the one that suits
	// their browser's Accept-Language best (RFC 9110, section 12.5.4), or else
	// the first. Default: all that are built in, English first.
	Languages []string `json:"languages,omitempty"`

	// Sentences that replace built-in ones: language tag, then key, then text.
	// docs/translating.md lists the keys. Default: none.
	Translate map[string]map[string]string `json:"translate,omitempty"`

	// The path of an html/template file that replaces the built-in page. At most
	// 1 MiB. It can use .Title, .Status, .Cause, .Fate, .Reference, .RetryAfter
	// (seconds; 0 if unknown or off), .Service, .Message, .Links (each with .Label and
	// .URL), .Lang, .Dir (ltr or rtl) and .Poll (the token with which a page
	// asks whether the site is up; empty if it is not to ask).
	// Default: the built-in page.
	Template string `json:"template,omitempty"`

	// The name of this proxy in the Proxy-Status header (RFC 9209), which also
	// tells the cause. Name the deployment rather than the software. Printable
	// ASCII. Default: no such header.
	ProxyStatus string `json:"proxy_status,omitempty"`

	// The origins whose scripts may read the response and its Retry-After (CORS,
	// Fetch standard), such as https://app.example.com; * allows any origin, but
	// without credentials. While the site is down, preflight requests of these
	// origins are answered, too. Default: none.
	CORS []string `json:"cors,omitempty"`
}

// Link is a link that visitors are offered.
type Link struct {
	// The text of the link. Required.
	Label string `json:"label"`

	// Where it leads: an https, http, mailto or tel URL. Required.
	URL string `json:"url"`
}

// Validate checks the options. New checks the files that they name.
func (o *Options) Validate() error {
	errs := []error{checkName(o.ProxyStatus)}
	for _, l := range o.Links {
		errs = append(errs, l.validate())
	}
	if o.Color != "" {
		_, err := parseAccent(o.Color)
		errs = append(errs, err)
	}
	for _, origin := range o.CORS {
		errs = append(errs, checkOrigin(origin))
	}
	if err := o.checkLanguages(); err != nil {
		errs = append(errs, err)
	} else {
		errs = append(errs, o.checkTranslations())
	}
	return errors.Join(errs...)
}

func (l Link) validate() error {
	switch {
	case strings.TrimSpace(l.Label) == "":
		return fmt.Errorf("link: must have a label, got only %q", l.URL)
	case !isSafe(l):
		return fmt.Errorf("link: must be an https, http, mailto or tel URL, got %q", l.URL)
	}
	return nil
}

// isSafe reports whether following the link does no more than open it: it runs no script.
func isSafe(l Link) bool {
	u, err := url.Parse(l.URL)
	if err != nil {
		return false
	}
	switch u.Scheme { // Parse made it lower case
	case "https", "http":
		return u.Host != ""
	case "mailto", "tel":
		return u.Opaque != ""
	}
	return false
}

func (o *Options) checkLanguages() error {
	var seen []string
	for _, written := range o.Languages {
		tag, err := words.Tag(written)
		if err != nil {
			return fmt.Errorf("languages: %w", err)
		}
		if slices.Contains(seen, tag) {
			return fmt.Errorf("languages: must name each language once, got %q twice", tag)
		}
		seen = append(seen, tag)
	}
	return nil
}

func (o *Options) checkTranslations() error {
	var seen []string
	for _, written := range slices.Sorted(maps.Keys(o.Translate)) {
		tag, err := words.Tag(written)
		switch {
		case err != nil:
			return fmt.Errorf("translate: %w", err)
		case slices.Contains(seen, tag):
			return fmt.Errorf("translate: must name each language in one way, got %q for %s, too", written, tag)
		case !slices.Contains(o.languages(), tag):
			return fmt.Errorf("translate: must be one of the languages of the page, got %q", written)
		}
		seen = append(seen, tag)
		for _, key := range slices.Sorted(maps.Keys(o.Translate[written])) {
			if err := words.Check(key, o.Translate[written][key]); err != nil {
				return fmt.Errorf("translate: %s: %w", written, err)
			}
		}
	}
	return nil
}

// languages returns the tags of the languages of the page, the fallback first.
func (o *Options) languages() []string {
	if len(o.Languages) == 0 {
		return words.Tags
	}
	tags := make([]string, len(o.Languages))
	for i, written := range o.Languages {
		tags[i], _ = words.Tag(written) // Validate has checked it
	}
	return tags
}

// words returns the sentences of a language, with those of the owner in place of built-in ones.
func (o *Options) words(tag string) words.Words {
	w := words.Of(tag)
	for written, sentences := range o.Translate {
		if meant, _ := words.Tag(written); meant == tag {
			for key, sentence := range sentences {
				w[key] = oneLine(sentence)
			}
		}
	}
	return w
}
