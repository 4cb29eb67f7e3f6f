package page

import (
	"bytes"
	"html/template"
	"sync"

	"github.com/healthpool/caddy-healthpool/internal/cause"
	"github.com/healthpool/caddy-healthpool/internal/page/words"
)

// Page answers the clients of one handler.
type Page struct {
	options Options
	links   []safeLink
	// logo and linksMarkup are the same on every page, so skeletons do not repeat them.
	logo, linksMarkup string

	tags    []string
	chooser *words.Chooser
	words   []func() words.Words // by index of tags; read when first needed

	style                            string
	policy, policyPoll, policyResend string
	proxyStatus                      map[cause.Cause]string
	byOrigin                         bool // responses differ by the Origin of requests

	own *ownTemplate // nil for the built-in page

	// skeletons caches the pages that were needed so far: shape to []piece.
	skeletons sync.Map
}

// New prepares a page with these options. It reads the files that they name, so that mistakes
// show when the config is loaded and not in an outage.
func New(o Options) (*Page, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	p := &Page{
		options: o, links: safeLinks(o.Links), tags: o.languages(),
		style: style + accent(o.Color), proxyStatus: proxyStatuses(o.ProxyStatus), byOrigin: o.listsOrigins(),
	}
	p.options.Message = oneLine(o.Message)
	p.chooser = words.NewChooser(p.tags)
	for _, tag := range p.tags {
		p.words = append(p.words, sync.OnceValue(func() words.Words { return o.words(tag) }))
	}
	p.linksMarkup = markup(linksMarkup, p.links)
	if err := p.readFiles(); err != nil {
		return nil, err
	}
	p.policy, p.policyPoll, p.policyResend = policy(p.style, false, false), policy(p.style, true, false), policy(p.style, true, true)
	return p, nil
}

func (p *Page) readFiles() (err error) {
	if p.options.Logo != "" {
		p.style += logoStyle
		if p.logo, err = readLogo(p.options.Logo); err != nil {
			return err
		}
	}
	if p.options.Template != "" {
		p.own, err = p.readTemplate(p.options.Template)
	}
	return err
}

var linksMarkup = template.Must(template.New("links").Parse(`{{range .}}<a href="{{.URL}}"><bdi>{{.Label}}</bdi></a>{{end}}`))

// markup executes one of the built-in templates. They cannot fail: tests execute every branch.
func markup(t *template.Template, data any) string {
	var b bytes.Buffer
	if err := t.Execute(&b, data); err != nil {
		panic(err)
	}
	return b.String()
}

// Languages returns the tags of the languages that p has.
func (p *Page) Languages() []string { return p.tags }

// shape decides which sentences and which markup a page has. Pages of one shape differ only in
// what fills their slots.
type shape struct {
	lang                                int
	when                                when
	form, notSent, planned              bool
	service, message, reference, polled bool
	after                               bool
}

// when is the kind of sentence that says when to come back.
type when int

const (
	whenUnknown when = iota
	whenMoment
	whenSeconds
	whenUntil
	whenLong
)

func shapeOf(n *Notice, form bool, lang int) shape {
	return shape{
		lang: lang, when: n.when(), form: form, notSent: form && n.Fate == cause.NotSent, planned: n.Planned,
		service: n.service != "", message: n.Message != "", reference: n.Reference != "",
		polled: n.Poll != "", after: n.RetryAfter > 0,
	}
}

// when chooses the sentence that says when to come back. It is as precise as we know and as
// visitors can use.
func (n *Notice) when() when {
	const little = 5 // seconds
	switch {
	case !n.Until.IsZero():
		return whenUntil
	case n.Long:
		return whenLong
	case n.RetryAfter == 0:
		return whenUnknown
	case n.RetryAfter < little:
		return whenMoment
	}
	return whenSeconds
}

// write writes the built-in page into b.
func (p *Page) write(b *bytes.Buffer, n *Notice, form bool, lang int) {
	s := shapeOf(n, form, lang)
	var skeleton []piece
	if known, ok := p.skeletons.Load(s); ok {
		skeleton = known.([]piece)
	} else {
		skeleton = p.skeleton(s)
		p.skeletons.Store(s, skeleton)
	}
	for _, piece := range skeleton {
		b.WriteString(piece.text)
		p.fill(b, piece.slot, n)
	}
}
