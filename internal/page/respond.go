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

// Respond answers r with n in the given format. It ignores range and conditional headers, and
// must be the first to write to w. An error means that the owner's template failed: the
// client got the built-in page instead, and the owner should be told.
func (p *Page) Respond(w http.ResponseWriter, r *http.Request, format represent.Format, n Notice) error {
	h := w.Header()
	if p.setCORS(h, r) && isPreflight(r) {
		p.respondToPreflight(w, r)
		return nil
	}
	if isFromOtherOrigin(r) {
		n.Details = nil
	}
	n = p.normal(n, r)
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

// RespondToPoll answers a page that asks whether the site is up, and tells it to come back,
// or to ask again, after so many seconds.
func RespondToPoll(w http.ResponseWriter, up bool, after int) {
	const byOrigin, most = false, 1 // a page polls its own origin
	s := begin(w.Header(), byOrigin, most)
	s.set("Retry-After", strconv.Itoa(after))
	if up {
		w.WriteHeader(http.StatusNoContent)
	} else {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

// body describes a rendered body. Policy is its Content-Security-Policy.
type body struct {
	status                    int
	contentType, lang, policy string
	// rpc are headers that carry a gRPC error, names and values in turn.
	rpc []string
}

// render writes the body into b before anything is sent, so that a failing template does
// not leave the client with half a page.
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

// renderPage writes the owner's page, or the built-in one if there is none or it fails.
func (p *Page) renderPage(b *bytes.Buffer, r *http.Request, n *Notice, out *body) (err error) {
	lang := p.chooser.Choose(r.Header["Accept-Language"])
	out.lang = p.tags[lang]
	if p.own != nil {
		if err = p.own.write(b, p.templateData(n, lang)); err == nil {
			return nil // without a policy: the owner's page may load what it likes
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

// buffers are reused to render bodies: in an outage every request needs one.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// maxKept is the size up to which a buffer is reused, so that one huge page does not stay in
// memory for good.
const maxKept = 64 << 10

func release(b *bytes.Buffer) {
	if b.Cap() <= maxKept {
		b.Reset()
		buffers.Put(b)
	}
}

// setHeaders sets the headers of every response, and those of its format.
func (p *Page) setHeaders(h http.Header, n *Notice, b body, length int) {
	const most = 7
	s := begin(h, p.byOrigin, most+len(b.rpc))
	s.set("Content-Language", b.lang)
	s.set("Content-Length", strconv.Itoa(length))
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
