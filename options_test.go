package healthpool

import (
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// TestEveryOptionIsDocumented keeps the tables of options complete.
func TestEveryOptionIsDocumented(t *testing.T) {
	text, err := os.ReadFile("docs/options.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, options := range map[string][]string{
		"dynamic healthpool":  slices.Sorted(maps.Keys(sourceOptions)),
		"no_healthy_upstream": slices.Sorted(maps.Keys(pageOptions)),
		"healthpool":          slices.Sorted(maps.Keys(appOptions)),
	} {
		if len(options) == 0 {
			t.Errorf("%s has no options", name)
		}
		for _, o := range options {
			if !strings.Contains(string(text), "\n| `"+o+" ") && !strings.Contains(string(text), "\n| `"+o+"`") {
				t.Errorf("%s: no row for %s", name, o)
			}
		}
	}
}

// TestEveryFieldHasAnOption checks that JSON and Caddyfile have the same options.
func TestEveryFieldHasAnOption(t *testing.T) {
	other := map[string]string{"upstreams": "to", "sources": "source", "links": "link", "hold_max": "hold"}
	for _, tt := range []struct {
		config  any
		options []string
	}{
		{HealthPoolUpstreams{}, slices.Collect(maps.Keys(sourceOptions))},
		{NoHealthyUpstream{}, slices.Collect(maps.Keys(pageOptions))},
		{App{}, slices.Collect(maps.Keys(appOptions))},
	} {
		for _, f := range reflect.VisibleFields(reflect.TypeOf(tt.config)) {
			field, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if field == "" {
				continue
			}
			option := field
			if o := other[field]; o != "" {
				option = o
			}
			if !slices.Contains(tt.options, option) {
				t.Errorf("%T: no option for the field %s", tt.config, field)
			}
		}
	}
}
