package healthpool_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

var update = flag.Bool("update", false, "write what is adapted into testdata/adapt")

// divider separates a Caddyfile from what it is adapted to.
const divider = "\n----------\n"

// TestAdapt compares each Caddyfile in testdata/adapt with the JSON, or the error, after
// the divider.
func TestAdapt(t *testing.T) {
	files, err := filepath.Glob("testdata/adapt/*.caddyfiletest")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".caddyfiletest"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			caddyfile, want, _ := strings.Cut(string(text), divider)
			got := adaptedText(t, caddyfile)
			if *update {
				if err := os.WriteFile(file, []byte(caddyfile+divider+got), 0o600); err != nil {
					t.Fatal(err)
				}
			} else if got != want {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

// adaptedText returns the JSON or the error.
func adaptedText(t *testing.T, caddyfile string) string {
	t.Helper()
	adapted, err := adapt(caddyfile)
	if err != nil {
		return err.Error() + "\n"
	}
	var text bytes.Buffer
	if err := json.Indent(&text, adapted, "", "\t"); err != nil {
		t.Fatal(err)
	}
	return text.String() + "\n"
}

// TestAdaptedIsValid validates the JSON in testdata/adapt.
func TestAdaptedIsValid(t *testing.T) {
	files, _ := filepath.Glob("testdata/adapt/*.caddyfiletest")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		caddyfile, _, _ := strings.Cut(string(text), divider)
		if adapted, err := adapt(caddyfile); err == nil {
			checkValid(t, file, adapted)
		}
	}
}

func checkValid(t *testing.T, file string, adapted []byte) {
	t.Helper()
	if err := validate(t, adapted); err != nil {
		t.Errorf("%s: %v", file, err)
	}
}

// validate does what caddy validate does, without logging.
func validate(t *testing.T, adapted []byte) error {
	t.Helper()
	var config caddy.Config
	if err := json.Unmarshal(adapted, &config); err != nil {
		t.Fatal(err)
	}
	config.Admin = &caddy.AdminConfig{Disabled: true}
	config.Logging = &caddy.Logging{Logs: map[string]*caddy.CustomLog{
		"default": {BaseLog: caddy.BaseLog{WriterRaw: json.RawMessage(`{"output":"discard"}`)}},
	}}
	config.StorageRaw = json.RawMessage(fmt.Sprintf(`{"module":"file_system","root":%q}`, t.TempDir()))
	return caddy.Validate(&config)
}

// TestExamples checks that the examples are valid.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob("example/*Caddyfile")
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			adapted, err := adapt(string(text))
			if err != nil {
				t.Fatal(err)
			}
			checkValid(t, file, adapted)
		})
	}
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
