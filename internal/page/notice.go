// Package page tells a client that no upstream can answer: as a page that brings visitors back
// by itself, as problem+json, as plain text and in other formats.
package page

import (
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/healthpool/caddy-healthpool/internal/cause"
)

// Notice is what a client is told. Only Details may name an upstream, by its address or in the
// text of an error.
type Notice struct {
	// Status is the HTTP status. Below 200 or above 999, 503 is sent.
	Status int
	// Cause is why no upstream answered. Programs are told, visitors are not.
	Cause cause.Cause
	// Fate is what happened to the request.
	Fate cause.Fate
	// Reference identifies the outage in the log; may be empty.
	Reference string
	// RetryAfter is in how many seconds to try again; 0 says nothing about it.
	RetryAfter int
	// Long is whether the outage has lasted longer than a restart takes.
	Long bool
	// Planned is whether the owner has closed the site, and Until when that ends, if known.
	Planned bool
	Until   time.Time
	// Message takes the place of Options.Message.
	Message string
	// Poll is the token with which the page asks whether the site is up. Without one it does
	// not ask.
	Poll string
	// Details are for the clients that the owner lists; nil for all others.
	Details *Details

	// service is the name of the site as visitors know it; may be empty.
	service string
}

// maxService is how many bytes of the name of the service are shown. It may come from the Host
// header and so have any length.
const maxService = 255

// serviceOf returns the host without its port, as people know the site.
func serviceOf(host string) string {
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		host = host[:i]
	}
	return strings.Trim(host, "[]")
}

// normal returns n as it is shown: with the owner's texts, values within their bounds, and
// every text on one line without control characters.
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

// setUntil sets the time when to come back, if it is so far off that a time is clearer than a
// number of seconds.
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

// instance identifies the outage in problem details. It is a name, not an address.
func (n Notice) instance() string {
	if n.Reference == "" {
		return ""
	}
	return "urn:reference:" + url.PathEscape(n.Reference)
}

// isSafeMethod reports whether a request changes nothing (RFC 9110 §9.2.1).
func isSafeMethod(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, "QUERY":
		return true
	}
	return false
}

// isForm reports whether the page answers a request that sent something. Reloading the page
// would send it again.
func isForm(method string) bool {
	return method != http.MethodGet && method != http.MethodHead
}

// retryable reports whether a program may simply repeat the request: nothing was sent, or the
// request changes nothing. For PUT and DELETE the client has to decide: only it can know
// whether the resource has changed in the meantime.
func (n Notice) retryable(method string) bool {
	return n.Fate == cause.NotSent || isSafeMethod(method)
}

// oneLine replaces characters that end a line, move a terminal's cursor or reverse the
// direction of the text that follows. Unlike plain.Line, it keeps the invisible joiners that
// emoji and some scripts need.
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
