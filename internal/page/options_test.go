package page

import (
	"strings"
	"testing"
)

// TestOptionsRefused: an error begins with the option, and has the rule and the value.
func TestOptionsRefused(t *testing.T) {
	translate := func(tag, key, sentence string) Options {
		return Options{Translate: map[string]map[string]string{tag: {key: sentence}}}
	}
	for _, c := range []struct {
		name   string
		o      Options
		begins string
		has    string
	}{
		{"color", Options{Color: "blue"}, "color: must be", `"blue"`},
		{"label", Options{Links: []Link{{" ", "https://a.example"}}}, "link: must have a label", `"https://a.example"`},
		{"second link", Options{Links: []Link{{"a", "https://a.example"}, {"b", "/b"}}}, "link: must be an https, http, mailto or tel URL", `"/b"`},
		{"path", Options{CORS: []string{"https://a.example/"}}, "cors: must be an origin", `"https://a.example/"`},
		{"language", Options{Languages: []string{"de", "tlh"}}, "languages: must be one of ar, ", `"tlh"`},
		{"no language", Options{Languages: []string{""}}, "languages: must be one of", `""`},
		{"no tag", Options{Languages: []string{"de_/\n"}}, "languages: must be one of", `"de_/\n"`},
		{"twice", Options{Languages: []string{"de", "en", "DE-ch"}}, "languages: must name each language once", `"de" twice`},
		{"translate tag", translate("tlh", "title", "x"), "translate: must be one of ar, ", `"tlh"`},
		{"translate key", translate("de", "titel", "x"), "translate: de: must be one of the keys", `"titel"`},
		{"translate note", translate("de", "note", "x"), "translate: de: must be one of the keys", `"note"`},
		{"translate empty", translate("de", "title", " \n"), "translate: de: title must not be empty", ""},
		{"translate number", translate("de", "seconds", "bald"), "translate: de: seconds must have {n} in it once", `"bald"`},
		{"translate numbers", translate("de", "seconds", "{n} {n}"), "translate: de: seconds must have {n} in it once", `"{n} {n}"`},
		{"translate time", translate("de", "until", "bald"), "translate: de: until must have {time} in it once", `"bald"`},
		{"proxy status", Options{ProxyStatus: "Zürich"}, "proxy_status: must be printable ASCII", `"Zürich"`},
		{"proxy status with control", Options{ProxyStatus: "a\nb"}, "proxy_status: must be printable ASCII", `"a\nb"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := New(c.o)
			if err == nil {
				t.Fatal("is accepted")
			}
			if !strings.HasPrefix(err.Error(), c.begins) || !strings.Contains(err.Error(), c.has) {
				t.Errorf("got %v, want %s … %s", err, c.begins, c.has)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %q", err)
			}
		})
	}
}

// TestOptionsAllErrors: all mistakes are reported at once.
func TestOptionsAllErrors(t *testing.T) {
	o := Options{
		Color: "blue", Links: []Link{{"", "x"}, {"a", "x"}}, CORS: []string{"a"}, Languages: []string{"xx"}, ProxyStatus: "ü",
		Translate: map[string]map[string]string{"de": {"x": "y"}},
	}
	err := o.Validate()
	if err == nil {
		t.Fatal("is accepted")
	}
	lines := map[string]int{}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		field, _, _ := strings.Cut(line, ":")
		lines[field]++
	}
	for field, want := range map[string]int{"color": 1, "link": 2, "cors": 1, "languages": 1, "proxy_status": 1} {
		if lines[field] != want {
			t.Errorf("%d errors of %s, want %d: %v", lines[field], field, want, err)
		}
	}
}

// TestOptionsLinks: a link may only open something. It runs no script, has no content of its own
// (data:), and is not relative to the site that is down.
func TestOptionsLinks(t *testing.T) {
	for url, ok := range map[string]bool{
		"https://status.example.com": true, "http://a.example/?b=c#d": true, "mailto:help@example.com": true, "tel:+15550100": true, "HTTPS://A.EXAMPLE": true,
		"javascript:alert(1)": false, "JaVaScRiPt:alert(1)": false, " javascript:alert(1)": false, "java\nscript:alert(1)": false,
		"data:text/html,x": false, "vbscript:x": false, "//evil.example": false, "/relative": false, "": false, "file:///etc/passwd": false, "https\x00://a": false,
	} {
		o := Options{Links: []Link{{"a", url}}}
		if err := o.Validate(); (err == nil) != ok {
			t.Errorf("%q: got %v, want accepted: %v", url, err, ok)
		}
	}
}

// TestOptionsOrigins: an origin is written as browsers send it, or is *.
func TestOptionsOrigins(t *testing.T) {
	for origin, ok := range map[string]bool{
		"*": true, "https://app.example.com": true, "http://localhost:3000": true, "https://[2001:db8::1]:8443": true,
		"": false, "null": false, "app.example.com": false, "https://": false, "https://a.example/": false, "https://a.example/b": false,
		"https://a.example?b": false, "https://a.example#b": false, "https://u@a.example": false, "ftp://a.example": false,
		"https://*.example.com ": false, "https://a.example, https://b.example": false, "//a.example": false, "https://a.example\n": false,
	} {
		o := Options{CORS: []string{origin}}
		if err := o.Validate(); (err == nil) != ok {
			t.Errorf("%q: got %v, want accepted: %v", origin, err, ok)
		}
	}
}

// TestOptionsTranslateTwice: two sentences for the same key are refused: nobody could tell
// which of them is shown.
func TestOptionsTranslateTwice(t *testing.T) {
	o := Options{Translate: map[string]map[string]string{"de": {"title": "a"}, "de-DE": {"title": "b"}}}
	if err := o.Validate(); err == nil || !strings.HasPrefix(err.Error(), "translate: ") {
		t.Errorf("got %v, want an error", err)
	}
}
