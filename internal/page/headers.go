package page

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/dunglas/httpsfv"

	"github.com/healthpool/caddy-healthpool/internal/cause"
)

// stale are headers that an earlier handler may have set about a body that is not sent now,
// or about how long to keep it.
var stale = [...]string{
	"Accept-Ranges", "Age", "Cdn-Cache-Control", "Content-Digest", "Content-Disposition",
	"Content-Encoding", "Content-Length", "Content-Location", "Content-Md5", "Content-Range", "Content-Type", "Digest", "Etag",
	"Expires", "Last-Modified", "Location", "Pragma", "Refresh", "Repr-Digest", "Retry-After",
	"Surrogate-Control", "Trailer", "Transfer-Encoding",
}

// headers sets headers whose values share one allocation.
type headers struct {
	header http.Header
	values []string
}

func (s *headers) set(name, value string) {
	s.values = append(s.values, value)
	n := len(s.values)
	s.header[name] = s.values[n-1 : n : n]
}

// begin sets the headers that every response has, and removes those that would be wrong for
// it. The caller may set up to more others.
func begin(h http.Header, byOrigin bool, more int) headers {
	const constant = 4
	for _, name := range stale {
		delete(h, name)
	}
	s := headers{h, make([]string, 0, constant+more)}
	s.set("Cache-Control", "no-store")
	s.set("Vary", vary(h["Vary"], byOrigin))
	s.set("X-Content-Type-Options", "nosniff")
	s.set("X-Robots-Tag", "noindex")
	return s
}

// varies are the request headers that a response depends on. Where CORS lists origins, it
// depends on Origin, too.
var varies = []string{"Accept", "Accept-Language", "Sec-Fetch-Dest"}

const usualVary = "Accept, Accept-Language, Sec-Fetch-Dest"

// vary adds to the names that the Vary header has already.
func vary(present []string, byOrigin bool) string {
	if len(present) == 0 && !byOrigin {
		return usualVary
	}
	all := strings.Join(present, ", ")
	names := varies
	if byOrigin {
		names = append(slices.Clone(varies), "Origin")
	}
	for _, name := range names {
		if !hasName(all, name) {
			all += ", " + name
		}
	}
	return strings.TrimPrefix(all, ", ")
}

// hasName reports whether the value of a Vary header has name, or "*", which stands for
// every name.
func hasName(value, name string) bool {
	for part := range strings.SplitSeq(value, ",") {
		part = strings.TrimSpace(part)
		if part == "*" || strings.EqualFold(part, name) {
			return true
		}
	}
	return false
}

// checkName checks the name of this proxy in Proxy-Status.
func checkName(name string) error {
	if _, err := proxyStatus(name, cause.DestinationUnavailable); name != "" && err != nil {
		return fmt.Errorf("proxy_status: must be printable ASCII, got %q", name)
	}
	return nil
}

// proxyStatuses returns the value of Proxy-Status for each cause, or nil if the proxy has no
// name.
func proxyStatuses(name string) map[cause.Cause]string {
	if name == "" {
		return nil
	}
	statuses := make(map[cause.Cause]string)
	for _, c := range cause.All() {
		statuses[c], _ = proxyStatus(name, c) // Validate has checked the name
	}
	return statuses
}

// proxyStatus returns the value of Proxy-Status (RFC 9209 §2): the name, as a token if it can
// be one and else as a string, and the error.
func proxyStatus(name string, c cause.Cause) (string, error) {
	for _, bare := range []any{httpsfv.Token(name), name} {
		item := httpsfv.NewItem(bare)
		item.Params.Add("error", httpsfv.Token(c))
		if value, err := httpsfv.Marshal(httpsfv.List{item}); err == nil {
			return value, nil
		}
	}
	return "", fmt.Errorf("not a structured field: %q", name)
}
