package page

import (
	"bytes"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/healthpool/caddy-healthpool/internal/page/words"
)

// slot marks a place in a page for text that differs between requests or handlers. It is a
// Unicode noncharacter, meant for a program's internal use: html/template leaves it alone, and
// oneLine removes it from every text.
type slot rune

const (
	none slot = 0

	serviceSlot slot = 0xFDD0 + iota
	messageSlot
	referenceSlot
	pollSlot
	afterSlot
	untilSlot
	clockSlot
	detailsSlot
	styleSlot
	logoSlot
	linksSlot
)

// piece is constant text and the slot that follows it.
type piece struct {
	text string
	slot slot
}

// skeleton executes the template for a shape and cuts the result at the slots.
func (p *Page) skeleton(s shape) []piece {
	return pieces(markup(builtIn, p.view(s)))
}

func pieces(page string) []piece {
	var out []piece
	for page != "" {
		i := strings.IndexFunc(page, isSlot)
		if i < 0 {
			return append(out, piece{page, none})
		}
		r, size := utf8.DecodeRuneInString(page[i:])
		out = append(out, piece{page[:i], slot(r)})
		page = page[i+size:]
	}
	return out
}

func isSlot(r rune) bool { return r >= 0xFDD0 && r <= 0xFDEF }

// fill writes the content of a slot.
func (p *Page) fill(b *bytes.Buffer, s slot, n *Notice) {
	switch s {
	case serviceSlot, messageSlot, referenceSlot, pollSlot:
		escape(b, n.text(s))
	case afterSlot:
		b.Write(strconv.AppendInt(b.AvailableBuffer(), int64(n.RetryAfter), 10))
	case untilSlot:
		b.Write(n.Until.AppendFormat(b.AvailableBuffer(), time.RFC3339))
	case clockSlot:
		b.Write(n.Until.AppendFormat(b.AvailableBuffer(), "2006-01-02 15:04 UTC"))
	case detailsSlot:
		if n.Details != nil {
			n.Details.write(b)
		}
	default:
		b.WriteString(p.fixed(s))
	}
}

// text returns what the notice has for a slot.
func (n *Notice) text(s slot) string {
	switch s {
	case serviceSlot:
		return n.service
	case messageSlot:
		return n.Message
	case referenceSlot:
		return n.Reference
	default:
		return n.Poll
	}
}

// fixed returns what is the same for every notice.
func (p *Page) fixed(s slot) string {
	switch s {
	case styleSlot:
		return p.style
	case logoSlot:
		return p.logo
	case linksSlot:
		return p.linksMarkup
	default:
		return ""
	}
}

// escape writes s as text of an element or of a quoted attribute.
func escape(b *bytes.Buffer, s string) { _, _ = escaper.WriteString(b, s) }

var escaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&#34;", "'", "&#39;")

// view is the data of page.html: sentences, and slots for everything else.
type view struct {
	Lang, Dir string
	Words     words.Words
	Form      bool

	Service, Message, Reference, Poll, After, Clock string

	Reason, Fate, Watching, Action, Resend string
	When                                   *sentence
}

// sentence says when to come back. Time is the time in it, if it has one. A brief sentence is
// hidden while the page checks by itself whether the site is up.
type sentence struct {
	Before, Time, After string
	Brief               bool
}

// view chooses the sentences for a shape.
func (p *Page) view(s shape) *view {
	w := p.words[s.lang]()
	v := &view{
		Lang: p.tags[s.lang], Dir: "ltr", Words: w, Form: s.form,
		Service: serviceSlot.where(s.service), Message: messageSlot.where(s.message),
		Reference: referenceSlot.where(s.reference), Poll: pollSlot.where(s.polled),
		After: afterSlot.where(s.after), Clock: string(rune(clockSlot)),
		Reason: w[words.Reason], Watching: w[words.Watching], Action: w[words.Retry], When: whenSentence(w, s.when),
	}
	if words.IsRightToLeft(v.Lang) {
		v.Dir = "rtl"
	}
	if s.planned {
		v.Reason = w[words.Planned]
	}
	if s.form {
		v.Fate, v.Watching, v.Action = w[words.Unknown], w[words.WatchingForm], w[words.Open]
		if s.notSent {
			v.Fate, v.Resend = w[words.NotSent], w[words.Resend]
		}
	}
	return v
}

// where returns the slot as text, or nothing if it would be empty.
func (s slot) where(filled bool) string {
	if filled {
		return string(rune(s))
	}
	return ""
}

func whenSentence(w words.Words, kind when) *sentence {
	switch kind {
	case whenMoment:
		return &sentence{Before: w[words.Moment], Brief: true}
	case whenSeconds:
		before, after, _ := strings.Cut(w[words.Seconds], words.Number)
		return &sentence{Before: before + string(rune(afterSlot)) + after, Brief: true}
	case whenUntil:
		before, after, _ := strings.Cut(w[words.Until], words.Time)
		return &sentence{Before: before, Time: string(rune(untilSlot)), After: after}
	case whenLong:
		return &sentence{Before: w[words.Long]}
	default:
		return nil
	}
}
