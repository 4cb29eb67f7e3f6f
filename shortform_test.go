package healthpool_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestShortFormPassesOptionsOn checks that reverse_proxy's options work in the short form.
func TestShortFormPassesOptionsOn(t *testing.T) {
	b := newBackendFunc(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-App", "yes")
		fmt.Fprintf(w, "%s %s", r.URL.Path, r.Header.Get("X-Up"))
	})
	s := run(t, `healthpool `+b.addr+` {
		header_up X-Up "went up"
		header_down -X-App
		rewrite /v1{uri}
		@teapot status 418
		page {
			service Shop
		}
		handle_response @teapot {
			respond "no coffee" 200
		}
		@found status 2xx
		replace_status @found 202
		lb_policy first
		lb_try_duration 1s
		health_uri /
	}`)
	s.awaitPool("up")
	if got := s.get("/x"); got.status != 202 || got.body != "/v1/x went up" || got.header.Get("X-App") != "" {
		t.Errorf("got %d %v %q", got.status, got.header, got.body)
	}
}

func TestShortFormOptions(t *testing.T) {
	b := newBackendFunc(t, func(w http.ResponseWriter, r *http.Request) {
		var status int
		if _, err := fmt.Sscanf(r.URL.Path, "/%d", &status); err == nil {
			w.WriteHeader(status)
		}
		fmt.Fprint(w, r.URL.Path)
	})
	t.Run("handle_response", func(t *testing.T) {
		s := run(t, "healthpool "+b.addr+" {\n@teapot status 418\nhandle_response @teapot {\nrespond \"no coffee\" 200\n}\n}")
		teapot, gone := s.get("/418"), s.get("/410")
		expect(t, teapot, map[string]bool{"status": teapot.status == 200, "body": teapot.body == "no coffee"})
		expect(t, gone, map[string]bool{"status": gone.status == 410, "body": gone.body == "/410"})
	})
	t.Run("matcher", func(t *testing.T) {
		s := run(t, "@api path /api/*\nhealthpool @api "+b.addr)
		if got, rest := s.get("/api/1"), s.get("/"); got.body != "/api/1" || rest.body != "" {
			t.Errorf("got %q and %q", got.body, rest.body)
		}
	})
	t.Run("page", func(t *testing.T) {
		s := run(t, "healthpool "+deadAddress(t)+" {\npage {\nservice Shop\nstatus 503\n}\n}")
		if got := s.get("/"); got.status != 503 || !strings.Contains(got.body, "Shop is not answering") {
			t.Errorf("got %d %q", got.status, got.body)
		}
	})
	t.Run("upstreams of to", func(t *testing.T) {
		s := run(t, "healthpool {\nto "+deadAddress(t)+"\nto "+b.addr+" "+deadAddress(t)+"\n}")
		if got := s.get("/x"); got.body != "/x" || len(s.pool().Upstreams) != 3 {
			t.Errorf("got %d %q of %+v", got.status, got.body, s.pool())
		}
	})
}

// TestShortFormEqualsLongForm checks that the short form adapts to the same JSON as the
// long form.
func TestShortFormEqualsLongForm(t *testing.T) {
	for short, long := range map[string]string{
		"healthpool a:1 b:2": `route {
			no_healthy_upstream
			reverse_proxy {
				dynamic healthpool a:1 b:2
				lb_policy health_aware
				lb_retries 5
			}
		}`,
		"healthpool /x/* a:1 {\nname shop\nhealth_uri /up\npage {\nservice Shop\n}\nheader_up A b\nlb_policy first\n}": `route /x/* {
			no_healthy_upstream {
				service Shop
			}
			reverse_proxy {
				dynamic healthpool a:1 {
					name shop
					health_uri /up
				}
				header_up A b
				lb_policy first
				lb_retries 5
			}
		}`,
		"healthpool {\nto a:1\nlb_try_duration 5s\ntransport http {\ntls\n}\n}": `route {
			no_healthy_upstream
			reverse_proxy {
				dynamic healthpool {
					to a:1
				}
				lb_policy health_aware
				lb_try_duration 5s
				transport http {
					tls
				}
			}
		}`,
	} {
		got, want := handlers(t, ":80 {\n"+short+"\n}"), handlers(t, ":80 {\n"+long+"\n}")
		if got != want {
			t.Errorf("%s\nis   %s\nwant %s", short, got, want)
		}
	}
}

// handlers returns the handlers of the only site, without their wrapping.
func handlers(t *testing.T, caddyfile string) string {
	t.Helper()
	adapted, err := adapt(caddyfile)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if name := v["handler"]; name == "no_healthy_upstream" || name == "reverse_proxy" {
				text, _ := json.Marshal(v)
				found = append(found, string(text))
				return
			}
			if match, ok := v["match"]; ok {
				text, _ := json.Marshal(match)
				found = append(found, string(text))
			}
			for _, key := range []string{"apps", "http", "servers", "srv0", "routes", "handle"} {
				walk(v[key])
			}
		case []any:
			for _, e := range v {
				walk(e)
			}
		}
	}
	var config any
	if err := json.Unmarshal(adapted, &config); err != nil {
		t.Fatal(err)
	}
	walk(config)
	return strings.Join(found, "\n")
}
