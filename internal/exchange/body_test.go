package exchange

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
)

// TestClientFault checks who is to blame for a request that could not be sent.
func TestClientFault(t *testing.T) {
	broken := func() io.Reader { return iotest.ErrReader(errors.New("broken off")) }
	for _, tt := range []struct {
		name, host, trailer string
		body                io.Reader
		close               bool
		want                bool
	}{
		{"whole", "example.com:80", "X-Sum", strings.NewReader("hello"), false, false},
		{"no body", "example.com", "", http.NoBody, false, false},
		{"no host", "", "", http.NoBody, false, false},
		{"body that breaks off", "example.com", "", broken(), false, true},
		{"body that the proxy closed", "example.com", "", broken(), true, false},
		{"trailer", "example.com", "a b", http.NoBody, false, true},
		{"host that is no name", "xn--é", "", http.NoBody, false, true},
		{"host with a space", "a b", "", http.NoBody, false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := &http.Request{Method: http.MethodGet, Host: tt.host, Body: io.NopCloser(tt.body), Trailer: make(http.Header)}
			if tt.trailer != "" {
				r.Trailer[tt.trailer] = nil
			}
			var rec Record
			rec.watchBody(r)
			rec.watchBody(r) // as another of our modules does
			if tt.close {
				_ = r.Body.Close()
			}
			_, _ = io.Copy(io.Discard, r.Body)
			if got := rec.ClientFault(r); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

// TestClientFaultMethod: HTTP/2 accepts methods that no transport sends.
func TestClientFaultMethod(t *testing.T) {
	for method, want := range map[string]bool{"GET": false, "M-SEARCH": false, "G T": true, "": true} {
		if got := new(Record).ClientFault(&http.Request{Method: method, Host: "example.com"}); got != want {
			t.Errorf("%q: got %v", method, got)
		}
	}
}
