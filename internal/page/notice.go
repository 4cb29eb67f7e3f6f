// Package page says to a client that there is nothing to answer it: as a page
// that brings visitors back by itself, as problem+json, as plain text.
package page

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"unicode"

	"github.com/healthpool/caddy-healthpool/internal/cause"
)

// Notice is what a client is told. Nothing in it may name an upstream: not
// its address, nor the text of an error.
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
	// Service is the name of the site as visitors know it; may be empty.
	Service string
	// Message is the owner's own sentence; may be empty.
	Message string
	// Links lead elsewhere: a status page, support.
	Links []Link
	// Poll is the token that the page sends when it asks whether the site is
	// back. Without one the page doesn't ask.
	Poll string
}

// Link is a way out that visitors are offered.
type Link struct {
	// What it says.
	Label string `json:"label"`
	// Where it leads: an https, http, mailto or tel URL.
	URL string `json:"url"`
}

// Validate checks that the link is one to show.
func (l Link) Validate() error {
	switch {
	case strings.TrimSpace(l.Label) == "":
		return fmt.Errorf("link: must have a label, got only %q", l.URL)
	case !isSafe(l):
		return fmt.Errorf("link: must be an https, http, mailto or tel URL, got %q", l.URL)
	}
	return nil
}

// maxService is how much of the name of a service is shown. It may be the Host
// header, and so any length.
const maxService = 255

// ServiceOf is what people call the site at a host, as the Host header has it.
func ServiceOf(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return strings.Trim(host, "[]")
}

// normal returns n as it is shown: within bounds, without what would break
// out of a line or turn the text around it.
func (n Notice) normal() Notice {
	if n.Status < 200 || n.Status > 999 {
		n.Status = http.StatusServiceUnavailable
	}
	n.RetryAfter = max(n.RetryAfter, 0)
	n.Service = oneLine(n.Service)
	if len(n.Service) > maxService {
		n.Service = strings.ToValidUTF8(n.Service[:maxService], "")
	}
	n.Message = oneLine(n.Message)
	n.Reference = oneLine(n.Reference)
	n.Poll = oneLine(n.Poll)
	if n.Fate != cause.NotSent {
		n.Fate = cause.Unknown // say no more than is known
	}
	return n
}

// isSafe tells whether following a link does nothing but open it.
func isSafe(l Link) bool {
	u, err := url.Parse(l.URL)
	if err != nil {
		return false
	}
	switch u.Scheme { // in lower case already
	case "https", "http", "mailto", "tel":
		return true
	}
	return false
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
	}
	return false
}
