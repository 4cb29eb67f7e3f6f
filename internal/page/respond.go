package page

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/healthpool/caddy-healthpool/internal/represent"
)

// Respond answers r with n in the given format, with the page that is built
// in. It must be the first to write to w.
func Respond(w http.ResponseWriter, r *http.Request, format represent.Format, n Notice) {
	_ = (*Template)(nil).Respond(w, r, format, n) // only an owner's template can fail
}

// Respond answers r with n in the given format: the true status for every
// method, whatever the request says of ranges and conditions. It must be the
// first to write to w. An error means that the owner's template failed: the
// client got the built-in page instead, and the owner should be told.
func (t *Template) Respond(w http.ResponseWriter, r *http.Request, format represent.Format, n Notice) error {
	n = n.normal()
	b := buffers.Get().(*bytes.Buffer)
	defer release(b)
	contentType, csp, err := t.render(b, r.Method, format, n)

	h := w.Header()
	setHeaders(h, n.RetryAfter, b.Len())
	setType(h, contentType, csp)
	w.WriteHeader(n.Status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(b.Bytes()) // fails only if the client has left
	}
	return err
}

// render writes the body into b before anything is sent, so that a template
// that fails half-way leaves no half page.
func (t *Template) render(b *bytes.Buffer, method string, format represent.Format, n Notice) (contentType, csp string, err error) {
	switch format {
	case represent.Bare:
		return "", "", nil
	case represent.Problem:
		return "application/problem+json", "", writeProblem(b, n, method)
	case represent.JSON:
		return "application/json", "", writeProblem(b, n, method)
	case represent.HTML:
		csp, err = t.renderPage(b, method, n)
		return "text/html; charset=utf-8", csp, err
	default:
		writeText(b, n, method)
		return "text/plain; charset=utf-8", "", nil
	}
}

// renderPage writes the owner's page, or else the built-in one, and returns
// the policy to send with it.
func (t *Template) renderPage(b *bytes.Buffer, method string, n Notice) (csp string, err error) {
	if t != nil {
		if err = t.write(b, n); err == nil {
			return "", nil // what the owner's page loads is the owner's business
		}
		b.Reset()
	}
	if fail := builtIn.Execute(b, newView(n, isForm(method), &english)); fail != nil {
		panic(fail) // it has no branch that the tests don't execute
	}
	if n.Poll == "" {
		return policy, err
	}
	return policyScript, err
}

// stale is what an earlier handler may have said of a body that is not sent
// now, or of how long to keep it.
var stale = [...]string{
	"Accept-Ranges", "Age", "Cdn-Cache-Control", "Content-Digest", "Content-Disposition",
	"Content-Encoding", "Content-Location", "Content-Md5", "Content-Range", "Digest", "Etag",
	"Expires", "Last-Modified", "Location", "Pragma", "Refresh", "Repr-Digest", "Retry-After",
	"Surrogate-Control", "Trailer", "Transfer-Encoding",
}

// setHeaders sets what every format has, over whatever was there.
func setHeaders(h http.Header, retryAfter, length int) {
	for _, name := range stale {
		delete(h, name)
	}
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Language", english.Lang)
	h.Set("Content-Length", strconv.Itoa(length))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Robots-Tag", "noindex")
	if retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(retryAfter))
	}
	vary(h, "Accept", "Accept-Language", "Sec-Fetch-Dest")
}

// setType sets what depends on the format.
func setType(h http.Header, contentType, csp string) {
	if contentType == "" {
		delete(h, "Content-Type")
		return
	}
	h.Set("Content-Type", contentType)
	h.Set("Referrer-Policy", "same-origin")
	if csp != "" {
		h.Set("Content-Security-Policy", csp)
	}
}

// vary adds names to those that the response varies by already.
func vary(h http.Header, names ...string) {
	there := strings.Join(h["Vary"], ", ")
	for _, name := range names {
		if !varies(there, name) {
			there += ", " + name
		}
	}
	h.Set("Vary", strings.TrimPrefix(there, ", "))
}

// varies tells whether the value of a Vary header has name, or "*", which
// stands for every name.
func varies(value, name string) bool {
	for part := range strings.SplitSeq(value, ",") {
		part = strings.TrimSpace(part)
		if part == "*" || strings.EqualFold(part, name) {
			return true
		}
	}
	return false
}

// buffers hold bodies while they are rendered: in an outage every request
// needs one.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// maxKept keeps one huge page of an owner's from staying in memory for ever.
const maxKept = 64 << 10

func release(b *bytes.Buffer) {
	if b.Cap() <= maxKept {
		b.Reset()
		buffers.Put(b)
	}
}
