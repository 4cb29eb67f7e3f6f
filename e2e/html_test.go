package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// rules are what html-validate checks beyond, or not as, its recommendations.
var rules = map[string]any{
	// HTML takes either case; in lower case a page is a little smaller when it is compressed.
	"doctype-style": []any{"error", map[string]string{"style": "lowercase"}},
	// A search engine would cut off long titles, but never sees these (X-Robots-Tag). They have to be whole sentences,
	// and the name of the site.
	"long-title": "off",
}

// TestValidHTML has html-validate look at every kind of page in every language.
func TestValidHTML(t *testing.T) {
	program, validator := node(t), nodeModule(t, "html-validate", "bin", "html-validate.mjs")
	urls := serveKinds(t)
	dir := t.TempDir()
	for _, k := range kinds {
		for _, language := range languages(t) {
			name := fmt.Sprintf("%s in %s.html", k.name, language)
			page := complete(fetchKind(t, k, urls[k.name], language))
			if err := os.WriteFile(filepath.Join(dir, name), []byte(page), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	config := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(config, validation(t), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, validator, "--config", config, "--formatter", "text", dir).CombinedOutput()
	if err != nil {
		t.Errorf("html-validate: %v\n%s", err, strings.ReplaceAll(string(out), dir, ""))
	}
}

// complete puts the tags into a page that HTML lets it leave out. html-validate does not know them to be implied.
func complete(page string) string {
	return strings.NewReplacer("<meta charset", "<head><meta charset", "<main", "</head><body><main").Replace(page) + "</body></html>"
}

// validation is the configuration of html-validate.
func validation(t *testing.T) []byte {
	t.Helper()
	config, err := json.Marshal(map[string]any{
		"root":    true,
		"extends": []string{"html-validate:recommended", "html-validate:standard", "html-validate:a11y"},
		"rules":   rules,
	})
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// languages are those that the page has.
func languages(t *testing.T) (tags []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "internal", "page", "words", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no languages: %v", err)
	}
	for _, file := range files {
		tags = append(tags, strings.TrimSuffix(filepath.Base(file), ".json"))
	}
	return tags
}

// fetchKind returns a page of a kind, in a language, as a browser gets it.
func fetchKind(t *testing.T, k kind, url, language string) string {
	t.Helper()
	method := http.MethodGet
	if k.form {
		method = http.MethodPost
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept-Language", language)
	req.Header.Set("Sec-Fetch-Dest", "document")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	page, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if got := res.Header.Get("Content-Language"); got != language || !strings.HasPrefix(string(page), "<!doctype html>") {
		t.Fatalf("want a page in %s, got in %s:\n%s", language, got, page)
	}
	return string(page)
}
