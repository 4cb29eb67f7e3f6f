package page

import (
	"strconv"
	"strings"

	"github.com/healthpool/caddy-healthpool/internal/cause"
)

// words is everything the page says, in one language. Each is a whole
// sentence, so that translating needs no grammar.
type words struct {
	Lang, Dir string

	Title string // heading
	Whose string // whose side it is: not the visitor's

	NotSent string // what became of what was sent
	Unknown string

	Moment  string // when to come back; {n} stands for a number
	Seconds string
	Minutes string
	Hours   string
	Later   string

	Watching     string // the page looks by itself, and opens the site
	WatchingForm string // the same, and only tells
	Stopped      string
	Back         string
	BackForm     string
	BackCheck    string // as BackForm, when the fate is unknown

	Retry     string // labels
	Stop      string
	Resume    string
	Open      string
	Reference string
}

// english is the language of every client for now.
var english = words{
	Lang: "en", Dir: "ltr",

	Title: "Sorry, this page is not available right now",
	Whose: "The problem is on our side: part of this site is not answering. It is not your fault, and nothing is wrong with your device.",

	NotSent: "What you sent did not get through, and nothing was done with it. It is safe to send it again later.",
	Unknown: "We can’t tell whether what you sent went through. Please check before you send it again: you may have a confirmation already.",

	Moment:  "Please come back in a moment.",
	Seconds: "Please come back in about {n} seconds.",
	Minutes: "Please come back in about {n} minutes.",
	Hours:   "Please come back in about {n} hours.",
	Later:   "Please come back a little later.",

	Watching:     "You can keep this page open: the site will open here when it is back.",
	WatchingForm: "You can keep this page open: it tells you when the site is back, and sends nothing by itself.",
	Stopped:      "This page has stopped checking.",
	Back:         "The site is back and opens in a moment.",
	BackForm:     "The site is back. Go back to your form and send it again.",
	BackCheck:    "The site is back. Please check before you send it again.",

	Retry:     "Try again",
	Stop:      "Stop checking",
	Resume:    "Check again",
	Open:      "Open this page",
	Reference: "Reference",
}

// fate says what became of what a form sent.
func (w *words) fate(f cause.Fate) string {
	if f == cause.NotSent {
		return w.NotSent
	}
	return w.Unknown
}

// when says when to come back, in a unit that reads well. No sentence is ever
// about one of something, which would need a plural rule for each language.
func (w *words) when(seconds int) string {
	switch {
	case seconds <= 0:
		return w.Later
	case seconds < 5:
		return w.Moment
	case seconds < 120:
		return count(w.Seconds, seconds)
	case seconds < 7200:
		return count(w.Minutes, (seconds+59)/60)
	default:
		return count(w.Hours, (seconds+3599)/3600)
	}
}

func count(sentence string, n int) string {
	return strings.Replace(sentence, "{n}", strconv.Itoa(n), 1)
}
