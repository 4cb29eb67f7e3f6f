package page

import (
	"bytes"
	"encoding/json"

	"github.com/healthpool/caddy-healthpool/internal/cause"
)

// problemType is where docs/problems.md documents the members.
const problemType = "https://github.com/healthpool/caddy-healthpool/blob/main/docs/problems.md#no-healthy-upstream"

// problemDetails is the body of problem+json and json (RFC 9457).
type problemDetails struct {
	Type        string      `json:"type"`
	Title       string      `json:"title"`
	Status      int         `json:"status"`
	Detail      string      `json:"detail"`
	Instance    string      `json:"instance,omitempty"`
	Reference   string      `json:"reference,omitempty"`
	Cause       cause.Cause `json:"cause"`
	Retryable   bool        `json:"retryable"`
	RetryAfter  int         `json:"retry_after,omitempty"`
	RequestFate cause.Fate  `json:"request_fate"`
}

// writeProblem writes n as JSON.
func writeProblem(b *bytes.Buffer, n Notice, method string) error {
	return json.NewEncoder(b).Encode(problemDetails{
		Type:        problemType,
		Title:       "No healthy upstream",
		Status:      n.Status,
		Detail:      detail(n, method),
		Instance:    n.instance(),
		Reference:   n.Reference,
		Cause:       n.Cause,
		Retryable:   n.retryable(method),
		RetryAfter:  n.RetryAfter,
		RequestFate: n.Fate,
	})
}

// detail says what happened, what the owner says of it, and what follows from
// it for the request.
func detail(n Notice, method string) string {
	s := "The service behind this address is not answering. The problem is on its side."
	if n.Message != "" {
		s += " " + n.Message
	}
	return s + " " + outcome(n, method)
}

// outcome says to a program's user what became of the request.
func outcome(n Notice, method string) string {
	switch {
	case n.Fate == cause.NotSent:
		return "The request was not passed on, so it is safe to repeat it."
	case isSafeMethod(method):
		return "The request may have been processed. It changes nothing, so it is safe to repeat it."
	default:
		return "It is unknown whether the request was processed: check before repeating it."
	}
}
