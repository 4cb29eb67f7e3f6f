package healthpool_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// position is Caddy's prefix for the place of an error; the rest is our text.
var position = regexp.MustCompile(`^(parsing caddyfile tokens for '\w+': |loading http app module: .*provision http\.(handlers\.no_healthy_upstream|reverse_proxy\.upstreams\.healthpool): )`)

// errorFor returns our error text for a wrong Caddyfile; empty if it is valid.
func errorFor(t *testing.T, caddyfile string) string {
	t.Helper()
	adapted, err := adapt(caddyfile)
	if err == nil {
		err = validate(t, adapted)
	}
	if err == nil {
		return ""
	}
	return position.ReplaceAllString(err.Error(), "")
}

// badInput is a wrong configuration and the expected error.
type badInput struct{ text, want string }

func TestBadInput(t *testing.T) {
	for _, table := range []struct {
		name, caddyfile string
		inputs          []badInput
	}{
		{"no_healthy_upstream", ":80 {\nno_healthy_upstream {\n%s\n}\n}", badPageOptions},
		{"dynamic healthpool", ":80 {\nreverse_proxy {\ndynamic healthpool app:8080 {\n%s\n}\n}\n}", badSourceOptions},
		{"dynamic healthpool", ":80 {\nreverse_proxy {\ndynamic healthpool app:8080 {\n%s\n}\n}\n}", badTraffic},
		{"site", ":80 {\n%s\n}", badDirectives},
		{"global", "{\nhealthpool%s\n}\n:80 {\nhealthpool a:1\n}", badGlobals},
	} {
		for _, input := range table.inputs {
			t.Run(table.name+" "+strings.ReplaceAll(input.text, "\n", " "), func(t *testing.T) {
				if got := errorFor(t, fmt.Sprintf(table.caddyfile, input.text)); got != input.want {
					t.Errorf("%s\ngot  %s\nwant %s", input.text, got, input.want)
				}
			})
		}
	}
}

// TestBadTemplate checks the errors for invalid templates.
func TestBadTemplate(t *testing.T) {
	dir := t.TempDir()
	for text, want := range map[string]string{
		"":               "must not be empty",
		"{{":             "unclosed action",
		"{{.Nonsense}}":  "can't evaluate field Nonsense",
		"{{nonsense}}":   `function "nonsense" not defined`,
		"<a href={{if}}": "missing value for if",
	} {
		file := filepath.Join(dir, "page.html")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got := errorFor(t, ":80 {\nno_healthy_upstream {\ntemplate "+file+"\n}\n}")
		if !strings.HasPrefix(got, "template: "+file+": ") || !strings.Contains(got, want) {
			t.Errorf("%q: got %s", text, got)
		}
	}
}

// TestBadJSON checks that wrong JSON gets the same errors.
func TestBadJSON(t *testing.T) {
	for _, input := range []badInput{
		{`"handler": "no_healthy_upstream", "status": 200`, "status: must be from 400 to 599, got 200"},
		{`"handler": "no_healthy_upstream", "retry_after": "-1s"`, "retry_after: must not be negative, got -1s; 0 or off switches it off"},
		{`"handler": "no_healthy_upstream", "links": [{"label": "x", "url": "ftp://x"}]`, `link: must be an https, http, mailto or tel URL, got "ftp://x"`},
		{`"health_interval": -1`, "health_interval: must be greater than 0, got -1ns"},
		{`"health_fails": -1`, "health_fails: must be at least 1, got -1"},
		{`"health_port": 70000`, "health_port: must be from 1 to 65535, got 70000"},
		{`"health_uri": "/", "health_status": 99`, "health_status: must be a status such as 200 or a class such as 2xx, got 99"},
		{`"hold": "-5s"`, "hold: must not be negative, got -5s; 0 or off switches it off"},
		{`"hold_max": -1`, "hold_max: must be at least 1, got -1"},
		{`"upstreams": [{"dial": "a:1", "weight": -1}]`, "upstream a:1: weight: must be from 1 to 1000, got -1"},
		{`"upstreams": [{"dial": "a:1", "max_requests": -1}]`, "upstream a:1: max_requests: must be at least 0, got -1"},
		{`"upstreams": [{"dial": "a:1", "health_uri": "x"}]`, `upstream a:1: health_uri: must be a path that begins with /, got "x"`},
		{`"sources": [{"source": "none"}]`, "source: loading: position 0: loading module 'none': unknown module: http.reverse_proxy.upstreams.none"},
		{`"sources": [{}]`, "source: loading: position 0: module name not specified with key 'source' in map[]"},
		{`"sources": [{"source": "healthpool", "upstreams": [{"dial": "b:1"}]}]`, "source: must be another upstream source, got *healthpool.HealthPoolUpstreams"},
		{`"refresh": "-1s"`, "refresh: must be greater than 0, got -1s"},
		{`"grace_period": "-1s"`, "grace_period: must be greater than 0, got -1s"},
		{`"max_fails": -1`, "max_fails: must be at least 1, got -1"},
		{`"fail_duration": "-1s"`, "fail_duration: must be greater than 0, got -1s"},
		{`"unhealthy_status": [5, 99]`, "unhealthy_status: must be a status such as 200 or a class such as 2xx, got 99"},
		{`"unhealthy_latency": "-1s"`, "unhealthy_latency: must not be negative, got -1s; 0 or off switches it off"},
		{`"max_ejected": 101`, "max_ejected: must be from 1 to 100, got 101"},
		{`"slow_start": "-1s"`, "slow_start: must not be negative, got -1s; 0 or off switches it off"},
		{`"fail_open": "maybe"`, `fail_open: must be slow, never or always, got "maybe"`},
	} {
		handler := "{" + input.text + "}"
		if !strings.Contains(handler, "handler") {
			handler = `{"handler": "reverse_proxy", "dynamic_upstreams": {"source": "healthpool", ` + input.text
			if !strings.Contains(handler, "upstreams\": [") {
				handler += `, "upstreams": [{"dial": "a:1"}]`
			}
			handler += "}}"
		}
		err := validate(t, []byte(`{"apps": {"http": {"servers": {"s": {"listen": [":80"], "routes": [{"handle": [`+handler+`]}]}}}}}`))
		if err == nil || position.ReplaceAllString(err.Error(), "") != input.want {
			t.Errorf("%s\ngot  %v\nwant %s", input.text, err, input.want)
		}
	}
}

