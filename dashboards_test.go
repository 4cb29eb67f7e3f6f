package healthpool_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/healthpool/caddy-healthpool/internal/operator"
	"github.com/healthpool/caddy-healthpool/internal/pool"
)

// metrics returns the labels of our metrics, by name.
func metrics() map[string][]string {
	const enough = 100
	descs := make(chan *prometheus.Desc, enough)
	operator.Metrics{Pools: func() []pool.Status { return nil }}.Describe(descs)
	close(descs)
	parts := regexp.MustCompile(`fqName: "(\w+)".*variableLabels: \{([^}]*)\}`)
	found := make(map[string][]string)
	for d := range descs {
		p := parts.FindStringSubmatch(d.String())
		found[p[1]] = strings.Split(p[2], ",")
	}
	return found
}

// metricWords returns the names of our metrics and their labels.
func metricWords() []string {
	all := slices.Collect(maps.Keys(metrics()))
	for _, labels := range metrics() {
		all = append(all, labels...)
	}
	return all
}

// dashboard has the checked parts of a Grafana dashboard.
type dashboard struct {
	ID            *int   `json:"id"`
	UID           string `json:"uid"`
	Title         string `json:"title"`
	SchemaVersion int    `json:"schemaVersion"`
	Templating    struct {
		List []struct {
			Name, Type string
			Query      any
			Definition string
		} `json:"list"`
	} `json:"templating"`
	Panels []panel `json:"panels"`
}

type panel struct {
	ID                       int
	Type, Title, Description string
	Datasource               datasource
	GridPos                  grid
	Targets                  []struct {
		Datasource datasource
		Expr       string
		RefID      string `json:"refId"`
	}
}

type grid struct{ X, Y, W, H int }

type datasource struct{ Type, UID string }

func readDashboard(t *testing.T) (d dashboard) {
	t.Helper()
	content, err := os.ReadFile("example/grafana-dashboard.json")
	if err == nil {
		err = json.Unmarshal(content, &d)
	}
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// expressions returns the expressions of the panels.
func (d dashboard) expressions() (all []string) {
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			all = append(all, target.Expr)
		}
	}
	return all
}

// TestDashboard checks that the dashboard can be imported as it is: it has a name but no
// ID, and asks for the Prometheus data source to use.
func TestDashboard(t *testing.T) {
	d := readDashboard(t)
	const recent = 39 // Grafana 10.4
	if d.ID != nil || d.UID == "" || d.Title == "" || d.SchemaVersion < recent {
		t.Errorf("id %v, uid %q, title %q, schemaVersion %d", d.ID, d.UID, d.Title, d.SchemaVersion)
	}
	if v := d.Templating.List[0]; v.Name != "datasource" || v.Type != "datasource" || v.Query != "prometheus" {
		t.Errorf("the first variable is no data source: %v", v)
	}
	for i, p := range d.Panels {
		p.check(t)
		for _, q := range d.Panels[:i] {
			if p.ID == q.ID || p.GridPos.overlaps(q.GridPos) {
				t.Errorf("%s and %s are in the same place, or have the same ID", p.Title, q.Title)
			}
		}
	}
}

func (p panel) check(t *testing.T) {
	t.Helper()
	if p.Title == "" || p.Description == "" || len(p.Targets) == 0 {
		t.Errorf("panel %d %q: needs a title, a description and something to show", p.ID, p.Title)
	}
	if g := p.GridPos; g.X < 0 || g.W <= 0 || g.H <= 0 || g.X+g.W > 24 {
		t.Errorf("%s: does not fit: %v", p.Title, g)
	}
	chosen := datasource{"prometheus", "${datasource}"}
	refs := make(map[string]bool)
	for _, target := range p.Targets {
		if p.Datasource != chosen || target.Datasource != chosen {
			t.Errorf("%s: the data source is %v and %v", p.Title, p.Datasource, target.Datasource)
		}
		if refs[target.RefID] {
			t.Errorf("%s: the reference %s is there twice", p.Title, target.RefID)
		}
		refs[target.RefID] = true
	}
}

func (g grid) overlaps(o grid) bool {
	return g.X < o.X+o.W && o.X < g.X+g.W && g.Y < o.Y+o.H && o.Y < g.Y+g.H
}

// TestExpressions checks that the dashboard and the alerts use only existing metrics and
// labels, and the dashboard every metric.
func TestExpressions(t *testing.T) {
	known, d := metrics(), readDashboard(t)
	asked := d.expressions()
	for _, v := range d.Templating.List {
		asked = append(asked, v.Definition)
	}
	inDashboard := strings.Join(asked, "\n")
	for name := range known {
		if !strings.Contains(inDashboard, name) {
			t.Errorf("the dashboard does not show %s", name)
		}
	}
	for _, file := range []string{"example/alerts.yml", "example/alerts_test.yml"} {
		rules, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		asked = append(asked, string(rules))
	}
	all := strings.Join(asked, "\n")
	for _, name := range regexp.MustCompile(`\bcaddy_\w+`).FindAllString(all, -1) {
		if known[strings.TrimSuffix(name, "_bucket")] == nil {
			t.Errorf("there is no metric %s", name)
		}
	}
	labels := append(metricWords(), "job", "instance", "le")
	for _, label := range labelsIn(all) {
		if !slices.Contains(labels, label) {
			t.Errorf("there is no label %s", label)
		}
	}
}

// labelsIn returns the labels that expressions select and group by.
func labelsIn(expressions string) (labels []string) {
	selected := regexp.MustCompile(`[{,]\s*(\w+)\s*(?:=|!=|=~|!~)\s*"`)
	for _, found := range selected.FindAllStringSubmatch(expressions, -1) {
		labels = append(labels, found[1])
	}
	grouped := regexp.MustCompile(`\b(?:by|on) \(([^)]*)\)`)
	for _, found := range grouped.FindAllStringSubmatch(expressions, -1) {
		labels = append(labels, strings.Split(found[1], ", ")...)
	}
	return labels
}

// TestRules has promtool check the alerts and the dashboard's expressions, and run the
// tests of the alerts.
func TestRules(t *testing.T) {
	promtool(t, "check", "rules", "example/alerts.yml")
	promtool(t, "test", "rules", "example/alerts_test.yml")
	type rule struct {
		Record string `json:"record"`
		Expr   string `json:"expr"`
	}
	type group struct {
		Name  string `json:"name"`
		Rules []rule `json:"rules"`
	}
	g := group{Name: "dashboard"}
	variables := strings.NewReplacer("$__rate_interval", "5m", "$job", ".*", "$instance", ".*", "$pool", ".*")
	for i, expr := range readDashboard(t).expressions() {
		g.Rules = append(g.Rules, rule{fmt.Sprintf("dashboard:%d", i), variables.Replace(expr)})
	}
	rules, err := json.Marshal(map[string][]group{"groups": {g}}) // JSON is also YAML
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "dashboard.yml")
	if err := os.WriteFile(file, rules, 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "check", "rules", file)
}

// promtool runs promtool. If it is not installed the test is skipped, except in CI, where
// it is required.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	tool, err := exec.LookPath("promtool")
	switch {
	case err != nil && os.Getenv("CI") != "":
		t.Fatal(err)
	case err != nil:
		t.Skip(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if said, err := exec.CommandContext(ctx, tool, args...).CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, said)
	}
}
