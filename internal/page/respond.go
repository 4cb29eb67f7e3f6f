package page

import (
	"bytes"
	"net/http"
	"strconv"
	"sync"

	"github.com/healthpool/caddy-healthpool/internal/cause"
	"github.com/healthpool/caddy-healthpool/internal/page/words"
	"github.com/healthpool/caddy-healthpool/internal/represent"
)

// Respond answers r with n in the given format, whatever the request says of
// ranges and conditions. It must be the first to write to w. An error means that
// the owner's template failed: the client got the built-in page instead, and the
// owner should be told.
func (p *Page) Respond(w http.ResponseWriter, r *http.Request, format represent.Format, n Notice) error {
	n = p.normal(n, r)
	h := w.Header()
	if p.setCORS(h, r) {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	b := buffers.Get().(*bytes.Buffer)
	defer release(b)
	body, err := p.render(b, r, format, &n)
	p.setHeaders(h, &n, body, b.Len())
	w.WriteHeader(body.status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(b.Bytes()) // fails only if the client has left
	}
	return err
}

// body is what there is to know of a body that was rendered.
type body struct {
	status                    int
	contentType, lang, policy string
	// rpc are the headers that tell a gRPC client of a failure.
	rpc []string
}

// render writes the body into b before anything is sent, so that a template
// that fails half-way leaves no half page.
func (p *Page) render(b *bytes.Buffer, r *http.Request, format represent.Format, n *Notice) (body, error) {
	out := body{status: n.Status, lang: words.English}
	var err error
	switch format {
	case represent.HTML:
		out.contentType = "text/html; charset=utf-8"
		err = p.renderPage(b, r, n, &out)
	case represent.Problem, represent.JSON, represent.XML:
		out.contentType = "application/" + string(format)
		err = writeProblem(b, format, n, r.Method)
	case represent.Markdown:
		out.contentType = "text/markdown; charset=utf-8"
		p.writeMarkdown(b, n, r.Method)
	case represent.EventStream:
		out.status, out.contentType = http.StatusOK, "text/event-stream"
		writeEvents(b, n)
	case represent.GRPC, represent.GRPCWeb, represent.GRPCWebText, represent.Connect, represent.ConnectStream:
		renderRPC(b, r, format, n, &out)
	case represent.Bare:
	default:
		out.contentType = "text/plain; charset=utf-8"
		p.writeText(b, n, r.Method)
	}
	return out, err
}

// renderPage writes the owner's page, or else the built-in one.
func (p *Page) renderPage(b *bytes.Buffer, r *http.Request, n *Notice, out *body) (err error) {
	lang := p.chooser.Choose(r.Header["Accept-Language"])
	out.lang = p.tags[lang]
	if p.own != nil {
		if err = p.own.write(b, p.templateData(n, lang)); err == nil {
			return nil // without a policy: what the owner's page loads is the owner's business
		}
		b.Reset()
	}
	p.write(b, n, isForm(r.Method), lang)
	switch {
	case n.Poll == "":
		out.policy = p.policy
	case isForm(r.Method) && n.Fate == cause.NotSent:
		out.policy = p.policyResend
	default:
		out.policy = p.policyPoll
	}
	return err
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

// stale is what an earlier handler may have said of a body that is not sent
// now, or of how long to keep it.
var stale = [...]string{
	"Accept-Ranges", "Age", "Cdn-Cache-Control", "Content-Digest", "Content-Disposition",
	"Content-Encoding", "Content-Location", "Content-Md5", "Content-Range", "Content-Type", "Digest", "Etag",
	"Expires", "Last-Modified", "Location", "Pragma", "Refresh", "Repr-Digest", "Retry-After",
	"Surrogate-Control", "Trailer", "Transfer-Encoding",
}

// headers sets headers, with one piece of memory for the values of all.
type headers struct {
	header http.Header
	values []string
}

func (s *headers) set(name, value string) {
	s.values = append(s.values, value)
	n := len(s.values)
	s.header[name] = s.values[n-1 : n : n]
}

// begin sets what every answer has, over whatever was there; up to so many may be set.
func (p *Page) begin(h http.Header, most int) headers {
	for _, name := range stale {
		delete(h, name)
	}
	s := headers{h, make([]string, 0, most)}
	s.set("Cache-Control", "no-store")
	s.set("Vary", p.vary(h["Vary"]))
	return s
}

// setHeaders sets what every format has, and what this one has.
func (p *Page) setHeaders(h http.Header, n *Notice, b body, length int) {
	const most = 11
	s := p.begin(h, most+len(b.rpc))
	s.set("Content-Language", b.lang)
	s.set("Content-Length", strconv.Itoa(length))
	s.set("X-Content-Type-Options", "nosniff")
	s.set("X-Robots-Tag", "noindex")
	if n.RetryAfter > 0 {
		s.set("Retry-After", strconv.Itoa(n.RetryAfter))
	}
	if status := p.proxyStatus[n.Cause]; status != "" {
		s.set("Proxy-Status", status)
	}
	if b.contentType != "" {
		s.set("Content-Type", b.contentType)
		s.set("Referrer-Policy", "same-origin")
	}
	if b.policy != "" {
		s.set("Content-Security-Policy", b.policy)
	}
	for i := 0; i < len(b.rpc); i += 2 {
		s.set(b.rpc[i], b.rpc[i+1])
	}
}
