package page

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/dunglas/httpsfv"

	"github.com/healthpool/caddy-healthpool/internal/cause"
)

// varies are the request headers that an answer depends on. Without origins that
// are told apart, Origin is none of them.
var varies = []string{"Accept", "Accept-Language", "Sec-Fetch-Dest"}

const usualVary = "Accept, Accept-Language, Sec-Fetch-Dest"

// vary adds to what the response varies by already.
func (p *Page) vary(there []string) string {
	tellsApart := slices.ContainsFunc(p.options.CORS, func(o string) bool { return o != anyOrigin })
	if len(there) == 0 && !tellsApart {
		return usualVary
	}
	all := strings.Join(there, ", ")
	names := varies
	if tellsApart {
		names = append(slices.Clone(varies), "Origin")
	}
	for _, name := range names {
		if !hasName(all, name) {
			all += ", " + name
		}
	}
	return strings.TrimPrefix(all, ", ")
}

// hasName tells whether the value of a Vary header has name, or "*", which stands
// for every name.
func hasName(value, name string) bool {
	for part := range strings.SplitSeq(value, ",") {
		part = strings.TrimSpace(part)
		if part == "*" || strings.EqualFold(part, name) {
			return true
		}
	}
	return false
}

// anyOrigin is the wildcard of Access-Control-Allow-Origin.
const anyOrigin = "*"

func checkOrigin(origin string) error {
	u, err := url.Parse(origin)
	if origin == anyOrigin || err == nil && origin == u.Scheme+"://"+u.Host && u.Host != "" && !strings.Contains(u.Host, "*") && (u.Scheme == "https" || u.Scheme == "http") {
		return nil
	}
	return fmt.Errorf("cors: must be an origin such as https://app.example.com, without a path, or *, got %q", origin)
}

// exposed are the response headers that scripts of other origins may read.
const exposed = "Retry-After, Proxy-Status, Grpc-Status, Grpc-Message, Grpc-Status-Details-Bin"

// setCORS lets the origin of r read the answer, if the owner does (Fetch, §3.2). It
// reports whether r was a preflight that is answered with that: to fail it would
// look to the page like a mistake of its own, and hide the outage.
func (p *Page) setCORS(h http.Header, r *http.Request) (preflight bool) {
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
	method := r.Header.Get("Access-Control-Request-Method")
	if r.Method != http.MethodOptions || method == "" {
		return false
	}
	const most = 5
	s := p.begin(h, most)
	s.set("Access-Control-Allow-Methods", method)
	if headers := r.Header.Get("Access-Control-Request-Headers"); headers != "" {
		s.set("Access-Control-Allow-Headers", headers)
	}
	s.set("Access-Control-Max-Age", "0") // the app's own answer may differ
	return true
}

// checkName checks the name of a proxy in Proxy-Status.
func checkName(name string) error {
	if _, err := proxyStatus(name, cause.DestinationUnavailable); name != "" && err != nil {
		return fmt.Errorf("proxy_status: must be printable ASCII, got %q", name)
	}
	return nil
}

// proxyStatuses are the values of Proxy-Status, by cause; none without a name.
func proxyStatuses(name string) map[cause.Cause]string {
	if name == "" {
		return nil
	}
	statuses := make(map[cause.Cause]string)
	for _, c := range cause.All() {
		statuses[c], _ = proxyStatus(name, c) // Validate has tried it
	}
	return statuses
}

// proxyStatus is the value of Proxy-Status (RFC 9209 §2): the name, as a token if
// it is one, and the error.
func proxyStatus(name string, c cause.Cause) (string, error) {
	for _, bare := range []any{httpsfv.Token(name), name} {
		item := httpsfv.NewItem(bare)
		item.Params.Add("error", httpsfv.Token(c))
		if value, err := httpsfv.Marshal(httpsfv.List{item}); err == nil {
			return value, nil
		}
	}
	return "", fmt.Errorf("no structured field: %q", name)
}
