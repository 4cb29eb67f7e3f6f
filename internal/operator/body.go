package operator

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/healthpool/caddy-healthpool/internal/plain"
)

// decode parses the body of an order; an empty one leaves m as it is.
func decode(body io.Reader, m *Closing) error {
	// The members are decoded one by one, so that errors can name them.
	var raw struct {
		Message json.RawMessage `json:"message"`
		Until   json.RawMessage `json:"until"`
		Allow   json.RawMessage `json:"allow"`
	}
	decoder := json.NewDecoder(body)
	decoder.DisallowUnknownFields()
	err := decoder.Decode(&raw)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err == nil { // then that must have been all
		if _, err = decoder.Token(); err == nil {
			err = errors.New("there is more after it")
		}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return bodyError(err)
	}
	for _, member := range []struct {
		raw  json.RawMessage
		to   any
		rule string
	}{
		{raw.Message, &m.Message, "message: must be a text"},
		{raw.Until, &m.Until, "until: must be a time such as 2026-11-23T18:30:00Z"},
		{raw.Allow, &m.Allow, `allow: must be a list of addresses or ranges such as ["10.0.0.0/8", "192.0.2.7"]`},
	} {
		if member.raw != nil && json.Unmarshal(member.raw, member.to) != nil {
			const most = 80
			return apiError(http.StatusBadRequest, "%s, got %s", member.rule, plain.Short(string(member.raw), '?', most))
		}
	}
	return nil
}

// bodyError describes an error of the decoder, without the words of Go.
func bodyError(err error) error {
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return apiError(http.StatusRequestEntityTooLarge, "body: must be at most %d bytes", tooLarge.Limit)
	}
	if mistaken, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		err = errors.New("it is " + kindOf(mistaken.Value))
	} else if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return apiError(http.StatusBadRequest, "body: unknown field %s; there is message, until and allow", name)
	}
	return apiError(http.StatusBadRequest, "body: must be JSON such as %s: %w", sampleBody, err)
}

const sampleBody = `{"message": "…", "until": "2026-11-23T18:30:00Z", "allow": ["10.0.0.0/8"]}`

// kindOf names a kind of JSON value, as a decoder calls it, with its article.
func kindOf(value string) string {
	kind, _, _ := strings.Cut(value, " ") // after it is the value itself
	if kind == "array" {
		return "an array"
	}
	return fmt.Sprintf("a %s", kind)
}
