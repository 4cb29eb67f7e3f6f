// Package words holds the sentences of the page in every language, and chooses the language
// for a visitor.
package words

import (
	"embed"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/text/language"
)

// Words maps keys to the sentences of the page in one language. They are whole sentences, so
// that no code has to know grammar. docs/translating.md says where each one is used.
type Words map[string]string

// The keys of Words. Every language has all of them.
const (
	Title        = "title"
	Reason       = "reason"
	Planned      = "planned"
	NotSent      = "not_sent"
	Unknown      = "unknown"
	Moment       = "moment"
	Seconds      = "seconds"
	Until        = "until"
	Long         = "long"
	Watching     = "watching"
	WatchingForm = "watching_form"
	Back         = "back"
	Retry        = "retry"
	Stop         = "stop"
	Resume       = "resume"
	Open         = "open"
	Resend       = "resend"
	Reference    = "reference"
)

// English is the original of all translations, and the language of everything but the page.
const English = "en"

//go:embed *.json
var files embed.FS

// Tags are the tags of all languages, English first: it is for visitors who ask for none of
// them.
var Tags = func() []string {
	entries, _ := files.ReadDir(".") // embedded files cannot fail
	tags := []string{English}
	for _, e := range entries {
		if tag := strings.TrimSuffix(e.Name(), ".json"); tag != English {
			tags = append(tags, tag)
		}
	}
	return tags
}()

// Of returns the words of a language in Tags. The caller may change them.
func Of(tag string) Words {
	text, err := files.ReadFile(tag + ".json")
	w := make(Words)
	if err == nil {
		err = json.Unmarshal(text, &w)
	}
	if err != nil {
		panic(fmt.Sprintf("words: %s: %v", tag, err)) // a test reads all files
	}
	for _, key := range forTranslators {
		delete(w, key)
	}
	return w
}

// forTranslators are the keys of a file that are not sentences of the page.
var forTranslators = []string{"status", "note"}

// Placeholders in sentences.
const (
	Number = "{n}"
	Time   = "{time}"
)

// placeholders are those that the sentence of a key must contain, once.
var placeholders = map[string]string{Seconds: Number, Until: Time}

// Check checks that the owner's sentence can replace the built-in one of a key.
func Check(key, sentence string) error {
	english := Of(English)
	if english[key] == "" {
		return fmt.Errorf("must be one of the keys %s, got %q", strings.Join(slices.Sorted(maps.Keys(english)), ", "), key)
	}
	if strings.TrimSpace(sentence) == "" {
		return fmt.Errorf("%s must not be empty", key)
	}
	for _, p := range []string{Number, Time} {
		switch n := strings.Count(sentence, p); {
		case placeholders[key] == p && n != 1:
			return fmt.Errorf("%s must have %s in it once, got %q", key, p, sentence)
		case placeholders[key] != p && n != 0:
			return fmt.Errorf("%s must not have %s in it, got %q", key, p, sentence)
		}
	}
	return nil
}

// Tag returns the tag in Tags for one as an owner writes it: in upper or lower case, and perhaps
// with an outdated code, such as iw or no.
func Tag(written string) (string, error) {
	if parsed, err := language.Parse(written); err == nil {
		matched, i, confidence := all.Match(parsed)
		wanted, sure := parsed.Base()
		found, _ := matched.Base()
		if sure != language.No && (confidence == language.Exact || wanted == found) {
			return Tags[i], nil
		}
	}
	return "", fmt.Errorf("must be one of %s, got %q", strings.Join(slices.Sorted(slices.Values(Tags)), ", "), written)
}

var all = matcher(Tags)

// IsRightToLeft reports whether a language is written from right to left.
func IsRightToLeft(tag string) bool {
	script, _ := language.Make(tag).Script()
	return script == language.MustParseScript("Arab") || script == language.MustParseScript("Hebr")
}
