package page

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/healthpool/caddy-healthpool/internal/cause"
	"github.com/healthpool/caddy-healthpool/internal/represent"
)

// notice is a full one, as the tests want it unless they say otherwise.
func notice() Notice {
	return Notice{
		Status:     503,
		Cause:      cause.DestinationUnavailable,
		Fate:       cause.NotSent,
		Reference:  "7QX4-M2KD",
		RetryAfter: 30,
		Service:    "example.com",
		Message:    "We are moving to a new house.",
		Links:      []Link{{"Status page", "https://status.example.com/?a=1&b=2"}, {"Call us", "tel:+15550100"}},
		Poll:       "Zm9vYmFy",
	}
}

// answer is what a client of the built-in page gets.
func answer(method string, format represent.Format, n Notice) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	Respond(w, httptest.NewRequest(method, "/cart?secret=1", nil), format, n)
	return w
}

// html is the built-in page.
func html(method string, n Notice) string {
	return answer(method, represent.HTML, n).Body.String()
}

func mustHave(t *testing.T, body string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(body, part) {
			t.Errorf("%q is missing in:\n%s", part, body)
		}
	}
}

func mustNotHave(t *testing.T, body string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if strings.Contains(body, part) {
			t.Errorf("%q must not be in:\n%s", part, body)
		}
	}
}

func TestPageSays(t *testing.T) {
	body := html(http.MethodGet, notice())
	mustHave(t, body,
		`<html lang="en" dir="ltr">`,
		"<title>Sorry, this page is not available right now – example.com</title>",
		"<h1>Sorry, this page is not available right now</h1>",
		"<bdi>example.com</bdi>",
		"It is not your fault",
		"<bdi>We are moving to a new house.</bdi>",
		`<a href="https://status.example.com/?a=1&amp;b=2"><bdi>Status page</bdi></a>`,
		`<a href="tel:&#43;15550100"><bdi>Call us</bdi></a>`,
		`<p role="status">Please come back in about 30 seconds.</p>`,
		`<code dir="ltr">7QX4-M2KD</code>`,
		`data-poll="Zm9vYmFy"`,
		`data-after="30"`,
	)
	// Nothing was sent, so nothing is said of it, and no jargon.
	mustNotHave(t, body, "What you sent", "data-form", "destination_unavailable", "upstream", "proxy", "503", "secret", "cart")
	for _, tag := range []string{"<h1", "<main", "<title"} {
		if n := strings.Count(body, tag); n != 1 {
			t.Errorf("%d of %s", n, tag)
		}
	}
}

func TestPageOfForm(t *testing.T) {
	for fate, says := range map[cause.Fate][]string{
		cause.NotSent: {"did not get through", "safe to send it again", "Go back to your form"},
		cause.Unknown: {"can’t tell whether", "check before you send it again: you may", `data-back="The site is back. Please check before`},
		"":            {"can’t tell whether"},
	} {
		for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
			t.Run(method+" "+string(fate), func(t *testing.T) {
				n := notice()
				n.Fate = fate
				body := html(method, n)
				mustHave(t, body, says...)
				mustHave(t, body, " data-form ", `<a class="go" href="" hidden>Open this page</a>`)
				mustNotHave(t, body, "<form", "Try again", "open here")
			})
		}
	}
}

func TestPageWithoutPoll(t *testing.T) {
	n := notice()
	n.Poll = ""
	mustNotHave(t, html(http.MethodGet, n), "<script", "<button", "data-", "keep this page open")
}

// TestPageLeastOf: what isn't known leaves no trace.
func TestPageLeastOf(t *testing.T) {
	body := html(http.MethodGet, Notice{Status: 502})
	mustNotHave(t, body, "<bdi>", "footer>", "–", "Reference", "seconds")
	mustHave(t, body, "Please come back a little later.")
}

func TestPageWhen(t *testing.T) {
	for seconds, want := range map[int]string{
		-1: "a little later.", 0: "a little later.", 1: "in a moment.", 5: "in about 5 seconds.", 119: "in about 119 seconds.",
		120: "in about 2 minutes.", 121: "in about 3 minutes.", 7199: "in about 120 minutes.", 7200: "in about 2 hours.",
	} {
		if got := english.when(seconds); !strings.HasSuffix(got, want) {
			t.Errorf("%d: got %q, want …%q", seconds, got, want)
		}
	}
}

