package page

import (
	"bytes"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/healthpool/caddy-healthpool/internal/page/words"
)

// slot is a place in a page for what differs between requests. Slots are written
// as noncharacters, which Unicode keeps for a program's own use: no text has one
// after oneLine, and html/template lets them pass.
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

// piece is text as it stands, and the slot that follows.
type piece struct {
	text string
	slot slot
}

// skeleton executes the template for a shape and takes it apart at the slots.
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

// fill writes what belongs into a slot.
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

// text is what the notice has for a slot.
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

// fixed is what the page has for a slot, in every answer.
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

// escape writes s so that it is text in an element or in a quoted attribute.
func escape(b *bytes.Buffer, s string) { _, _ = escaper.WriteString(b, s) }

var escaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&#34;", "'", "&#39;")

// view is what page.html is made with: sentences, and slots for the rest.
type view struct {
	Lang, Dir string
	Words     words.Words
	Form      bool

	Service, Message, Reference, Poll, After, Clock string

	Reason, Fate, Watching, Action, Resend string
	When                                   *sentence
}

// sentence is one on when to come back, with the time in it, if there is one. Brief
// is one that the page need not go on to show while it looks by itself.
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

// where is the slot, or nothing where there will be nothing to put into it.
func (s slot) where(filled bool) string {
	if filled {
		return string(rune(s))
	}
	return ""
}

func whenSentence(w words.Words, when int) *sentence {
	switch when {
	case moment:
		return &sentence{Before: w[words.Moment], Brief: true}
	case seconds:
		before, after, _ := strings.Cut(w[words.Seconds], words.Number)
		return &sentence{Before: before + string(rune(afterSlot)) + after, Brief: true}
	case until:
		before, after, _ := strings.Cut(w[words.Until], words.Time)
		return &sentence{Before: before, Time: string(rune(untilSlot)), After: after}
	case long:
		return &sentence{Before: w[words.Long]}
	}
	return nil
}
