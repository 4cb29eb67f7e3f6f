package command

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// configFile is a config in JSON with these handlers in one route.
func configFile(t *testing.T, handlers string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "caddy.json")
	text := `{"apps": {"http": {"servers": {"s": {"routes": [{"handle": [` + handlers + `]}]}}}}}`
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestPreview: the output is what visitors would get with this config.
func TestPreview(t *testing.T) {
	t.Chdir(t.TempDir()) // without a Caddyfile
	config := configFile(t, `{"handler": "subroute", "routes": [{"handle": [{"handler": "no_healthy_upstream", "service": "Shop", "status": 500, "retry_after": "90s"}]}]}, {"handler": "no_healthy_upstream", "service": "Other"}`)
	for _, tt := range []struct {
		args  string
		wants []string
	}{
		{"", []string{"<!doctype html>", "Sorry", "– example.com", "7qx4m2kdp", "<script>"}},
		{"--lang ar --form", []string{`lang="ar" dir="rtl"`, "data-form"}},
		{"--form --cause connection_terminated", []string{"can’t tell"}},
		{"--cause maintenance", []string{"as planned", "<time datetime="}},
		{"--format problem+json --cause dns_timeout", []string{`"status":504`, `"cause":"dns_timeout"`}},
		{"--format text", []string{"no healthy upstream\n"}},
		{"--config " + config, []string{"This config has 2", "Shop", "in about 90 seconds"}},
		{"--config " + config + " --format json", []string{`"status":500`, `"retry_after":90`}},
	} {
		out, err := execute(t.Context(), previewCommand(), strings.Fields(tt.args)...)
		if err != nil {
			t.Errorf("%s: %v", tt.args, err)
		}
		for _, want := range tt.wants {
			if !strings.Contains(out, want) {
				t.Errorf("%s: no %q in %s", tt.args, want, out)
			}
		}
	}
}

// TestPreviewLog: of core's lines about the config, only warnings are shown, and its log
// is as before.
func TestPreviewLog(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("Caddyfile", []byte(":80 {\n  respond hello\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	log, before, buffer := caddy.BufferedLog()
	t.Cleanup(func() { caddy.UnbufferDefaultLogger(before) })
	_, err := execute(t.Context(), previewCommand())
	if err == nil || !strings.Contains(err.Error(), "has no no_healthy_upstream") {
		t.Errorf("got %v", err)
	}
	if caddy.Log() != log {
		t.Error("the log is another one")
	}
	core, lines := observer.New(zap.DebugLevel)
	buffer.FlushTo(zap.New(core))
	if all := lines.All(); len(all) != 1 || !strings.Contains(all[0].Message, "not formatted") {
		t.Errorf("got %v", all)
	}
}

// TestPreviewAll: for each handler, every page is written in every language, and one answer
// in every text format.
func TestPreviewAll(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pages")
	config := configFile(t, `{"handler": "no_healthy_upstream", "languages": ["de", "ja"]}, {"handler": "no_healthy_upstream"}`)
	if _, err := execute(t.Context(), previewCommand(), "--config", config, "--all", dir); err != nil {
		t.Fatal(err)
	}
	for pattern, want := range map[string]int{"1/*/*.html": 2 * 5, "2/*/*.html": 48 * 5, "1/*.txt": 10} {
		found, _ := filepath.Glob(filepath.Join(dir, pattern))
		if len(found) != want {
			t.Errorf("%s: %d files, want %d: %v", pattern, len(found), want, found)
		}
		for _, name := range found {
			if text, err := os.ReadFile(name); err != nil || len(text) == 0 {
				t.Errorf("%s: %d bytes, %v", name, len(text), err)
			}
		}
	}
}

// TestPreviewErrors: each mistake is an error that says what is wrong.
func TestPreviewErrors(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, tt := range []struct{ args, want string }{
		{"--cause rain", `cause: must be one of maintenance, destination_unavailable,`},
		{"--cause client_gone", `got "client_gone"`},
		{"--format pdf", `format: must be one of html, problem+json,`},
		{"--lang klingon", `lang: must be one of ar,`},
		{"--config " + filepath.Join(t.TempDir(), "none.json"), "no such file"},
		{"--config " + configFile(t, `{"handler": "reverse_proxy"}`), "has no no_healthy_upstream"},
		{"--config " + configFile(t, `{"handler": "no_healthy_upstream", "color": "red"}`), "color: must be a colour"},
		{"--config " + configFile(t, `{"handler": "no_healthy_upstream", "status": "x"}`), "no_healthy_upstream: json:"},
		{"--all /proc/none", "all: "},
		{"--all x --lang klingon", "[all lang] were all set"},
		{"--all x --cause dns_error", "[all cause] were all set"},
		{"--all x --format pdf", "[all format] were all set"},
		{"--all x --form", "[all form] were all set"},
		{"page", "unknown command"},
	} {
		if _, err := execute(t.Context(), previewCommand(), strings.Fields(tt.args)...); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.args, err, tt.want)
		}
	}
}
