package healthpool_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/certmagic"

	"github.com/healthpool/caddy-healthpool/internal/option"
)

// order sends an order to the admin API.
func (s *site) order(method, path, body string) response {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, "http://"+s.admin+"/healthpool/pools/"+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	return s.adminSend(req)
}

// drainPath is the path at which an upstream of a pool is drained.
func drainPath(pool, upstream string) string {
	return url.PathEscape(pool) + "/drain?upstream=" + url.QueryEscape(upstream)
}

// statesOfShop are the states of the upstreams of the pool shop, by address, and of
// the pool itself.
func (s *site) statesOfShop() (states map[string]string, ofPool string) {
	s.t.Helper()
	var p struct {
		State     string
		Upstreams []struct{ Address, State string }
	}
	got := s.adminDo(http.MethodGet, "/healthpool/pools/shop")
	if err := json.Unmarshal([]byte(got.body), &p); err != nil {
		s.t.Fatalf("%d %s: %v", got.status, got.body, err)
	}
	states = make(map[string]string)
	for _, u := range p.Upstreams {
		states[u.Address] = u.State
	}
	return states, p.State
}

// twoOf is a site with two upstreams in a pool that is called shop.
func twoOf(t *testing.T, policy string) (s *site, a, b *backend) {
	t.Helper()
	a, b = newBackend(t, "a"), newBackend(t, "b")
	s = run(t, fmt.Sprintf("healthpool %s %s {\nname shop\nlb_policy %s\n}", a.addr, b.addr, policy))
	await(t, "the pool is up", func() bool { _, pool := s.statesOfShop(); return pool == "up" })
	return s, a, b
}

// TestDrain checks that a drained upstream gets no new requests at once, that this outlives
// a reload and a restart, and that it ends when the operator says so.
func TestDrain(t *testing.T) {
	for _, policy := range []string{"health_aware", "first", "cookie lb secret"} {
		t.Run(policy, func(t *testing.T) {
			s, a, b := twoOf(t, policy)
			got := s.order(http.MethodPost, drainPath("shop", a.addr), "")
			if got.status != http.StatusOK {
				t.Fatalf("got %d %s", got.status, got.body)
			}
			onlyB := func(when string) {
				t.Helper()
				for range 20 {
					if got := s.get("/"); got.body != "b" {
						t.Fatalf("%s, got %q", when, got.body)
					}
				}
				states, pool := s.statesOfShop()
				if states[a.addr] != "draining" || states[b.addr] != "healthy" || pool != "up" {
					t.Errorf("%s: %v %s", when, states, pool)
				}
			}
			onlyB("drained")
			if err := s.load("", fmt.Sprintf("healthpool %s %s {\nname shop\nlb_policy %s\n}\nheader X-New yes", a.addr, b.addr, policy)); err != nil {
				t.Fatal(err)
			}
			onlyB("after a reload")
			s.stop()
			if err := s.load("", fmt.Sprintf("healthpool %s %s {\nname shop\nlb_policy %s\n}", a.addr, b.addr, policy)); err != nil {
				t.Fatal(err)
			}
			await(t, "the pool is up", func() bool { _, pool := s.statesOfShop(); return pool == "up" })
			onlyB("after a restart")
			if got := s.order(http.MethodDelete, drainPath("shop", a.addr), ""); got.status != http.StatusOK {
				t.Errorf("got %d %s", got.status, got.body)
			}
			if states, _ := s.statesOfShop(); states[a.addr] != "healthy" {
				t.Errorf("undrained: %v", states)
			}
			await(t, "it gets requests again", func() bool { return s.get("/", "Cookie", "").body == "a" })
		})
	}
}

// namelessStorage is a storage without a name, to which nothing can be written.
type namelessStorage struct {
	certmagic.Storage
	Root string `json:"root"`
	// connection differs in each config.
	connection chan struct{}
}

func init() { caddy.RegisterModule(new(namelessStorage)) }

