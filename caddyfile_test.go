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