var badGlobals = []badInput{
	{" x", `healthpool: takes no value, only a block, got "x", at Caddyfile:2`},
	{" {\nmax_probes\n}", "max_probes: needs a value, at Caddyfile:3"},
	{" {\nmax_probes 0\n}", `max_probes: must be a number of at least 1, got "0", at Caddyfile:3`},
	{" {\nmax_probes many\n}", `max_probes: must be a number of at least 1, got "many", at Caddyfile:3`},
	{" {\nmax_probes 1\nmax_probes 2\n}", "max_probes: must be given once, but is already specified, at Caddyfile:4"},
	{" {\nmax_probes 1\n}\nhealthpool {\nsync_interval off\n}", "healthpool: must be given once, but is already specified, at Caddyfile:5"},
	{" {\nother 1\n}", `unrecognized option "other"; there are max_probes, sync_interval, at Caddyfile:3`},
}

var badPageOptions = []badInput{
	{"service", "service: needs a value, at Caddyfile:3"},
	{"service a b", `service: takes no further value, got "b", at Caddyfile:3`},
	{`service ""`, "service: must not be empty, at Caddyfile:3"},
	{"service a\nservice b", "service: must be given once, but is already specified, at Caddyfile:4"},
	{"service {\nx\n}", "service: needs a value, at Caddyfile:3"},
	{"message", "message: needs a value, at Caddyfile:3"},
	{`message ""`, "message: must not be empty, at Caddyfile:3"},
	{"link", `link: must have a label and a URL, got "", at Caddyfile:3`},
	{"link x", `link: must have a label and a URL, got "x", at Caddyfile:3`},
	{"link x https://x y", `link: must have a label and a URL, got "x https://x y", at Caddyfile:3`},
	{`link "" https://x`, `link: must have a label, got only "https://x"`},
	{"link x ftp://x", `link: must be an https, http, mailto or tel URL, got "ftp://x"`},
	{"link x javascript:alert(1)", `link: must be an https, http, mailto or tel URL, got "javascript:alert(1)"`},
	{"link x example.com", `link: must be an https, http, mailto or tel URL, got "example.com"`},
	{"link x http://[", `link: must be an https, http, mailto or tel URL, got "http://["`},
	{"status", "status: needs a value, at Caddyfile:3"},
	{"status x", `status: must be a number from 400 to 599, got "x", at Caddyfile:3`},
	{"status 200", `status: must be a number from 400 to 599, got "200", at Caddyfile:3`},
	{"status 600", `status: must be a number from 400 to 599, got "600", at Caddyfile:3`},
	{"status 0", `status: must be a number from 400 to 599, got "0", at Caddyfile:3`},
	{"status 503 504", `status: takes no further value, got "504", at Caddyfile:3`},
	{"retry_after", "retry_after: needs a value, at Caddyfile:3"},
	{"retry_after x", `retry_after: must be a duration greater than 0, such as 5s, or off, got "x", at Caddyfile:3`},
	{"retry_after -5s", `retry_after: must be a duration greater than 0, such as 5s, or off, got "-5s", at Caddyfile:3`},
	{"retry_after 0", `retry_after: must be a duration greater than 0, such as 5s, or off, got "0", at Caddyfile:3`},
	{"retry_after 5s 6s", `retry_after: takes no further value, got "6s", at Caddyfile:3`},
	{"refresh", "refresh: needs a value, at Caddyfile:3"},
	{"refresh on", `refresh: must be off, got "on", at Caddyfile:3`},
	{"refresh off on", `refresh: takes no further value, got "on", at Caddyfile:3`},
	{"pass off", `pass: takes no further value, got "off", at Caddyfile:3`},
	{"pass\nstatus 503\npass", "pass: must be given once, but is already specified, at Caddyfile:5"},
	{"color", `color: needs a value such as "#4a78a4", in quotes: without them, # begins a comment, at Caddyfile:3`},
	{"color #0b4884", `color: needs a value such as "#4a78a4", in quotes: without them, # begins a comment, at Caddyfile:3`},
	{`color "blue"`, `color: must be a colour as #rrggbb, got "blue"`},
	{`color "#fff"`, `color: must be a colour as #rrggbb, got "#fff"`},
	{`color "#ffff00"`, "color: must have a contrast of at least 4.5:1 to white, for the light theme, and to black, for the dark one, got #ffff00 with 1.07:1 and 19.56:1; the nearest that passes is #7a7a00"},
	{"logo", "logo: needs a value, at Caddyfile:3"},
	{"logo /nowhere.svg", "logo: open /nowhere.svg: no such file or directory"},
	{"languages", "languages: needs a value, at Caddyfile:3"},
	{"languages de DE-de", `languages: must name each language once, got "de" twice`},
	{"languages eo", `languages: must be one of ar, bg, bn, ca, cs, da, de, el, en, es, et, fa, fi, fil, fr, he, hi, hr, hu, id, it, ja, ko, lt, lv, mr, ms, nb, nl, pl, pt-BR, pt-PT, ro, ru, sk, sl, sr, sv, sw, ta, te, th, tr, uk, ur, vi, zh-CN, zh-TW, got "eo"`},
	{"translate de title", `translate: must have a language, a key and a text, got "de title", at Caddyfile:3`},
	{"translate de heading x", `translate: de: must be one of the keys back, long, moment, not_sent, open, planned, reason, reference, resend, resume, retry, seconds, stop, title, unknown, until, watching, watching_form, got "heading"`},
	{"translate de seconds x", `translate: de: seconds must have {n} in it once, got "x"`},
	{"translate de title x\ntranslate de title y", "translate: must replace each sentence once, got de title twice, at Caddyfile:4"},
	{"intercept", "intercept: needs a value, at Caddyfile:3"},
	{"intercept 6xx", `intercept: must be a status such as 200 or a class such as 2xx, got "6xx", at Caddyfile:3`},
	{"proxy_status Zürich", `proxy_status: must be printable ASCII, got "Zürich"`},
	{"cors", "cors: needs a value, at Caddyfile:3"},
	{"cors example.com", `cors: must be an origin such as https://app.example.com, without a path, or *, got "example.com"`},
	{"cors https://example.com/", `cors: must be an origin such as https://app.example.com, without a path, or *, got "https://example.com/"`},
	{"event_stream on", `event_stream: must be hold, got "on"`},
	{"details", "details: needs a value, at Caddyfile:3"},
	{"details office", `details: must be IP addresses or ranges such as 10.0.0.0/8, got "office"`},
	{"template", "template: needs a value, at Caddyfile:3"},
	{"template /nowhere.html", "template: open /nowhere.html: no such file or directory"},
	{"colour red", `unrecognized option "colour"; there are color, cors, details, event_stream, intercept, languages, link, logo, message, pass, proxy_status, refresh, retry_after, service, status, template, translate, at Caddyfile:3`},
}

