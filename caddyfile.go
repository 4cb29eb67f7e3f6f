package healthpool

import (
	"maps"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/healthpool/caddy-healthpool/internal/check"
	"github.com/healthpool/caddy-healthpool/internal/option"
	errorpage "github.com/healthpool/caddy-healthpool/internal/page"
	"github.com/healthpool/caddy-healthpool/internal/statuspage"
)

func registerDirectives() {
	httpcaddyfile.RegisterGlobalOption("healthpool", parseGlobal)
	httpcaddyfile.RegisterHandlerDirective("no_healthy_upstream", parseNoHealthyUpstream)
	httpcaddyfile.RegisterDirectiveOrder("no_healthy_upstream", httpcaddyfile.After, "intercept")
	httpcaddyfile.RegisterDirective("healthpool", parseShortForm)
	httpcaddyfile.RegisterDirectiveOrder("healthpool", httpcaddyfile.After, "reverse_proxy")
	httpcaddyfile.RegisterHandlerDirective("healthpool_status", statuspage.Parse)
	httpcaddyfile.RegisterDirectiveOrder("healthpool_status", httpcaddyfile.Before, "respond")
}

// tokens keeps the tables of options readable.
type tokens = caddyfile.Dispenser

// sourceOptions are the options of dynamic healthpool.
var sourceOptions = func() option.Block[HealthPoolUpstreams] {
	o := option.Embed(check.Options(), func(u *HealthPoolUpstreams) *check.Spec { return &u.Spec })
	maps.Copy(o, option.Block[HealthPoolUpstreams]{
		"name":              func(u *HealthPoolUpstreams, d *tokens) error { return option.Word(d, &u.Name) },
		"to":                func(u *HealthPoolUpstreams, d *tokens) error { return u.parseAddresses(d, false) },
		"backup":            func(u *HealthPoolUpstreams, d *tokens) error { return u.parseAddresses(d, true) },
		"upstream":          (*HealthPoolUpstreams).parseUpstream,
		"source":            (*HealthPoolUpstreams).parseSource,
		"refresh":           func(u *HealthPoolUpstreams, d *tokens) error { return option.Duration(d, &u.Refresh) },
		"grace_period":      func(u *HealthPoolUpstreams, d *tokens) error { return option.Duration(d, &u.GracePeriod) },
		"max_fails":         func(u *HealthPoolUpstreams, d *tokens) error { return option.Number(d, &u.MaxFails, 1, 0) },
		"fail_duration":     func(u *HealthPoolUpstreams, d *tokens) error { return option.Duration(d, &u.FailDuration) },
		"unhealthy_status":  func(u *HealthPoolUpstreams, d *tokens) error { return option.Statuses(d, &u.UnhealthyStatus) },
		"unhealthy_latency": func(u *HealthPoolUpstreams, d *tokens) error { return option.DurationOrOff(d, &u.UnhealthyLatency) },
		"max_ejected":       func(u *HealthPoolUpstreams, d *tokens) error { return option.Percent(d, &u.MaxEjected) },
		"slow_start":        func(u *HealthPoolUpstreams, d *tokens) error { return option.DurationOrOff(d, &u.SlowStart) },
		"fail_open":         func(u *HealthPoolUpstreams, d *tokens) error { return option.Word(d, &u.FailOpen) },
		"hold":              (*HealthPoolUpstreams).parseHold,
	})
	return o
}()

// upstreamOptions are the options of one upstream block.
var upstreamOptions = option.Block[PoolUpstream]{
	"weight":          func(u *PoolUpstream, d *tokens) error { return option.Number(d, &u.Weight, 1, maxWeight) },
	"max_requests":    func(u *PoolUpstream, d *tokens) error { return option.Number(d, &u.MaxRequests, 1, 0) },
	"backup":          func(u *PoolUpstream, d *tokens) error { return option.Flag(d, &u.Backup) },
	"health_uri":      func(u *PoolUpstream, d *tokens) error { return option.Word(d, &u.HealthURI) },
	"health_port":     func(u *PoolUpstream, d *tokens) error { return option.Number(d, &u.HealthPort, 1, 65535) },
	"health_upstream": func(u *PoolUpstream, d *tokens) error { return option.Word(d, &u.HealthUpstream) },
}