// CaddyModule returns the Caddy module information.
func (*namelessStorage) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.storage.nameless", New: func() caddy.Module { return new(namelessStorage) }}
}

func (s *namelessStorage) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	return option.Word(d, &s.Root)
}

func (s *namelessStorage) CertMagicStorage() (certmagic.Storage, error) {
	s.Storage, s.connection = &certmagic.FileStorage{Path: s.Root}, make(chan struct{})
	return s, nil
}

func (*namelessStorage) Store(context.Context, string, []byte) error {
	return errors.New("read-only")
}

// TestDrainWithoutStorage checks that an order that the storage does not take outlives a
// reload, even if the storage has no name and is another value after it.
func TestDrainWithoutStorage(t *testing.T) {
	a, b := newBackend(t, "a"), newBackend(t, "b")
	directives := fmt.Sprintf("healthpool %s %s {\nname shop\n}", a.addr, b.addr)
	storage := fmt.Sprintf("storage nameless %q", t.TempDir())
	s := runWith(t, storage, directives)
	if got := s.order(http.MethodPost, drainPath("shop", a.addr), ""); got.status != http.StatusAccepted {
		t.Errorf("got %d %s", got.status, got.body)
	}
	if err := s.load(storage, directives); err != nil {
		t.Fatal(err)
	}
	if states, _ := s.statesOfShop(); states[a.addr] != "draining" {
		t.Errorf("after a reload: %v", states)
	}
}

// TestDrainFinishes checks that a drained upstream finishes its requests, and that the
// operator sees how many there still are.
func TestDrainFinishes(t *testing.T) {
	release := make(chan struct{})
	a := newBackendFunc(t, func(w http.ResponseWriter, _ *http.Request) {
		<-release
		fmt.Fprint(w, "finished")
	})
	s := run(t, "healthpool "+a.addr+" {\nname shop\nhold off\n}")
	await(t, "the pool is up", func() bool { _, pool := s.statesOfShop(); return pool == "up" })
	done := make(chan response, 1)
	go func() {
		r, _ := s.try(t.Context(), http.MethodGet, "/", "")
		done <- r
	}()
	inFlight := func() string { return s.adminDo(http.MethodGet, "/healthpool/pools/shop").body }
	await(t, "it is in flight", func() bool { return strings.Contains(inFlight(), `"in_flight":1`) })
	got := s.order(http.MethodPost, drainPath("shop", a.addr), "")
	if !strings.Contains(got.body, `"state":"draining"`) || !strings.Contains(got.body, `"in_flight":1`) {
		t.Errorf("got %s", got.body)
	}
	if got := s.get("/"); got.status != http.StatusServiceUnavailable || !got.isOurs() {
		t.Errorf("a new request got %d %s", got.status, got.body)
	}
	close(release)
	if r := <-done; r.body != "finished" {
		t.Errorf("the old request got %d %q", r.status, r.body)
	}
	await(t, "nothing is in flight", func() bool { return strings.Contains(inFlight(), `"in_flight":0`) })
}

