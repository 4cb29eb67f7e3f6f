package page

import (
	"bytes"
	"html/template"
	"sync"

	"github.com/healthpool/caddy-healthpool/internal/cause"
	"github.com/healthpool/caddy-healthpool/internal/page/words"
)

// Page is what the clients of one handler are answered with.
type Page struct {
	options Options
	links   []safeLink
	// logo and linksMarkup are the same in every page, and not kept in each.
	logo, linksMarkup string

	tags    []string
	chooser *words.Chooser
	words   []func() words.Words // by index of tags; each is read when it is needed

	style                            string
	policy, policyPoll, policyResend string
	proxyStatus                      map[cause.Cause]string
	byOrigin                         bool // responses differ by the Origin of requests

	own *ownTemplate // nil for the built-in page

	// skeletons are the pages that were needed so far: from shape to skeleton.
	skeletons sync.Map
}

// New makes ready what the options say. It reads the files they name, so that
// what is wrong with one shows now and not in an outage.
func New(o Options) (*Page, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	p := &Page{options: o, links: safeLinks(o.Links), tags: o.languages(), proxyStatus: proxyStatuses(o.ProxyStatus), byOrigin: o.listsOrigins()}
	p.options.Message = oneLine(o.Message)
	p.chooser = words.NewChooser(p.tags)
	for _, tag := range p.tags {
		p.words = append(p.words, sync.OnceValue(func() words.Words { return o.words(tag) }))
	}
	p.style = style + accent(o.Color)
	if o.Logo != "" {
		p.style += logoStyle
	}
	p.policy, p.policyPoll, p.policyResend = policy(p.style, false, false), policy(p.style, true, false), policy(p.style, true, true)
	p.linksMarkup = markup(linksMarkup, p.links)
	var err error
	if o.Logo != "" {
		if p.logo, err = readLogo(o.Logo); err != nil {
			return nil, err
		}
	}
	if o.Template != "" {
		if p.own, err = p.readTemplate(o.Template); err != nil {
			return nil, err
		}
	}
	return p, nil
}

var linksMarkup = template.Must(template.New("links").Parse(`{{range .}}<a href="{{.URL}}"><bdi>{{.Label}}</bdi></a>{{end}}`))

// markup executes one of our own templates, which have no way to fail.
func markup(t *template.Template, data any) string {
	var b bytes.Buffer
	if err := t.Execute(&b, data); err != nil {
		panic(err) // it has no branch that the tests don't execute
	}
	return b.String()
}

// Languages are the tags of the languages that p has.
func (p *Page) Languages() []string { return p.tags }

// shape is what decides which sentences and which markup a page has. Pages of one
// shape differ only in what is put into their slots.
type shape struct {
	lang, when                          int
	form, notSent, planned              bool
	service, message, reference, polled bool
	after                               bool
}

// Sentences on when to come back.
const (
	whenever = iota
	moment
	seconds
	until
	long
)

func shapeOf(n *Notice, form bool, lang int) shape {
	return shape{
		lang: lang, when: n.when(), form: form, notSent: form && n.Fate == cause.NotSent, planned: n.Planned,
		service: n.service != "", message: n.Message != "", reference: n.Reference != "",
		polled: n.Poll != "", after: n.RetryAfter > 0,
	}
}

// when chooses the sentence on when to come back: as exact as is known, but no
// more than is of use.
func (n *Notice) when() int {
	const little = 5 // seconds
	switch {
	case !n.Until.IsZero():
		return until
	case n.Long:
		return long
	case n.RetryAfter == 0:
		return whenever
	case n.RetryAfter < little:
		return moment
	}
	return seconds
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