// UnmarshalCaddyfile sets up the source from Caddyfile tokens. Syntax:
//
//	dynamic healthpool [<upstreams...>] {
//	    name     <name>
//	    to       <upstreams...>
//	    backup   <upstreams...>
//	    upstream <address> {
//	        weight          <number>
//	        max_requests    <number>
//	        backup
//	        health_uri      <uri>
//	        health_port     <port>
//	        health_upstream <address>
//	    }
//	    source       <module> [...]
//	    refresh      <duration>
//	    grace_period <duration>
//
//	    health_type             http|tcp|grpc
//	    health_uri              <uri>
//	    health_port             <port>
//	    health_upstream         <address>
//	    health_method           <method>
//	    health_headers {
//	        <field> [<values...>]
//	    }
//	    health_request_body     <text>
//	    health_status           <status>|<class>
//	    health_body             <regexp>
//	    health_follow_redirects
//	    health_service          <name>
//	    health_interval         <duration>
//	    health_edge_interval    <duration>
//	    health_down_interval    <duration>
//	    health_timeout          <duration>
//	    health_fails            <number>
//	    health_passes           <number>
//
//	    max_fails         <number>
//	    fail_duration     <duration>
//	    unhealthy_status  <status>|<class>...
//	    unhealthy_latency <duration>|off
//	    max_ejected       <percentage>
//	    slow_start        <duration>|off
//	    fail_open         slow|never|always
//	    hold              <duration> [<number>] | off
//	}
func (u *HealthPoolUpstreams) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the name of the module
	u.addUpstreams(d.RemainingArgs(), false)
	return sourceOptions.Parse(u, d, "to", "backup", "upstream", "source")
}

func (u *HealthPoolUpstreams) addUpstreams(addresses []string, backup bool) {
	for _, a := range addresses {
		u.Upstreams = append(u.Upstreams, PoolUpstream{Dial: a, Backup: backup})
	}
}

func (u *HealthPoolUpstreams) parseAddresses(d *caddyfile.Dispenser, backup bool) error {
	name, addresses := d.Val(), d.RemainingArgs()
	if len(addresses) == 0 {
		return d.Errf("%s: must name at least one upstream, such as app:8080", name)
	}
	u.addUpstreams(addresses, backup)
	return nil
}

func (u *HealthPoolUpstreams) parseUpstream(d *caddyfile.Dispenser) error {
	var up PoolUpstream
	if err := option.Word(d, &up.Dial); err != nil {
		return err
	}
	if d.NextArg() {
		return d.Errf("upstream: takes one address and a block, got %q", d.Val())
	}
	err := upstreamOptions.Parse(&up, d)
	u.Upstreams = append(u.Upstreams, up)
	return err
}

func (u *HealthPoolUpstreams) parseSource(d *caddyfile.Dispenser) error {
	var name string
	if err := option.Word(d, &name); err != nil {
		return err
	}
	id := "http.reverse_proxy.upstreams." + name
	if _, err := caddy.GetModule(id); err != nil || name == "healthpool" {
		return d.Errf("source: must be another upstream source that this Caddy has, such as a, srv or multi, got %q", name)
	}
	module, err := caddyfile.UnmarshalModule(d, id)
	if err != nil {
		return err
	}
	if _, ok := module.(reverseproxy.UpstreamSource); !ok {
		return d.Errf("source: must be an upstream source, got %q", name)
	}
	u.SourcesRaw = append(u.SourcesRaw, caddyconfig.JSONModuleObject(module, "source", name, nil))
	return nil
}

func (u *HealthPoolUpstreams) parseHold(d *caddyfile.Dispenser) error {
	if err := option.DurationOrOff(d, &u.Hold); err != nil || *u.Hold == 0 || !d.NextArg() {
		return err
	}
	var err error
	if u.HoldMax, err = strconv.Atoi(d.Val()); err != nil || u.HoldMax < 1 {
		return d.Errf("hold: must let a number of at least 1 wait, got %q", d.Val())
	}
	return nil
}

