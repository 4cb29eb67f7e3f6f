// Package statuspage shows the pools to the owner's people, in a browser.
package statuspage

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // for the files below
	"encoding/base64"
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

	"github.com/healthpool/caddy-healthpool/internal/operator"
	"github.com/healthpool/caddy-healthpool/internal/represent"
)

// Handler serves a page for the owner's people: every pool of the running config, what
// is wrong with which of its upstreams, since when, and what to do. It keeps itself up
// to date, and changes nothing. Programs that ask for application/json get what GET
// /healthpool/pools answers at the admin endpoint.
//
// It shows addresses and errors to everyone who may ask for it, so let only your own
// people ask, by where they are or who they are:
//
//	@office {
//		path      /status
//		remote_ip private_ranges
//	}
//	healthpool_status @office
//
// Behind another proxy, client_ip in place of remote_ip heeds trusted_proxies. With a
// name and a password:
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

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. There is nothing to
// set: a matcher is all that the directive takes.
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
	found := operator.Pools()
	if f := represent.Choose(r); f == represent.JSON || f == represent.Problem { // fetch takes anything
		h.Set("Content-Type", "application/json")
		return json.NewEncoder(w).Encode(found)
	}
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, newView(found, time.Now())); err != nil {
		return caddyhttp.Error(http.StatusInternalServerError, err)
	}
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", "en")
	h.Set("Content-Security-Policy", policy)
	_, err := b.WriteTo(w)
	return err
}

//go:embed statuspage.html
var source string

//go:embed statuspage.css
var style string

//go:embed statuspage.js
var script string

// The style and the script are part of the template's own text: html/template writes
// them as they are, but for comments.
var pageTemplate = template.Must(template.New("statuspage").Parse(
	strings.NewReplacer("{{style}}", style, "{{script}}", script).Replace(source)))

// policy allows the style and the script, as the page has them, to the browser,
// and nothing else.
var policy = func() string {
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, newView(nil, time.Now())); err != nil {
		panic(err)
	}
	return fmt.Sprintf("default-src 'none'; style-src %s; script-src %s; connect-src 'self'; img-src data:; "+
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'", hashOf(b.String(), "style"), hashOf(b.String(), "script"))
}()

// hashOf is a source expression of Content-Security-Policy for the one element of a
// page with a name.
func hashOf(page, name string) string {
	_, rest, _ := strings.Cut(page, "<"+name+">")
	content, _, _ := strings.Cut(rest, "</"+name+">")
	sum := sha256.Sum256([]byte(content))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// Interface guards
var (
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
	_ caddyfile.Unmarshaler       = (*Handler)(nil)
)
