package page

import (
	"bytes"
	"net/http"
	"testing"

	"github.com/healthpool/caddy-healthpool/internal/represent"
)

// renders are pages that differ in what they cost to render.
var renders = []pageCase{
	{"GET", "GET", func(*Notice) {}, ""},
	{"POST", "POST", func(*Notice) {}, ""},
	{"until", "GET", func(n *Notice) { n.RetryAfter = 600 }, ""},
}

// rendering returns a function that renders a page into the same buffer each time.
func (v pageCase) rendering() func() *bytes.Buffer {
	n := notice()
	v.change(&n)
	n = fullPage.normal(n, ask(v.method))
	b := new(bytes.Buffer)
	return func() *bytes.Buffer {
		b.Reset()
		fullPage.write(b, &n, isForm(v.method), 0)
		return b
	}
}

// TestPageAllocations: in an outage every visitor needs a page, so a page may allocate next to
// nothing.
func TestPageAllocations(t *testing.T) {
	const most = 2
	for _, v := range renders {
		render := v.rendering()
		if got := testing.AllocsPerRun(200, func() { render() }); got > most {
			t.Errorf("%s: %v allocations, want at most %d", v.name, got, most)
		}
	}
}

func BenchmarkPage(b *testing.B) {
	for _, v := range renders {
		b.Run(v.name, func(b *testing.B) {
			render := v.rendering()
			b.SetBytes(int64(render().Len()))
			b.ReportAllocs()
			for b.Loop() {
				render()
			}
		})
	}
}

// BenchmarkColdPage is of a page whose shape is needed for the first time.
func BenchmarkColdPage(b *testing.B) {
	p := newPage(b, options())
	n := p.normal(notice(), ask(http.MethodGet))
	var buffer bytes.Buffer
	b.ReportAllocs()
	for b.Loop() {
		buffer.Reset()
		p.skeletons.Clear()
		p.write(&buffer, &n, false, 0)
	}
}

func BenchmarkRespond(b *testing.B) {
	for _, format := range represent.All() {
		b.Run(string(format), func(b *testing.B) {
			r := ask(http.MethodGet, "Content-Type", grpcType, "Accept-Language", "en-GB,en;q=0.9,de;q=0.8")
			w := &discard{http.Header{}}
			n := notice()
			b.ReportAllocs()
			for b.Loop() {
				if err := fullPage.Respond(w, r, format, n); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkNew is what a reload of the config costs.
func BenchmarkNew(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := New(options()); err != nil {
			b.Fatal(err)
		}
	}
}

// discard is a ResponseWriter that allocates nothing.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(int)             {}
