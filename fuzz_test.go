package healthpool_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// FuzzPoll checks that any token is answered as a poll: without a body, and with the time
// of the next poll.
func FuzzPoll(f *testing.F) {
	for _, token := range []string{"", "direct", "-", "../../etc/passwd", "\x00\xff", "a, b", "q83vEjRWeJCr"} {
		f.Add(token)
	}
	page := loadPage(f, newContext(f))
	failing := caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error {
		return caddyhttp.Error(http.StatusServiceUnavailable, http.ErrNoLocation)
	})
	r, renew := newProxied(f)
	r.Method = http.MethodHead
	f.Fuzz(func(t *testing.T, token string) {
		for _, next := range []caddyhttp.Handler{ok, failing} {
			renew()
			r.Header["Recovery-Poll"] = []string{token}
			w := httptest.NewRecorder()
			if err := page.ServeHTTP(w, r, next); err != nil {
				t.Fatal(err)
			}
			if w.Code != http.StatusNoContent && w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || w.Body.Len() > 0 {
				t.Errorf("%q: %d %v %q", token, w.Code, w.Header(), w.Body)
			}
		}
	})
}
