package healthpool_test

import (
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/yuin/goldmark/ast"
	table "github.com/yuin/goldmark/extension/ast"

	"github.com/healthpool/caddy-healthpool/internal/cause"
	"github.com/healthpool/caddy-healthpool/internal/intent"
	"github.com/healthpool/caddy-healthpool/internal/page/words"
	"github.com/healthpool/caddy-healthpool/internal/pool"
)

// options returns the names of all options, which the errors for an unknown option list.
func options(t *testing.T) (all []string) {
	t.Helper()
	for _, block := range []string{
		":80 {\nno_healthy_upstream {\nnonsense\n}\n}",
		":80 {\nreverse_proxy {\ndynamic healthpool {\nnonsense\n}\n}\n}",
		":80 {\nreverse_proxy {\ndynamic healthpool {\nupstream a:1 {\nnonsense\n}\n}\n}\n}",
		"{\nhealthpool {\nnonsense\n}\n}",
	} {
		_, err := adapt(block)
		if err == nil {
			t.Fatalf("no error: %s", block)
		}
		_, names, _ := strings.Cut(err.Error(), "there are ")
		names, _, found := strings.Cut(names, ", at ")
		if !found {
			t.Fatalf("it does not say what there is: %v", err)
		}
		all = append(all, strings.Split(names, ", ")...)
	}
	return all
}

// TestTablesOfOptions checks that every option documented in a table exists.
func TestTablesOfOptions(t *testing.T) {
	known, rows := options(t), 0
	for _, d := range documents(t) {
		each(d, func(n *table.Table) {
			if d.textOf(n.FirstChild().FirstChild()) != "Option" {
				return
			}
			for row := n.FirstChild().NextSibling(); row != nil; row = row.NextSibling() {
				name, _, _ := strings.Cut(d.textOf(row.FirstChild()), " ")
				if rows++; !slices.Contains(known, name) {
					t.Errorf("%s: there is no option %s", d.name, name)
				}
			}
		})
	}
	if rows < len(known)/2 {
		t.Errorf("only %d rows", rows)
	}
}

// notOurs has names of Caddy and others in our documents.
var notOurs = strings.Fields(`
	reverse_proxy php_fastcgi forward_auth handle_errors file_server basic_auth trusted_proxies remote_ip client_ip private_ranges
	lb_policy lb_retries lb_retry_match lb_try_duration header_up dial_timeout response_header_timeout stream_close_delay
	tls_server_name tls_trust_pool request_body max_response_header
	stop_grace_period enable_truncate dns_config target_upstream`)

// TestWordsInCode checks that names with underscores in the documents exist: options,
// causes, JSON fields, metrics and their labels, keys.
func TestWordsInCode(t *testing.T) {
	known := slices.Concat(options(t), notOurs, metricWords(), []string{
		// Our modules, directives and policy.
		"no_healthy_upstream", "health_aware", "healthpool_status",
		// Events, log fields and fates.
		"pool_up", "pool_down", "check_duration", "err_id", "not_sent",
		"alerts_test", // a file
	})
	for _, c := range cause.All() {
		known = append(known, string(c))
	}
	for _, v := range []any{pool.Status{}, pool.UpstreamStatus{}, pool.CheckStatus{}, intent.Maintenance{}, problem{}} {
		known = append(known, members(v)...)
	}
	known = slices.AppendSeq(known, maps.Keys(words.Of(words.English)))
	name := regexp.MustCompile(`\b[a-z]+(?:_[a-z0-9]+)+\b`)
	for _, d := range documents(t) {
		each(d, func(n *ast.CodeSpan) {
			for _, word := range name.FindAllString(d.textOf(n), -1) {
				if !slices.Contains(known, word) {
					t.Errorf("%s: nothing is called %s", d.name, word)
				}
			}
		})
	}
}

// members returns the JSON names of a struct's fields.
func members(v any) (names []string) {
	for _, f := range reflect.VisibleFields(reflect.TypeOf(v)) {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// TestCausesAreExplained checks that docs/health.md explains each cause under its own
// heading, with the advice that is shown elsewhere.
func TestCausesAreExplained(t *testing.T) {
	d := read(t, "docs/health.md")
	advice := make(map[string]string) // by heading
	heading := ""
	each(d, func(n ast.Node) {
		switch n := n.(type) {
		case *ast.Heading:
			heading = d.textOf(n)
		case *ast.Blockquote:
			advice[heading] = d.textOf(n)
		}
	})
	for _, c := range cause.All() {
		if got := advice[string(c)]; got != c.Advice() {
			t.Errorf("%s: the advice is %q, want %q", c, got, c.Advice())
		}
		delete(advice, string(c))
	}
	if len(advice) > 0 {
		t.Errorf("there are no such causes: %v", advice)
	}
}

// TestMembersAreExplained checks that docs/operating.md explains each field of the admin
// API, and each metric with its labels, in a table row.
func TestMembersAreExplained(t *testing.T) {
	d := read(t, "docs/operating.md")
	rows := make(map[string]string) // by what the first cell names
	each(d, func(n *table.TableRow) {
		for name := range strings.SplitSeq(d.textOf(n.FirstChild()), ", ") {
			rows[name] = d.textOf(n)
		}
	})
	for _, v := range []any{pool.Status{}, pool.UpstreamStatus{}, intent.Maintenance{}} {
		for _, name := range members(v) {
			if rows[name] == "" {
				t.Errorf("no row for the member %s", name)
			}
		}
	}
	for name, labels := range metrics() {
		if !strings.Contains(rows[name], strings.Join(labels, ", ")) {
			t.Errorf("the row for %s is %q, want its labels %v", name, rows[name], labels)
		}
	}
}
