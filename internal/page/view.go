package page

import (
	"html/template"

	"github.com/healthpool/caddy-healthpool/internal/cause"
)

// templateData is what an owner's template can use. The names are promised to
// owners.
type templateData struct {
	Title      string
	Status     int
	Cause      string
	Fate       string
	Reference  string
	RetryAfter int
	Service    string
	Message    string
	Links      []templateLink
	Lang       string
	Dir        string
	Poll       string
}

// templateLink is a Link whose scheme was checked: html/template by itself
// would refuse tel.
type templateLink struct {
	Label string
	URL   template.URL
}

// view is what the built-in page shows.
type view struct {
	Words *words
	Form  bool // something was sent; reloading would send it again

	Service, Message, Reference, Poll string
	RetryAfter                        int
	Links                             []templateLink

	Fate     string
	When     string
	Watching string
	Back     string
	Action   string
}

// newView chooses the sentences for n.
func newView(n Notice, form bool, w *words) *view {
	v := &view{
		Words: w, Form: form,
		Service: n.Service, Message: n.Message, Reference: n.Reference, Poll: n.Poll,
		RetryAfter: n.RetryAfter,
		Links:      templateLinks(n),
		When:       w.when(n.RetryAfter),
		Watching:   w.Watching,
		Back:       w.Back,
		Action:     w.Retry,
	}
	if form {
		v.Fate = w.fate(n.Fate)
		v.Watching, v.Back, v.Action = w.WatchingForm, w.BackForm, w.Open
		if n.Fate != cause.NotSent {
			v.Back = w.BackCheck
		}
	}
	return v
}

// newTemplateData is n as an owner's template sees it.
func newTemplateData(n Notice, w *words) *templateData {
	return &templateData{
		Title: w.Title, Status: n.Status, Cause: string(n.Cause), Fate: string(n.Fate),
		Reference: n.Reference, RetryAfter: n.RetryAfter, Service: n.Service, Message: n.Message,
		Links: templateLinks(n), Lang: w.Lang, Dir: w.Dir, Poll: n.Poll,
	}
}

func templateLinks(n Notice) []templateLink {
	var links []templateLink
	for _, l := range n.Links {
		if isSafe(l) {
			links = append(links, templateLink{oneLine(l.Label), template.URL(l.URL)}) //nolint:gosec // isSafe has looked at it
		}
	}
	return links
}
