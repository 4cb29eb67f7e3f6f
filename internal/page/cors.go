package page

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// anyOrigin allows every origin in Access-Control-Allow-Origin.
const anyOrigin = "*"

// listsOrigins reports whether CORS allows some origins and not others.
func (o *Options) listsOrigins() bool {
	return slices.ContainsFunc(o.CORS, func(origin string) bool { return origin != anyOrigin })
}

func checkOrigin(origin string) error {
	u, err := url.Parse(origin)
	if origin == anyOrigin || err == nil && origin == u.Scheme+"://"+u.Host && u.Host != "" && !strings.Contains(u.Host, "*") && (u.Scheme == "https" || u.Scheme == "http") {
		return nil
	}
	return fmt.Errorf("cors: must be an origin such as https://app.example.com, without a path, or *, got %q", origin)
}

// exposed are the response headers that scripts of other origins may read.
const exposed = "Retry-After, Proxy-Status, Grpc-Status, Grpc-Message, Grpc-Status-Details-Bin"

// setCORS allows the origin of r to read the response, if the owner does, and reports
// whether it did (Fetch standard, §3.2).
func (p *Page) setCORS(h http.Header, r *http.Request) (allowed bool) {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return false
	}
	switch {
	case slices.ContainsFunc(p.options.CORS, func(o string) bool { return strings.EqualFold(o, origin) }):
		h.Set("Access-Control-Allow-Credentials", "true")
	case slices.Contains(p.options.CORS, anyOrigin):
		origin = anyOrigin
	default:
		return false
	}
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Expose-Headers", exposed)
	return true
}

// isFromOtherOrigin reports whether a page of another origin made the browser send r. Its
// scripts may be able to read the response, by our cors or by headers of other handlers, and
// they are not the person at the browser.
func isFromOtherOrigin(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	_, host, _ := strings.Cut(origin, "://")
	return origin != "" && !strings.EqualFold(host, r.Host)
}

// isPreflight reports whether a browser asks by r if it may send another request.
func isPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != ""
}

// respondToPreflight lets the browser send the actual request. If the preflight failed, the
// outage would look like a mistake in the app's use of CORS.
func (p *Page) respondToPreflight(w http.ResponseWriter, r *http.Request) {
	const most = 3
	s := begin(w.Header(), p.byOrigin, most)
	s.set("Access-Control-Allow-Methods", r.Header.Get("Access-Control-Request-Method"))
	if headers := r.Header.Get("Access-Control-Request-Headers"); headers != "" {
		s.set("Access-Control-Allow-Headers", headers)
	}
	s.set("Access-Control-Max-Age", "0") // the app's own rules may differ
	w.WriteHeader(http.StatusNoContent)
}