var badDirectives = []badInput{
	{"no_healthy_upstream x", `no_healthy_upstream: takes no value, only a block, got "x", at Caddyfile:2`},
	{"no_healthy_upstream /a b", `no_healthy_upstream: takes no value, only a block, got "b", at Caddyfile:2`},
	{"reverse_proxy {\ndynamic healthpool\n}", "to: must name at least one upstream, such as app:8080"},
	{"reverse_proxy {\ndynamic healthpool {\n}\n}", "to: must name at least one upstream, such as app:8080"},
	{"healthpool", "to: must name at least one upstream, such as app:8080"},
	{"healthpool {\n}", "to: must name at least one upstream, such as app:8080"},
	{"healthpool a:1 b:1 a:1", `to: must name each upstream once, got "a:1" twice`},
	{"healthpool a:1 tcp/a:1", `to: must name each upstream once, got "tcp/a:1" twice`},
	{"healthpool a a:80", `to: must name each upstream once, got "a:80" twice`},
	{"healthpool http://a", `to: must be an address without a scheme, got "http://a"; write "a"; for TLS, use transport http { tls }`},
	{"healthpool https://a", `to: must be an address without a scheme, got "https://a"; write "a:443" and use transport http { tls }`},
	{"healthpool a:1-3", `to: must have one port, not a range, got "a:1-3"; list each address`},
	{"healthpool a:1 {\nto b:1\nto a:1\n}", `to: must name each upstream once, got "a:1" twice`},
	{"healthpool unix//a.sock b:1 unix//a.sock", `to: must name each upstream once, got "unix//a.sock" twice`},
	{"healthpool a:1 {\ndynamic a app 80\n}", "dynamic: must not be given in healthpool, which is the source itself, at Caddyfile:4"},
	{"healthpool a:1 {\ndynamic healthpool b:1\n}", "dynamic: must not be given in healthpool, which is the source itself, at Caddyfile:4"},
	{"healthpool a:1 {\npage x\n}", `page: takes no value, only a block, got "x", at Caddyfile:3`},
	{"healthpool a:1 {\npage {\nfoo\n}\n}", `unrecognized option "foo"; there are color, cors, details, event_stream, intercept, languages, link, logo, message, pass, proxy_status, refresh, retry_after, service, status, template, translate, at Caddyfile:4`},
	{"healthpool a:1 {\npage {\n}\npage {\n}\n}", "page: must be given once, but is already specified, at Caddyfile:6"},
	{"healthpool a:1 {\nfoo bar\n}", "unrecognized subdirective foo, at Caddyfile:3; besides those of reverse_proxy there are page, backup, fail_duration, fail_open, grace_period, health_body, health_down_interval, health_edge_interval, health_fails, health_follow_redirects, health_headers, health_interval, health_method, health_passes, health_port, health_request_body, health_service, health_status, health_timeout, health_type, health_upstream, health_uri, hold, max_ejected, max_fails, name, refresh, slow_start, source, to, unhealthy_latency, unhealthy_status, upstream"},
	{"healthpool a:1 {\nweight 2\n}", "weight: must be given inside of upstream <address> { }, at Caddyfile:3"},
	{"healthpool a:1 {\nhealth_path /x\n}", "health_path: is an old name, write health_uri, at Caddyfile:3"},
	{"healthpool a:1 {\nservice x\n}", "service: must be given inside of page { }, at Caddyfile:3"},
	{"healthpool a:1 {\nmax_probes 3\n}", "max_probes: must be given in the global option healthpool, at Caddyfile:3"},
	{"healthpool a:1 {\nname x\nname y\n}", "name: must be given once, but is already specified, at Caddyfile:4"},
	{"healthpool a:1 {\nlb_policy health_aware x\n}", `health_aware: takes no value, got "x", at Caddyfile:3`},
	{"healthpool a:1 {\nlb_policy health_aware {\nx\n}\n}", `health_aware: has no options, got "x", at Caddyfile:4`},
	{"healthpool a:1 {\nhold\n}", "hold: needs a value, at Caddyfile:3"},
	{"healthpool a:1 {\nhealth_uri x\n}", `health_uri: must be a path that begins with /, got "x"`},
	{"reverse_proxy {\ndynamic healthpool a:1\nhealth_uri /\n}", "health_uri: reverse_proxy does not check dynamic upstreams; move health_uri into dynamic healthpool"},
	{"reverse_proxy {\ndynamic healthpool a:1\nhealth_port 90\n}", "health_port: reverse_proxy does not check dynamic upstreams; move health_port into dynamic healthpool"},
	{"reverse_proxy {\ndynamic healthpool a:1\nhealth_interval 5s\n}", "health_*: reverse_proxy does not check dynamic upstreams; move health_uri and the other health_* options into dynamic healthpool"},
	{"healthpool a:1 {\nname x\n}\nhealthpool /x b:1 {\nname x\n}", `name: must be one pool's alone, but "x" is configured in two ways`},
	{"healthpool {env.NOT_SET}", `to: must be known at the start, so only global placeholders may be used, got "{env.NOT_SET}": evaluated placeholder {env.NOT_SET} is empty`},
	{`healthpool "a b:80"`, `to: must be a host and a port without a path, got "a b:80"`},
}