var hostile = []string{
	`<script>alert(1)</script>`,
	`"><img src=x onerror=alert(1)>`,
	`' onmouseover='alert(1)`,
	`</title></style></script><b>`,
	"\u202egnirts\u2066\u2028\u2029\x00\x1b[2J\r\nSet-Cookie: a=b",
	"\xff\xfe{{.Poll}}",
}

func TestPageEscapes(t *testing.T) {
	for _, bad := range hostile {
		n := notice()
		n.Service, n.Message, n.Reference, n.Poll, n.Cause = bad, bad, bad, bad, cause.Cause(bad)
		n.Links = []Link{{bad, "https://example.com/" + bad}, {bad, bad}}
		for _, method := range []string{"GET", "POST"} {
			body := html(method, n)
			rest := strings.NewReplacer("<script>"+script+"</script>", "", "<style>"+style+"</style>", "").Replace(body)
			mustNotHave(t, rest, "<script", "</script", "<style", "<img", "<b>", "onmouseover='", "\u202e", "\u2066", "\u2028", "\x1b")
			if strings.Count(body, "<script>"+script+"</script>") != 1 {
				t.Errorf("script is not what its hash is of, for %q", bad)
			}
		}
	}
}

func TestPageRefusesLinks(t *testing.T) {
	n := notice()
	n.Links = []Link{
		{"a", "javascript:alert(1)"},
		{"b", "JaVaScRiPt:alert(1)"},
		{"c", " javascript:alert(1)"},
		{"d", "java\nscript:alert(1)"},
		{"e", "data:text/html,x"},
		{"f", "//evil.example"},
		{"g", "/relative"},
		{"h", "vbscript:x"},
		{"good", "mailto:help@example.com"},
	}
	for _, format := range []represent.Format{represent.HTML, represent.Text} {
		body := answer(http.MethodGet, format, n).Body.String()
		mustHave(t, body, "mailto:help@example.com")
		mustNotHave(t, strings.ToLower(body), "script:", "data:text", "evil", "relative")
	}
}

// TestPageSize: with everything in it but the owner's own words, the page fits
// into 2 KiB.
func TestPageSize(t *testing.T) {
	for _, method := range []string{"GET", "POST"} {
		for _, fate := range []cause.Fate{cause.NotSent, cause.Unknown} {
			n := notice()
			n.Fate, n.Service, n.Poll = fate, "www.some-longer-name.example.com", "q83vEjRWeJCrze8SNFZ4kKvN"
			var z bytes.Buffer
			w, _ := gzip.NewWriterLevel(&z, gzip.BestCompression)
			_, _ = w.Write([]byte(html(method, n)))
			_ = w.Close()
			t.Logf("%s %s: %d bytes", method, fate, z.Len())
			if z.Len() > 2048 {
				t.Errorf("%s %s: %d bytes gzipped, want at most 2048", method, fate, z.Len())
			}
		}
	}
}

// TestPagePolicy: the policy allows exactly the bytes that the page has.
func TestPagePolicy(t *testing.T) {
	for _, poll := range []string{"token", ""} {
		n := notice()
		n.Poll = poll
		w := answer(http.MethodGet, represent.HTML, n)
		csp, body := w.Header().Get("Content-Security-Policy"), w.Body.String()
		mustHave(t, csp, "default-src 'none'", "base-uri 'none'", "form-action 'none'", "img-src data:")
		mustNotHave(t, csp, "unsafe", "*", "http")
		for _, tag := range []string{"style", "script"} {
			content := regexp.MustCompile("(?s)<" + tag + ">(.*?)</" + tag + ">").FindStringSubmatch(body)
			if content == nil {
				if poll != "" || tag == "style" {
					t.Errorf("no %s", tag)
				}
				mustNotHave(t, csp, tag+"-src", "connect-src")
				continue
			}
			mustHave(t, csp, tag+"-src "+hash(content[1]))
		}
		mustNotHave(t, strings.ReplaceAll(body, script, ""), "style=", "onclick=", "onload=", "http-equiv", "<link rel=\"stylesheet")
	}
}
