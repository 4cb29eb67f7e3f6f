package healthpool_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// FuzzCaddyfile checks that a block of our directives is refused with an error, or adapted
// to JSON that our modules accept, and always to the same.
func FuzzCaddyfile(f *testing.F) {
	directives := []string{
		"healthpool a:1 {\n%}", "no_healthy_upstream {\n%}", "healthpool {\npage {\n%}\n}",
		"reverse_proxy {\ndynamic healthpool a:1 {\n%}\n}", "healthpool_status {\n%}", "%",
	}
	f.Fuzz(func(t *testing.T, directive uint8, block string) {
		if strings.Contains(block, "import") || strings.Contains(block, "{$") {
			t.Skip() // files and the environment are out of scope
		}
		pattern := directives[int(directive)%len(directives)]
		text := ":80 {\n" + strings.Replace(pattern, "%", block+"\n", 1) + "\n}"
		adapted, err := adapt(text)
		if err != nil {
			if err.Error() == "" {
				t.Error("refused without a word")
			}
			return
		}
		if again, err := adapt(text); err != nil || !bytes.Equal(again, adapted) {
			t.Errorf("adapted to %s, and then to %s, %v", adapted, again, err)
		}
		var config any
		if err := json.Unmarshal(adapted, &config); err != nil {
			t.Fatal(err)
		}
		decode(t, config)
	})
}

// decode decodes our modules' configs as strictly as Caddy does.
func decode(t *testing.T, config any) {
	t.Helper()
	switch v := config.(type) {
	case []any:
		for _, e := range v {
			decode(t, e)
		}
	case map[string]any:
		for kind, id := range map[string]string{"handler": "http.handlers.", "source": "http.reverse_proxy.upstreams.", "policy": "http.reverse_proxy.selection_policies."} {
			if name, ok := v[kind].(string); ok {
				decodeModule(t, id+name, kind, v)
			}
		}
		for _, e := range v {
			decode(t, e)
		}
	}
}

func decodeModule(t *testing.T, id, kind string, config map[string]any) {
	t.Helper()
	module, err := caddy.GetModule(id)
	if err != nil {
		return
	}
	name := config[kind]
	delete(config, kind)
	defer func() { config[kind] = name }()
	text, err := json.Marshal(config)
	if err == nil {
		err = caddy.StrictUnmarshalJSON(text, module.New())
	}
	if err != nil {
		t.Errorf("%s: %s: %v", id, text, err)
	}
}

// FuzzConfig checks that JSON for one of our modules is refused, or results in a module
// that works.
func FuzzConfig(f *testing.F) {
	f.Fuzz(func(t *testing.T, page, source []byte) {
		if bytes.Contains(append(page, source...), []byte("{file.")) {
			t.Skip() // some files never end
		}
		ctx := newContext(t)
		if n, err := load[caddyhttp.MiddlewareHandler](ctx, "http.handlers.no_healthy_upstream", page); err == nil {
			answers(t, n)
		}
		proxy := []byte(`{"dynamic_upstreams":` + string(source) + `,"load_balancing":{"selection_policy":{"policy":"health_aware"}}}`)
		if !bytes.Contains(source, []byte(`"healthpool"`)) || !json.Valid(proxy) {
			return
		}
		if p, err := load[*reverseproxy.Handler](ctx, "http.handlers.reverse_proxy", proxy); err == nil {
			if err := p.Cleanup(); err != nil {
				t.Error(err)
			}
		}
	})
}

// load loads a module, unless its config is refused.
func load[T any](ctx caddy.Context, id string, config []byte) (module T, err error) {
	loaded, err := ctx.LoadModuleByID(id, config)
	if err == nil {
		module = loaded.(T)
	}
	return module, err
}

// answers checks that a request that no upstream answers is answered or passed on.
func answers(t *testing.T, n caddyhttp.MiddlewareHandler) {
	t.Helper()
	r, _ := newProxied(t)
	for _, accept := range []string{"text/html", "application/json"} {
		r.Header.Set("Accept", accept)
		w := httptest.NewRecorder()
		if err := n.ServeHTTP(w, r, refused); err == nil && (w.Code < http.StatusBadRequest || w.Body.Len() == 0) {
			t.Errorf("answered with %d %q", w.Code, w.Body)
		}
	}
	if c, ok := n.(caddy.CleanerUpper); ok {
		if err := c.Cleanup(); err != nil {
			t.Error(err)
		}
	}
}
