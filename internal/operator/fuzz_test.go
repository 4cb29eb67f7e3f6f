package operator

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/healthpool/caddy-healthpool/internal/intent"
	"github.com/healthpool/caddy-healthpool/internal/pool"
)

// FuzzOrder: an order is either accepted, and then can be stored and read again, or refused
// with a status that says why.
func FuzzOrder(f *testing.F) {
	for _, body := range []string{
		"", "{}", "null", "[]", `{"message":"moving","until":"2999-11-22T18:00:00Z","allow":["10.0.0.0/8","::1"]}`,
		`{"until":"9999-12-31T23:59:59-23:59"}`, `{"until":"2999-01-01T00:00:00.000000001+14:00"}`, `{"until":"1999-01-01T00:00:00Z"}`, `{"until":1}`,
		`{"allow":["::ffff:10.0.0.0/104","::ffff:0:0/90"]}`, `{"allow":[null]}`, `{"message":"\ud800\u0000"}`, `{"Message":"a","message":"b"}`, `{"x":1}`, `{} {}`,
		`{"message":"` + strings.Repeat("é", 501) + `"}`,
	} {
		f.Add(body, "upstream=app:1")
	}
	f.Add("{}", "upstream=none&upstream=app:1")
	f.Add("{}", "upstream=%zz;=\x00")
	p := &pool.Status{Name: "shop", Upstreams: []pool.UpstreamStatus{{Address: "app:1"}}}
	f.Fuzz(func(t *testing.T, body, query string) {
		for _, o := range orders {
			r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
			r.URL = &url.URL{Path: "/", RawQuery: query}
			wanted, err := o.read(r, nil, p)
			if err != nil {
				checkRefused(t, err)
				continue
			}
			checkWanted(t, wanted)
		}
	})
}

// checkRefused checks that an error has a status of 400 to 499.
func checkRefused(t *testing.T, err error) {
	t.Helper()
	if refused, ok := errors.AsType[caddy.APIError](err); !ok || refused.HTTPStatus < 400 || refused.HTTPStatus >= 500 {
		t.Errorf("refused with %v", err)
	}
}

// checkWanted checks that another Caddy would read the stored order as the same.
func checkWanted(t *testing.T, wanted intent.Intent) {
	t.Helper()
	text, err := json.Marshal(wanted)
	if err != nil || len(text) > intent.MaxSize || len(wanted.Message) > intent.MaxMessage {
		t.Fatalf("cannot be kept: %d bytes, %v", len(text), err)
	}
	var read intent.Intent
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if wanted.Pool != "shop" || read.Pool != wanted.Pool || read.Upstream != wanted.Upstream || !read.Until.Equal(wanted.Until) || !slices.Equal(read.Allow, wanted.Allow) {
		t.Errorf("%+v is read as %+v", wanted, read)
	}
	if !wanted.Until.IsZero() && !wanted.Until.After(time.Now()) {
		t.Errorf("until %v", wanted.Until)
	}
}

// FuzzPath: every path of the admin API gets an answer, or an error with a status of 400 to
// 499.
func FuzzPath(f *testing.F) {
	for _, path := range []string{"", "shop", "unix%2F%2Frun%2Fapp.sock", "a/drain", "a/b/maintenance", "drain", "/drain", "%", "%zz/drain", "..", "%2E%2E", "a?b", "\x00"} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete, "BREW"} {
			f.Add(method, path)
		}
	}
	f.Fuzz(func(t *testing.T, method, path string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Method, r.URL = method, &url.URL{Path: PoolsPath + "/" + path, RawPath: PoolsPath + "/" + path}
		w := httptest.NewRecorder()
		if err := serveOne(w, r); err != nil {
			checkRefused(t, err)
		} else if path != "" || !json.Valid(w.Body.Bytes()) { // without a config there is no pool
			t.Errorf("%q: %d %s", path, w.Code, w.Body)
		}
	})
}
