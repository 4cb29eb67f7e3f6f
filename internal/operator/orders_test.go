package operator

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/healthpool/caddy-healthpool/internal/intent"
	"github.com/healthpool/caddy-healthpool/internal/pool"
)

// TestReadMaintenance checks what a body may be: one order, or nothing.
func TestReadMaintenance(t *testing.T) {
	padding := strings.Repeat(" ", intent.MaxSize)
	for _, tt := range []struct {
		body   string
		status int // 0 for an order
	}{
		{"", 0},
		{" \n", 0},
		{`{"message":"x"}` + "\r\n", 0},
		{`{"message":"x"}` + padding[:1000], 0},
		{`{"message":"x"} x`, http.StatusBadRequest},
		{`{"message":"x"}}`, http.StatusBadRequest},
		{`{"message":"x"}{"message":"y"}`, http.StatusBadRequest},
		{`{"message":"x"} null`, http.StatusBadRequest},
		{`{"message":"x"`, http.StatusBadRequest},
		{`{"message":"` + padding + `"}`, http.StatusRequestEntityTooLarge},
		{`{"message":"x"}` + padding, http.StatusRequestEntityTooLarge},
		{padding + `{"message":"x"}`, http.StatusRequestEntityTooLarge},
		{`{"allow":["::1"` + strings.Repeat(`,"::1"`, intent.MaxSize/10) + `]}`, http.StatusRequestEntityTooLarge}, // stored as ::1/128
	} {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(tt.body))
		r.Body = http.MaxBytesReader(httptest.NewRecorder(), r.Body, intent.MaxSize)
		got, err := readMaintenance(r, nil, &pool.Status{Name: "shop"})
		refused, _ := errors.AsType[caddy.APIError](err)
		if refused.HTTPStatus != tt.status || tt.status == 0 && (err != nil || got.Pool != "shop") {
			t.Errorf("%.40q: got %v %v, want status %d", tt.body, got, err, tt.status)
		}
	}
}

// TestBodyErrors checks that errors about a body name the member, the rule and the value,
// and nothing of Go.
func TestBodyErrors(t *testing.T) {
	const sample = `body: must be JSON such as {"message": "…", "until": "2026-11-23T18:30:00Z", "allow": ["10.0.0.0/8"]}: `
	const list = `allow: must be a list of addresses or ranges such as ["10.0.0.0/8", "192.0.2.7"], got `
	for body, want := range map[string]string{
		`{"until": "18:30"}`:                  `until: must be a time such as 2026-11-23T18:30:00Z, got "18:30"`,
		`{"until": 5}`:                        `until: must be a time such as 2026-11-23T18:30:00Z, got 5`,
		`{"allow": "10.0.0.0/8"}`:             list + `"10.0.0.0/8"`,
		`{"allow": [5]}`:                      list + `[5]`,
		`{"message": {"de":` + "\n" + `"x"}}`: `message: must be a text, got {"de": "x"}`,
		`{"end": "x"}`:                        `body: unknown field "end"; there is message, until and allow`,
		`[]`:                                  sample + "it is an array",
		`"18:30"`:                             sample + "it is a string",
		`5`:                                   sample + "it is a number",
		`{`:                                   sample + "unexpected EOF",
		`{} {}`:                               sample + "there is more after it",
		`until=18:30`:                         sample + "invalid character 'u' looking for beginning of value",
	} {
		_, err := readMaintenance(httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body)), nil, &pool.Status{Name: "shop"})
		if refused, _ := errors.AsType[caddy.APIError](err); refused.HTTPStatus != http.StatusBadRequest || refused.Err.Error() != want {
			t.Errorf("%s: got %v, want %s", body, refused.Err, want)
		}
	}
}

// TestUnknown checks that errors about unknown names list the others, but not all of many.
func TestUnknown(t *testing.T) {
	const names = "abcdefghijklm"
	pools, p := make([]pool.Status, len(names)), &pool.Status{Name: "shop"}
	for i := range names {
		pools[i].Name = names[i : i+1]
		p.Upstreams = append(p.Upstreams, pool.UpstreamStatus{Address: names[i : i+1]})
	}
	for want, err := range map[string]error{
		`no pool is named "x": the running config has no healthpool`:                    NoPool("x", nil),
		`no pool is named "x": there is a, b, c, d, e, f, g, h, i, j and 3 more`:        NoPool("x", pools),
		`pool shop has no upstream "x": it has none now`:                                NoUpstream("x", &pool.Status{Name: "shop"}),
		`pool shop has no upstream "x": it has a, b, c, d, e, f, g, h, i, j and 3 more`: NoUpstream("x", p),
	} {
		if err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// TestReadMaintenanceOfMapped checks that clients of IPv4 are let through however their
// range is written.
func TestReadMaintenanceOfMapped(t *testing.T) {
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(`{"allow":["::ffff:10.0.0.0/104"]}`))
	got, err := readMaintenance(r, nil, new(pool.Status))
	if err != nil || len(got.Allow) != 1 || got.Allow[0].String() != "10.0.0.0/8" {
		t.Errorf("got %v %v", got.Allow, err)
	}
}

// fakeApp is an app that has one drain on record.
type fakeApp struct{ drained string }

func (fakeApp) Pools() []pool.Status                            { return nil }
func (fakeApp) Order(context.Context, intent.Intent, bool) bool { return true }
func (a fakeApp) Drained(poolName, address string) bool {
	return poolName == "shop" && address == a.drained
}

// TestReadDrain checks which upstreams can be drained and undrained: those of the pool,
// and undrained also one that left the pool after it was drained.
func TestReadDrain(t *testing.T) {
	p := &pool.Status{Name: "shop", Upstreams: []pool.UpstreamStatus{{Address: "app:1"}}}
	for _, tt := range []struct {
		method, upstream string
		status           int // 0 for an order
	}{
		{http.MethodPost, "app:1", 0},
		{http.MethodPost, "gone:1", http.StatusNotFound},
		{http.MethodPost, "none:1", http.StatusNotFound},
		{http.MethodPost, "", http.StatusBadRequest},
		{http.MethodDelete, "app:1", 0},
		{http.MethodDelete, "gone:1", 0},
		{http.MethodDelete, "none:1", http.StatusNotFound},
		{http.MethodDelete, "", http.StatusBadRequest},
	} {
		got, err := readDrain(httptest.NewRequest(tt.method, "/?upstream="+tt.upstream, nil), fakeApp{drained: "gone:1"}, p)
		refused, _ := errors.AsType[caddy.APIError](err)
		if refused.HTTPStatus != tt.status || tt.status == 0 && (err != nil || got.Pool != "shop" || got.Upstream != tt.upstream) {
			t.Errorf("%s %s: got %v %v, want status %d", tt.method, tt.upstream, got, err, tt.status)
		}
	}
}
