// Package page says to a client that there is nothing to answer it: as a page
// that brings visitors back by itself, as problem+json, as plain text.
package page

import (
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/healthpool/caddy-healthpool/internal/cause"
)

// Notice is what a client is told. Nothing in it but Details may name an
// upstream: not its address, nor the text of an error.
type Notice struct {
	// Status is the status code, as it is sent; below 200 or above 999 it
	// is taken for 503.
	Status int
	// Cause is why no upstream answered. Only programs are shown it.
	Cause cause.Cause
	// Fate is what became of the request.
	Fate cause.Fate
	// Reference finds this incident in the log; may be empty.
	Reference string
	// RetryAfter is in how many seconds another try makes sense. With 0
	// nothing is said of it.
	RetryAfter int
	// Long is whether this outage lasts already longer than a restart takes.
	Long bool
	// Planned is whether the owner has closed the site, and Until the end of
	// that, if it is known.
	Planned bool
	Until   time.Time
	// Message is the owner's own sentence, in place of the one in Options.
	Message string
	// Poll is the token that the page sends when it asks whether the site is
	// back. Without one the page doesn't ask.
	Poll string
	// Details are for those whom the owner shows more; nil for all others.
	Details *Details

	// Service is the name of the site as visitors know it; may be empty.
	service string
}

// maxService is how much of the name of a service is shown. It may be the Host
// header, and so any length.
const maxService = 255

// serviceOf is what people call the site at a host, as the Host header has it.
func serviceOf(host string) string {
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		host = host[:i]
	}
	return strings.Trim(host, "[]")
}

// normal returns n as it is shown: with what the owner says to all, within bounds,
// without what would break out of a line or turn the text around it.
func (p *Page) normal(n Notice, r *http.Request) Notice {
	if n.Status < 200 || n.Status > 999 {
		n.Status = http.StatusServiceUnavailable
	}
	n.RetryAfter = max(n.RetryAfter, 0)
	n.setUntil(time.Now())
	if n.service = p.options.Service; n.service == "" {
		n.service = serviceOf(r.Host)
	}
	n.service = oneLine(n.service)
	if len(n.service) > maxService {
		n.service = strings.ToValidUTF8(n.service[:maxService], "")
	}
	if n.Message == "" {
		n.Message = p.options.Message
	}
	n.Message = oneLine(n.Message)
	n.Reference = oneLine(n.Reference)
	n.Poll = oneLine(n.Poll)
	n.Details = n.Details.plain()
	if n.Fate != cause.NotSent {
		n.Fate = cause.Unknown // say no more than is known
	}
	return n
}

// setUntil sets when to come back, if that is so far off that a time says more than
// a number of seconds.
func (n *Notice) setUntil(now time.Time) {
	const far = 120 // seconds
	switch {
	case n.Until.After(now):
		n.Until = n.Until.UTC()
	case n.RetryAfter >= far:
		n.Until = now.Add(time.Duration(n.RetryAfter)*time.Second + time.Minute).Truncate(time.Minute).UTC()
	default:
		n.Until = time.Time{}
	}
}

// instance identifies the incident in problem details. It is a name, not an
// address.
func (n Notice) instance() string {
	if n.Reference == "" {
		return ""
	}
	return "urn:reference:" + url.PathEscape(n.Reference)
}

// isSafeMethod tells whether a request changes nothing (RFC 9110 §9.2.1).
func isSafeMethod(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, "QUERY":
		return true
	}
	return false
}

// isForm tells whether the page answers something that was sent, not just
// asked for. Reloading it would send that again.
func isForm(method string) bool {
	return method != http.MethodGet && method != http.MethodHead
}

// retryable tells whether a program may repeat the request without asking:
// nothing was sent, or sending it twice changes nothing. PUT and DELETE are
// left to the client, which knows whether the resource has changed meanwhile.
func (n Notice) retryable(method string) bool {
	return n.Fate == cause.NotSent || isSafeMethod(method)
}

// oneLine replaces what could end a line, move a terminal's cursor or reverse
// the direction of the text that follows.
func oneLine(s string) string {
	if strings.IndexFunc(s, isUnruly) < 0 {
		return s
	}
	return strings.Map(func(r rune) rune {
		if isUnruly(r) {
			return ' '
		}
		return r
	}, s)
}

func isUnruly(r rune) bool {
	switch {
	case unicode.IsControl(r), r == '\u2028', r == '\u2029', r == unicode.ReplacementChar:
		return true
	case r >= '\u202a' && r <= '\u202e', r >= '\u2066' && r <= '\u2069':
		return true // bidirectional embeddings, overrides and isolates
	case isSlot(r):
		return true
	}
	return false
}
