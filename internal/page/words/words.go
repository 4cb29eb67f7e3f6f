// Package words has what the page says, in each language there is, and chooses
// the language for a visitor.
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

// Words is everything the page says, in one language: whole sentences, so that
// translating needs no grammar. docs/translating.md tells where each stands.
type Words map[string]string

// The keys of Words. English has all of them; other languages have the same.
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

// English is the original of all translations, and where every choice ends that
// finds nothing better.
const English = "en"

//go:embed *.json
var files embed.FS

// Tags are the languages there are, English first: it serves whoever asks for
// none of them.
var Tags = func() []string {
	entries, _ := files.ReadDir(".") // embedded: can't fail
	tags := []string{English}
	for _, e := range entries {
		if tag := strings.TrimSuffix(e.Name(), ".json"); tag != English {
			tags = append(tags, tag)
		}
	}
	return tags
}()

// Of returns the words of a language of Tags, for the caller to keep.
func Of(tag string) Words {
	text, err := files.ReadFile(tag + ".json")
	w := make(Words)
	if err == nil {
		err = json.Unmarshal(text, &w)
	}
	if err != nil {
		panic(fmt.Sprintf("words: %s: %v", tag, err)) // embedded, and a test reads all of them
	}
	for _, aside := range asides {
		delete(w, aside)
	}
	return w
}

// asides are what a file says to translators only.
var asides = []string{"status", "note"}

// Placeholders of sentences.
const (
	Number = "{n}"
	Time   = "{time}"
)

// placeholders are what the sentence of a key must have in it, once.
var placeholders = map[string]string{Seconds: Number, Until: Time}

// Check checks that a sentence of an owner's can stand for the one of a key.
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

// Tag returns the tag of Tags that stands for one as owners may write it: in any
// case, and with an old code, such as iw or no.
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

// IsRightToLeft tells in which direction a language is written.
func IsRightToLeft(tag string) bool {
	script, _ := language.Make(tag).Script()
	return script == language.MustParseScript("Arab") || script == language.MustParseScript("Hebr")
}
