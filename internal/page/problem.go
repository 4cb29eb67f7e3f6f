package page

import (
	"bytes"
	"encoding/json"
	"encoding/xml"

	"github.com/healthpool/caddy-healthpool/internal/cause"
	"github.com/healthpool/caddy-healthpool/internal/represent"
)

// problemType is the section of docs/problems.md that documents the members.
const problemType = "https://github.com/healthpool/caddy-healthpool/blob/main/docs/problems.md#no-healthy-upstream"

// problemDetails is the body of problem+json, json and problem+xml (RFC 9457; Appendix B is
// about XML).
type problemDetails struct {
	XMLName     xml.Name    `json:"-" xml:"urn:ietf:rfc:7807 problem"`
	Type        string      `json:"type" xml:"type"`
	Title       string      `json:"title" xml:"title"`
	Status      int         `json:"status" xml:"status"`
	Detail      string      `json:"detail" xml:"detail"`
	Instance    string      `json:"instance,omitempty" xml:"instance,omitempty"`
	Reference   string      `json:"reference,omitempty" xml:"reference,omitempty"`
	Cause       cause.Cause `json:"cause" xml:"cause"`
	Retryable   bool        `json:"retryable" xml:"retryable"`
	RetryAfter  int         `json:"retry_after,omitempty" xml:"retry_after,omitempty"`
	RequestFate cause.Fate  `json:"request_fate" xml:"request_fate"`
	*Details                // nil for most clients
}

// writeProblem writes n as JSON or XML.
func writeProblem(b *bytes.Buffer, format represent.Format, n *Notice, method string) error {
	p := &problemDetails{
		Type:        problemType,
		Title:       problemTitle,
		Status:      n.Status,
		Detail:      detail(n, method),
		Instance:    n.instance(),
		Reference:   n.Reference,
		Cause:       n.Cause,
		Retryable:   n.retryable(method),
		RetryAfter:  n.RetryAfter,
		RequestFate: n.Fate,
		Details:     n.Details,
	}
	if format == represent.XML {
		b.WriteString(xml.Header)
		return xml.NewEncoder(b).Encode(p)
	}
	return json.NewEncoder(b).Encode(p)
}

const problemTitle = "No healthy upstream"

// detail returns what happened, the owner's message, and what that means for the request.
func detail(n *Notice, method string) string {
	s := "The service behind this address " + n.state()
	if n.Message != "" {
		s += " " + n.Message
	}
	return s + " " + outcome(n, method)
}

// state returns what is wrong, as the rest of a sentence that begins with the service.
func (n *Notice) state() string {
	if n.Planned {
		return "is closed for planned work."
	}
	return "is not answering. The problem is on its side, not yours."
}

// outcome returns what happened to the request, and whether to repeat it.
func outcome(n *Notice, method string) string {
	switch {
	case n.Fate == cause.NotSent:
		return "The request was not passed on, so it is safe to repeat it."
	case isSafeMethod(method):
		return "The request may have been processed. It changes nothing, so it is safe to repeat it."
	default:
		return "It is unknown whether the request was processed: check before repeating it."
	}
}
