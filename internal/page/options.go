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

// Options are what an owner makes of the answers.
type Options struct {
	// The name of the site as visitors know it.
	// Default: the host that the request was for.
	Service string `json:"service,omitempty"`

	// One sentence of your own for visitors.
	Message string `json:"message,omitempty"`

	// Where visitors may go instead: a status page, support.
	Links []Link `json:"links,omitempty"`

	// The file of a logo, which becomes part of the page: SVG or PNG, up to
	// 32 KiB. Default: none.
	Logo string `json:"logo,omitempty"`

	// The colour of buttons and marks, as #rrggbb. It needs a contrast of at
	// least 4.5:1 both to white, for the light theme, and to black, for the
	// dark one (WCAG 2.2, 1.4.3). Default: a blue for each theme.
	Color string `json:"color,omitempty"`

	// The languages of the page, as BCP 47 tags. The first is for those who
	// ask for none of them. Default: all that are built in, English first.
	Languages []string `json:"languages,omitempty"`

	// Sentences to use in place of built-in ones: by language tag, and then by
	// key. docs/translating.md lists the keys.
	Translate map[string]map[string]string `json:"translate,omitempty"`

	// The file of an html/template to use in place of the built-in page. It
	// may use .Title .Status .Cause .Fate .Reference .RetryAfter .Service
	// .Message .Links (each with .Label and .URL) .Lang .Dir and .Poll.
	Template string `json:"template,omitempty"`

	// The name of this proxy in a Proxy-Status header (RFC 9209) that tells
	// the cause. It should be that of the deployment, not of the software.
	// Default: there is no such header.
	ProxyStatus string `json:"proxy_status,omitempty"`

	// The origins, such as https://app.example.com, whose scripts may read the
	// answers and their Retry-After; * is any origin. A preflight request is
	// then answered, too, while the site is down. Default: none.
	CORS []string `json:"cors,omitempty"`
}

// Link is a way out that visitors are offered.
type Link struct {
	// What it says.
	Label string `json:"label"`
	// Where it leads: an https, http, mailto or tel URL.
	URL string `json:"url"`
}

// Validate checks the options, but for the files.
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

// isSafe tells whether following a link does nothing but open it.
func isSafe(l Link) bool {
	u, err := url.Parse(l.URL)
	if err != nil {
		return false
	}
	switch u.Scheme { // in lower case already
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

// languages are the tags of the page, the first for those who ask for none.
func (o *Options) languages() []string {
	if len(o.Languages) == 0 {
		return words.Tags
	}
	tags := make([]string, len(o.Languages))
	for i, written := range o.Languages {
		tags[i], _ = words.Tag(written) // Validate has looked at it
	}
	return tags
}

// words are the sentences of a language, the owner's before the built-in ones.
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
