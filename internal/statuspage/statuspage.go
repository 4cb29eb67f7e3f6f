// Package statuspage shows the pools in a browser, to the people who run the site.
package statuspage

import (
	"bytes"
	_ "embed" // for the files below
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/healthpool/caddy-healthpool/internal/look"
	"github.com/healthpool/caddy-healthpool/internal/operator"
	"github.com/healthpool/caddy-healthpool/internal/represent"
)

// Handler serves a page for the people who run the site: every pool of the running config,
// what is wrong with which of its upstreams, since when, and what to do. It refreshes
// itself, and changes nothing. Programs that ask for application/json get what GET
// /healthpool/pools answers at the admin endpoint.
//
// It shows addresses and errors to everyone who can request it, so restrict it to your own
// people, by their network or with a password:
//
//	@office {
//		path      /status
//		remote_ip private_ranges
//	}
//	healthpool_status @office
//
// Behind another proxy, use client_ip, which honours trusted_proxies, instead of remote_ip.
// With a name and a password:
//
//	handle /status {
//		basic_auth {
//			alice <the output of caddy hash-password>
//		}
//		healthpool_status
//	}
type Handler struct{}

// CaddyModule returns the Caddy module information.
func (Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.healthpool_status",
		New: func() caddy.Module { return new(Handler) },
	}
}

// Parse reads the directive. Syntax:
//
//	healthpool_status [<matcher>]
func Parse(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	s := new(Handler)
	return s, s.UnmarshalCaddyfile(h.Dispenser)
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. There is nothing to set:
// the directive takes only a matcher.
func (*Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the name of the directive
	name := d.Val()
	if d.NextArg() {
		return d.Errf("%s: takes no value but a matcher, got %q", name, d.Val())
	}
	if d.NextBlock(0) {
		return d.Errf("%s: has no options, got %q", name, d.Val())
	}
	return nil
}

// ServeHTTP shows the pools.
func (Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	h := w.Header()
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		return caddyhttp.Error(http.StatusMethodNotAllowed, fmt.Errorf("method %s is not allowed", r.Method))
	}
	h.Set("Cache-Control", "no-store")
	h.Add("Vary", "Accept, Sec-Fetch-Dest")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Robots-Tag", "noindex")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	var b bytes.Buffer
	if err := writePools(&b, h, represent.Choose(r)); err != nil {
		return caddyhttp.Error(http.StatusInternalServerError, err)
	}
	_, _ = b.WriteTo(w) // fails when the client is gone; nobody is left to tell
	return nil
}

// writePools writes the page or the JSON, and sets the headers that go with it.
func writePools(b *bytes.Buffer, h http.Header, f represent.Format) error {
	found := operator.Pools()
	if f == represent.JSON || f == represent.Problem { // fetch takes anything
		h.Set("Content-Type", "application/json")
		return json.NewEncoder(b).Encode(found)
	}
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", "en")
	h.Set("Content-Security-Policy", policy)
	return pageTemplate.Execute(b, newView(found, time.Now()))
}

//go:embed statuspage.html
var source string

//go:embed statuspage.css
var style string

//go:embed statuspage.js
var script string

// The style and the script are part of the text of the template: html/template writes
// them as they are, without comments.
var pageTemplate = template.Must(template.New("statuspage").Parse(
	strings.NewReplacer("{{style}}", style, "{{script}}", script).Replace(source)))

// policy is the Content-Security-Policy: it allows exactly the style and the script of the
// page, and nothing else.
var policy = func() string {
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, newView(nil, time.Now())); err != nil {
		panic(err)
	}
	return fmt.Sprintf("default-src 'none'; style-src %s; script-src %s; connect-src 'self'; img-src data:; "+
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'", hashOf(b.String(), "style"), hashOf(b.String(), "script"))
}()

// hashOf is the source expression of Content-Security-Policy for the one element of a page
// with this name.
func hashOf(page, name string) string {
	_, rest, _ := strings.Cut(page, "<"+name+">")
	content, _, _ := strings.Cut(rest, "</"+name+">")
	return look.Hash(content)
}

// Interface guards
var (
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
	_ caddyfile.Unmarshaler       = (*Handler)(nil)
)
