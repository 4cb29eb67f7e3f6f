package page

import (
	"encoding/json"
	"encoding/xml"
	"maps"
	"strings"
	"testing"

	"github.com/healthpool/caddy-healthpool/internal/cause"
	"github.com/healthpool/caddy-healthpool/internal/represent"
)

// problemCase is a request, and what a program is told about repeating it.
type problemCase struct {
	method    string
	fate      cause.Fate
	retryable bool
	says      string
}

var problemCases = []problemCase{
	{"GET", cause.NotSent, true, "not passed on"},
	{"GET", cause.Unknown, true, "changes nothing, so it is safe to repeat"},
	{"OPTIONS", cause.Unknown, true, "safe to repeat"},
	{"QUERY", cause.Unknown, true, "safe to repeat"},
	{"POST", cause.NotSent, true, "safe to repeat"},
	{"POST", cause.Unknown, false, "check before repeating"},
	{"PUT", cause.Unknown, false, "check before repeating"},
	{"DELETE", cause.Unknown, false, "check before repeating"},
	{"POST", "", false, "check before repeating"},
	{"BREW", "hot", false, "check before repeating"},
}

// notice returns a notice of this case, with every member.
func (c problemCase) notice() Notice {
	n := notice()
	n.Fate, n.Cause = c.fate, cause.ConnectionTerminated
	return n
}

func (c problemCase) knownFate() string {
	if c.fate == cause.NotSent {
		return "not_sent"
	}
	return "unknown"
}

// TestProblem: the members are those of docs/problems.md, and retryable is true only
// where repeating can do no harm.
func TestProblem(t *testing.T) {
	for _, c := range problemCases {
		body := answer(t, c.method, represent.Problem, c.notice()).Body.Bytes()
		var got map[string]any
		if err := json.Unmarshal(body, &got); err != nil {
			t.Fatal(err)
		}
		detail, _ := got["detail"].(string)
		mustHave(t, detail, "is not answering", "We are moving to a new house.", c.says)
		delete(got, "detail")
		want := map[string]any{
			"type": problemType, "title": "No healthy upstream", "status": 503.0, "instance": "urn:reference:7QX4-M2KD",
			"reference": "7QX4-M2KD", "cause": "connection_terminated", "retryable": c.retryable, "retry_after": 30.0,
			"request_fate": c.knownFate(),
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s %s: got %v, want %v", c.method, c.fate, got, want)
		}
		if asJSON := answer(t, c.method, represent.JSON, c.notice()).Body.Bytes(); string(asJSON) != string(body) {
			t.Errorf("json differs from problem+json: %s", asJSON)
		}
	}
}

// xmlProblem is a problem as in RFC 9457, Appendix B, with its members by name.
type xmlProblem struct {
	XMLName xml.Name `xml:"urn:ietf:rfc:7807 problem"`
	Members []struct {
		XMLName xml.Name
		Text    string `xml:",chardata"`
	} `xml:",any"`
}

func readXML(t testing.TB, body string) map[string]string {
	t.Helper()
	var p xmlProblem
	if err := xml.Unmarshal([]byte(body), &p); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	members := map[string]string{}
	for _, m := range p.Members {
		if m.XMLName.Space != "urn:ietf:rfc:7807" || members[m.XMLName.Local] != "" {
			t.Errorf("%v is of another namespace, or there twice", m.XMLName)
		}
		members[m.XMLName.Local] = m.Text
	}
	return members
}

// TestProblemXML: it has the same members as problem+json.
func TestProblemXML(t *testing.T) {
	for _, c := range problemCases {
		body := answer(t, c.method, represent.XML, c.notice()).Body.String()
		if !strings.HasPrefix(body, `<?xml version="1.0" encoding="UTF-8"?>`) {
			t.Errorf("no declaration in %s", body)
		}
		got := readXML(t, body)
		mustHave(t, got["detail"], "is not answering", "We are moving to a new house.", c.says)
		delete(got, "detail")
		want := map[string]string{
			"type": problemType, "title": "No healthy upstream", "status": "503", "instance": "urn:reference:7QX4-M2KD",
			"reference": "7QX4-M2KD", "cause": "connection_terminated", "retryable": map[bool]string{true: "true", false: "false"}[c.retryable],
			"retry_after": "30", "request_fate": c.knownFate(),
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s %s: got %v, want %v", c.method, c.fate, got, want)
		}
	}
}

// TestProblemLeaves: members without a value are left out.
func TestProblemLeaves(t *testing.T) {
	for _, format := range []represent.Format{represent.Problem, represent.XML} {
		body := answer(t, "GET", format, Notice{Status: 503, Fate: cause.NotSent}).Body.String()
		mustNotHave(t, body, "retry_after", "instance", "reference")
	}
}

// TestProblemPlanned: during maintenance, nothing says that there is a problem.
func TestProblemPlanned(t *testing.T) {
	n := notice()
	n.Planned, n.Message = true, "Back at noon."
	for _, format := range []represent.Format{represent.Problem, represent.XML, represent.Text, represent.Markdown} {
		body := answer(t, "GET", format, n).Body.String()
		mustHave(t, body, "closed for planned work")
		mustNotHave(t, body, "not answering", "new house")
	}
}
