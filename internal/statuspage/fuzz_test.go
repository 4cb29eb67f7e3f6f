package statuspage

import (
	"slices"
	"strings"
	"testing"
	"time"

	nethtml "golang.org/x/net/html"

	"github.com/healthpool/caddy-healthpool/internal/cause"
	"github.com/healthpool/caddy-healthpool/internal/intent"
	"github.com/healthpool/caddy-healthpool/internal/pool"
)

// FuzzPage: whatever text comes from upstreams, sources or operators, the page has the same
// elements and attributes.
func FuzzPage(f *testing.F) {
	for _, text := range []string{
		"plain", "", `<script>alert(1)</script>`, `" onmouseover="alert(1)`, `javascript:alert(1)`, `</code></title></style>`, "\x00\x1b[2J\r\n", "\xff\u202e{{.Title}}", "a#b/c?d&amp;",
	} {
		f.Add(text, text, text, text, text)
		f.Add("shop", "app:1", text, "", text)
	}
	f.Fuzz(func(t *testing.T, name, address, detail, message, history string) {
		got := outline(page(t, name, address, detail, message, history))
		if want := outline(page(t, "a", "a", harmless(detail), harmless(message), history)); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// harmless returns a harmless text in place of a text, and none in place of none.
func harmless(text string) string {
	if text == "" {
		return ""
	}
	return "a"
}

// page is a page that shows these texts in every place.
func page(t *testing.T, name, address, detail, message, history string) string {
	t.Helper()
	return render(t, pool.Status{
		Name: name, State: pool.InMaintenance, Since: tonight, Maintenance: &intent.Maintenance{Message: message, Until: tonight.Add(time.Hour)},
		Upstreams: []pool.UpstreamStatus{upstream(func(u *pool.UpstreamStatus) {
			u.Address, u.State, u.Cause, u.Detail, u.History = address, "unhealthy", cause.UnexpectedBody, detail, history
		})},
	})
}

// outline is the elements of a page, with the names of their attributes.
func outline(page string) (found []string) {
	tokens := nethtml.NewTokenizer(strings.NewReader(page))
	for {
		kind := tokens.Next()
		token := tokens.Token()
		switch kind {
		case nethtml.ErrorToken:
			return found
		case nethtml.StartTagToken, nethtml.EndTagToken, nethtml.SelfClosingTagToken:
			tag := token.Data
			for _, a := range token.Attr {
				tag += " " + a.Key
			}
			found = append(found, tag)
		case nethtml.CommentToken:
			found = append(found, "comment")
		default:
		}
	}
}