var pageOptions = option.Block[NoHealthyUpstream]{
	"service":      func(n *NoHealthyUpstream, d *tokens) error { return option.Word(d, &n.Service) },
	"message":      func(n *NoHealthyUpstream, d *tokens) error { return option.Word(d, &n.Message) },
	"link":         (*NoHealthyUpstream).parseLink,
	"logo":         func(n *NoHealthyUpstream, d *tokens) error { return option.Word(d, &n.Logo) },
	"color":        (*NoHealthyUpstream).parseColor,
	"languages":    func(n *NoHealthyUpstream, d *tokens) error { return option.Words(d, &n.Languages) },
	"translate":    (*NoHealthyUpstream).parseTranslate,
	"template":     func(n *NoHealthyUpstream, d *tokens) error { return option.Word(d, &n.Template) },
	"status":       func(n *NoHealthyUpstream, d *tokens) error { return option.Number(d, &n.Status, 400, 599) },
	"retry_after":  func(n *NoHealthyUpstream, d *tokens) error { return option.DurationOrOff(d, &n.RetryAfter) },
	"refresh":      (*NoHealthyUpstream).parseRefresh,
	"intercept":    func(n *NoHealthyUpstream, d *tokens) error { return option.Statuses(d, &n.Intercept) },
	"proxy_status": func(n *NoHealthyUpstream, d *tokens) error { return option.Word(d, &n.ProxyStatus) },
	"cors":         func(n *NoHealthyUpstream, d *tokens) error { return option.Words(d, &n.CORS) },
	"event_stream": func(n *NoHealthyUpstream, d *tokens) error { return option.Word(d, &n.EventStream) },
	"details":      func(n *NoHealthyUpstream, d *tokens) error { return option.Words(d, &n.Details) },
	"pass":         func(n *NoHealthyUpstream, d *tokens) error { return option.Flag(d, &n.Pass) },
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	no_healthy_upstream [<matcher>] {
//	    service      <name>
//	    message      <text>
//	    link         <label> <url>
//	    logo         <file>
//	    color        "<#rrggbb>"
//	    languages    <tag>...
//	    translate    <tag> <key> <text>
//	    template     <file>
//	    status       <code>
//	    retry_after  <duration>|off
//	    refresh      off
//	    intercept    <status>|<class>...
//	    proxy_status <name>
//	    cors         <origin>...
//	    event_stream hold
//	    details      <cidr>...
//	    pass
//	}
func (n *NoHealthyUpstream) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the name of the directive
	name := d.Val()
	if d.NextArg() {
		return d.Errf("%s: takes no value, only a block, got %q", name, d.Val())
	}
	return pageOptions.Parse(n, d, "link", "translate")
}

func (n *NoHealthyUpstream) parseLink(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) != 2 {
		return d.Errf("link: must have a label and a URL, got %q", strings.Join(args, " "))
	}
	n.Links = append(n.Links, errorpage.Link{Label: args[0], URL: args[1]})
	return nil
}

func (n *NoHealthyUpstream) parseColor(d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return d.Err(`color: needs a value such as "#4a78a4", in quotes: without them, # begins a comment`)
	}
	n.Color = d.Val()
	return nil
}

func (n *NoHealthyUpstream) parseTranslate(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) != 3 {
		return d.Errf("translate: must have a language, a key and a text, got %q", strings.Join(args, " "))
	}
	tag, key := args[0], args[1]
	if n.Translate[tag][key] != "" {
		return d.Errf("translate: must replace each sentence once, got %s %s twice", tag, key)
	}
	if n.Translate == nil {
		n.Translate = make(map[string]map[string]string)
	}
	if n.Translate[tag] == nil {
		n.Translate[tag] = make(map[string]string)
	}
	n.Translate[tag][key] = args[2]
	return nil
}

func (n *NoHealthyUpstream) parseRefresh(d *caddyfile.Dispenser) error {
	var value string
	if err := option.Word(d, &value); err != nil {
		return err
	}
	if value != "off" {
		return d.Errf("refresh: must be off, got %q", value)
	}
	n.Refresh = new(bool)
	return nil
}

func parseNoHealthyUpstream(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	n := new(NoHealthyUpstream)
	return n, n.UnmarshalCaddyfile(h.Dispenser)
}

var appOptions = option.Block[App]{
	"max_probes":    func(a *App, d *tokens) error { return option.Number(d, &a.MaxProbes, 1, 0) },
	"sync_interval": func(a *App, d *tokens) error { return option.DurationOrOff(d, &a.SyncInterval) },
}

// parseGlobal reads the global option. Syntax:
//
//	healthpool {
//	    max_probes    <number>
//	    sync_interval <duration>|off
//	}
func parseGlobal(d *caddyfile.Dispenser, earlier any) (any, error) {
	a := new(App)
	d.Next() // the name of the option
	if earlier != nil {
		return nil, d.Err("healthpool: must be given once, but is already specified")
	}
	if d.NextArg() {
		return nil, d.Errf("healthpool: takes no value, only a block, got %q", d.Val())
	}
	if err := appOptions.Parse(a, d); err != nil {
		return nil, err
	}
	return httpcaddyfile.App{Name: "healthpool", Value: caddyconfig.JSON(a, nil)}, nil
}