// TestDrainedIsNoSpare checks that the last upstream that serves requests is not ejected
// just because there is a drained one besides.
func TestDrainedIsNoSpare(t *testing.T) {
	a := newBackend(t, "a")
	b := newBackendFunc(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	s := run(t, fmt.Sprintf("healthpool %s %s {\nname shop\nmax_fails 1\nfail_open never\nhold off\n}", a.addr, b.addr))
	await(t, "the pool is up", func() bool { _, pool := s.statesOfShop(); return pool == "up" })
	s.order(http.MethodPost, drainPath("shop", a.addr), "")
	for range 10 {
		if got := s.get("/"); got.status != http.StatusInternalServerError {
			t.Fatalf("got %d, want the app's own 500", got.status)
		}
	}
	if states, pool := s.statesOfShop(); states[b.addr] != "healthy" || pool != "up" {
		t.Errorf("%v %s", states, pool)
	}
}

// TestMaintenance checks that visitors of a closed pool get the message of the owner at
// once, and that nothing reaches the app.
func TestMaintenance(t *testing.T) {
	s, a, _ := twoOf(t, "health_aware")
	before := a.hits.Load()
	until := time.Now().Add(90 * time.Minute).UTC().Truncate(time.Second)
	got := s.order(http.MethodPost, "shop/maintenance", fmt.Sprintf(`{"message":"We are <painting>.","until":%q,"allow":["192.0.2.0/24"]}`, until.Format(time.RFC3339)))
	if got.status != http.StatusOK || !strings.Contains(got.body, `"state":"maintenance"`) {
		t.Fatalf("got %d %s", got.status, got.body)
	}
	page := s.page()
	if page.status != http.StatusServiceUnavailable || page.took > time.Second {
		t.Errorf("status %d after %v", page.status, page.took)
	}
	wantText(t, page, "We are working on this site, as planned", "We are &lt;painting&gt;.", `<time datetime="`+until.Format(time.RFC3339)+`"`)
	problem := s.do(http.MethodPost, "/", "{}", acceptProblem...).problem(t)
	expect(t, problem, map[string]bool{
		"retry_after": problem.RetryAfter > 80*60 && problem.RetryAfter <= 90*60,
		"fate":        problem.RequestFate == "not_sent", "cause": problem.Cause == "destination_unavailable",
	})
	checkPoll(t, s.poll("/", s.token("/")), http.StatusServiceUnavailable)
	if n := a.hits.Load() - before; n > 0 {
		t.Errorf("%d requests reached the app", n)
	}
	if got := s.order(http.MethodDelete, "shop/maintenance", ""); got.status != http.StatusOK || !strings.Contains(got.body, `"state":"up"`) {
		t.Errorf("got %d %s", got.status, got.body)
	}
	if got := s.get("/"); got.status != http.StatusOK {
		t.Errorf("opened, got %d", got.status)
	}
	s.stop() // has what was suppressed summed up
	if entries := s.logged(isError); len(entries) > 0 {
		t.Errorf("maintenance is no error, but the log says %v", entries)
	}
}

// TestMaintenanceAdmits checks who is let through.
func TestMaintenanceAdmits(t *testing.T) {
	s, _, _ := twoOf(t, "first")
	s.order(http.MethodPost, "shop/maintenance", `{"allow":["127.0.0.1"]}`)
	if got := s.get("/"); got.status != http.StatusOK {
		t.Errorf("got %d", got.status)
	}
	s.order(http.MethodPost, "shop/maintenance", "")
	if got := s.get("/"); got.status != http.StatusServiceUnavailable {
		t.Errorf("the newer order counts, but got %d", got.status)
	}
}

// TestMaintenanceReleases checks that requests that are held when a pool is closed are
// answered then, and do not go on waiting.
func TestMaintenanceReleases(t *testing.T) {
	b := newStoppedBackend(t, cookieApp)
	b.start()
	s := run(t, "healthpool "+b.addr+" {\nname shop\nhold 10s\n}")
	await(t, "the pool is up", func() bool { return s.get("/").status == http.StatusFound })
	b.stop()
	done := make(chan response, 3)
	for range cap(done) {
		go func() {
			r, _ := s.try(t.Context(), http.MethodGet, "/", "", "Accept", "text/html")
			done <- r
		}()
	}
	await(t, "they are held", func() bool {
		return strings.Contains(s.adminDo(http.MethodGet, "/healthpool/pools/shop").body, `"held":3`)
	})
	s.order(http.MethodPost, "shop/maintenance", `{"message":"Closed."}`)
	for range cap(done) {
		if r := <-done; !strings.Contains(r.body, "Closed.") || r.took > 5*time.Second {
			t.Errorf("after %v got %d %.300s", r.took, r.status, r.body)
		}
	}
}

// TestBadOrders checks that an order that makes no sense changes nothing, and that the
// error says why.
func TestBadOrders(t *testing.T) {
	s, a, b := twoOf(t, "first")
	for _, tt := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"POST", drainPath("none", a.addr), "", 404, `no pool is named \"none\": there is shop"`},
		{"POST", drainPath("shop", "10.0.0.9:1"), "", 404, `pool shop has no upstream \"10.0.0.9:1\": it has ` + a.addr + " and " + b.addr},
		{"POST", drainPath("shop", "\"\n<x>"), "", 404, "has no upstream"},
		{"DELETE", drainPath("shop", "10.0.0.9:1"), "", 404, `pool shop has no upstream \"10.0.0.9:1\"`},
		{"POST", "shop/drain", "", 400, "upstream: must be given"},
		{"PUT", drainPath("shop", a.addr), "", 405, "method PUT is not allowed"},
		{"GET", "shop/maintenance", "", 405, "method GET is not allowed"},
		{"PATCH", "shop", "", 405, "method PATCH is not allowed"},
		{"POST", "none/maintenance", "", 404, `no pool is named \"none\": there is shop"`},
		{"POST", "shop/maintenance", "{", 400, "body: must be JSON"},
		{"POST", "shop/maintenance", `{"end":"x"}`, 400, `body: unknown field \"end\"; there is message, until and allow`},
		{"POST", "shop/maintenance", `{"until":"tomorrow"}`, 400, `until: must be a time such as 2026-11-23T18:30:00Z, got \"tomorrow\"`},
		{"POST", "shop/maintenance", `{"until":"2020-01-01T00:00:00Z"}`, 400, "until: must be in the future, got 2020-01-01T00:00:00Z"},
		{"POST", "shop/maintenance", `{"until":"9999-12-31T23:59:59-10:00"}`, 400, "until: must be before the year 10000"},
		{"POST", "shop/maintenance", `{"allow":["office"]}`, 400, `allow: must be IP addresses or ranges such as 10.0.0.0/8, got \"office\"`},
		{"POST", "shop/maintenance", `{"allow":["::ffff:0:0/90"]}`, 400, `allow: must be IP addresses or ranges such as 10.0.0.0/8, got \"::ffff:0:0/90\"`},
		{"POST", "shop/maintenance", `{"message":"x"} {}`, 400, "body: must be JSON"},
		{"POST", "shop/maintenance", `{"message":"` + strings.Repeat("x", 64<<10) + `"}`, 413, "body: must be at most 65536 bytes"},
		{"POST", "shop/maintenance", `{"message":"` + strings.Repeat("x", 1001) + `"}`, 400, "message: must be at most 1000 bytes, got 1001"},
	} {
		got := s.order(tt.method, tt.path, tt.body)
		if got.status != tt.status || !strings.Contains(got.body, tt.want) {
			t.Errorf("%s %s %s: got %d %s, want %d %s", tt.method, tt.path, tt.body, got.status, got.body, tt.status, tt.want)
		}
		if tt.status == http.StatusMethodNotAllowed && got.header.Get("Allow") == "" {
			t.Errorf("%s %s: no Allow", tt.method, tt.path)
		}
	}
	if states, pool := s.statesOfShop(); pool != "up" || states[a.addr] != "healthy" {
		t.Errorf("something was half done: %v %s", states, pool)
	}
}

// TestUndrainGone checks that an upstream that left the pool while it was drained can be
// undrained, once.
func TestUndrainGone(t *testing.T) {
	s, a, b := twoOf(t, "first")
	s.order(http.MethodPost, drainPath("shop", a.addr), "")
	if err := s.load("", fmt.Sprintf("healthpool %s {\nname shop\n}", b.addr)); err != nil {
		t.Fatal(err)
	}
	s.says([]string{a.addr + " in shop is not drained, and is none of its upstreams now.\n"}, "undrain", "shop", a.addr)
	if _, err := s.command("undrain", "shop", a.addr); err == nil || !strings.Contains(err.Error(), "has no upstream") {
		t.Errorf("undrained again: %v", err)
	}
}
