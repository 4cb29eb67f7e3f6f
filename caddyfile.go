package healthpool

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/healthpool/caddy-healthpool/internal/option"
)

func registerDirectives() {
	httpcaddyfile.RegisterGlobalOption("healthpool", parseGlobal)
	httpcaddyfile.RegisterHandlerDirective("no_healthy_upstream", parseNoHealthyUpstream)
	httpcaddyfile.RegisterDirectiveOrder("no_healthy_upstream", httpcaddyfile.After, "intercept")
	httpcaddyfile.RegisterDirective("healthpool", parseShort)
	httpcaddyfile.RegisterDirectiveOrder("healthpool", httpcaddyfile.After, "reverse_proxy")
}

var sourceOptions = option.Block[HealthPoolUpstreams]{
	"name":            func(u *HealthPoolUpstreams, d *caddyfile.Dispenser) error { return option.Word(d, &u.Name) },
	"to":              (*HealthPoolUpstreams).parseTo,
	"health_type":     func(u *HealthPoolUpstreams, d *caddyfile.Dispenser) error { return option.Word(d, &u.HealthType) },
	"health_uri":      func(u *HealthPoolUpstreams, d *caddyfile.Dispenser) error { return option.Word(d, &u.HealthURI) },
	"health_port":     func(u *HealthPoolUpstreams, d *caddyfile.Dispenser) error { return option.Number(d, &u.HealthPort, 1) },
	"health_upstream": func(u *HealthPoolUpstreams, d *caddyfile.Dispenser) error { return option.Word(d, &u.HealthUpstream) },
	"health_method":   func(u *HealthPoolUpstreams, d *caddyfile.Dispenser) error { return option.Word(d, &u.HealthMethod) },
	"health_headers":  (*HealthPoolUpstreams).parseHeaders,
	"health_request_body": func(u *HealthPoolUpstreams, d *caddyfile.Dispenser) error {
		return option.Word(d, &u.HealthRequestBody)
	},
	"health_status": (*HealthPoolUpstreams).parseStatus,
	"health_body":   func(u *HealthPoolUpstreams, d *caddyfile.Dispenser) error { return option.Word(d, &u.HealthBody) },
	"health_follow_redirects": func(u *HealthPoolUpstreams, d *caddyfile.Dispenser) error {
		return option.Flag(d, &u.HealthFollowRedirects)
	},
	"health_interval": func(u *HealthPoolUpstreams, d *caddyfile.Dispenser) error {
		return option.Duration(d, &u.HealthInterval)
	},
	"health_edge_interval": func(u *HealthPoolUpstreams, d *caddyfile.Dispenser) error {
		return option.Duration(d, &u.HealthEdgeInterval)
	},
	"health_down_interval": func(u *HealthPoolUpstreams, d *caddyfile.Dispenser) error {
		return option.Duration(d, &u.HealthDownInterval)
	},
	"health_timeout": func(u *HealthPoolUpstreams, d *caddyfile.Dispenser) error {
		return option.Duration(d, &u.HealthTimeout)
	},
	"health_fails": func(u *HealthPoolUpstreams, d *caddyfile.Dispenser) error { return option.Number(d, &u.HealthFails, 1) },
	"health_passes": func(u *HealthPoolUpstreams, d *caddyfile.Dispenser) error {
		return option.Number(d, &u.HealthPasses, 1)
	},
	"fail_open": func(u *HealthPoolUpstreams, d *caddyfile.Dispenser) error { return option.Word(d, &u.FailOpen) },
	"hold":      (*HealthPoolUpstreams).parseHold,
}

// UnmarshalCaddyfile sets up the source from Caddyfile tokens. Syntax:
//
//	dynamic healthpool [<upstreams...>] {
//	    name <name>
//	    to   <upstreams...>
//
//	    health_type             http|tcp
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
//	    health_interval         <duration>
//	    health_edge_interval    <duration>
//	    health_down_interval    <duration>
//	    health_timeout          <duration>
//	    health_fails            <number>
//	    health_passes           <number>
//
//	    fail_open slow|never|always
//	    hold      <duration> [<number>] | off
//	}
func (u *HealthPoolUpstreams) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the name of the module
	u.addUpstreams(d.RemainingArgs())
	return sourceOptions.Parse(u, d)
}

func (u *HealthPoolUpstreams) addUpstreams(addresses []string) {
	for _, a := range addresses {
		u.Upstreams = append(u.Upstreams, PoolUpstream{Dial: a})
	}
}

func (u *HealthPoolUpstreams) parseTo(d *caddyfile.Dispenser) error {
	addresses := d.RemainingArgs()
	if len(addresses) == 0 {
		return d.Err("to: must name at least one upstream, such as app:8080")
	}
	u.addUpstreams(addresses)
	return nil
}

func (u *HealthPoolUpstreams) parseHeaders(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.Errf("health_headers: must be a block of fields and values, got %q", d.Val())
	}
	u.HealthHeaders = make(http.Header)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		field := d.Val()
		values := d.RemainingArgs()
		if len(values) == 0 {
			values = []string{""}
		}
		u.HealthHeaders[field] = append(u.HealthHeaders[field], values...)
	}
	return nil
}

func (u *HealthPoolUpstreams) parseStatus(d *caddyfile.Dispenser) error {
	var value string
	if err := option.Word(d, &value); err != nil {
		return err
	}
	digits := value
	if len(value) == 3 && strings.HasSuffix(value, "xx") {
		digits = value[:1]
	}
	status, err := strconv.Atoi(digits)
	if err != nil || status < 1 {
		return d.Errf("health_status: must be a status such as 200 or a class such as 2xx, got %q", value)
	}
	u.HealthStatus = status
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
	"service":  func(n *NoHealthyUpstream, d *caddyfile.Dispenser) error { return option.Word(d, &n.Service) },
	"message":  func(n *NoHealthyUpstream, d *caddyfile.Dispenser) error { return option.Word(d, &n.Message) },
	"link":     (*NoHealthyUpstream).parseLink,
	"template": func(n *NoHealthyUpstream, d *caddyfile.Dispenser) error { return option.Word(d, &n.Template) },
	"status":   func(n *NoHealthyUpstream, d *caddyfile.Dispenser) error { return option.Number(d, &n.Status, 1) },
	"retry_after": func(n *NoHealthyUpstream, d *caddyfile.Dispenser) error {
		return option.DurationOrOff(d, &n.RetryAfter)
	},
	"refresh": (*NoHealthyUpstream).parseRefresh,
	"pass":    func(n *NoHealthyUpstream, d *caddyfile.Dispenser) error { return option.Flag(d, &n.Pass) },
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	no_healthy_upstream [<matcher>] {
//	    service     <name>
//	    message     <text>
//	    link        <label> <url>
//	    template    <file>
//	    status      <code>
//	    retry_after <duration>|off
//	    refresh     off
//	    pass
//	}
func (n *NoHealthyUpstream) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the name of the directive
	name := d.Val()
	if d.NextArg() {
		return d.Errf("%s: takes no value, only a block, got %q", name, d.Val())
	}
	return pageOptions.Parse(n, d)
}

func (n *NoHealthyUpstream) parseLink(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) != 2 {
		return d.Errf("link: must have a label and a URL, got %q", strings.Join(args, " "))
	}
	n.Links = append(n.Links, Link{Label: args[0], URL: args[1]})
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
	"max_probes": func(a *App, d *caddyfile.Dispenser) error { return option.Number(d, &a.MaxProbes, 1) },
}

// parseGlobal reads the global option. Syntax:
//
//	healthpool {
//	    max_probes <number>
//	}
func parseGlobal(d *caddyfile.Dispenser, _ any) (any, error) {
	a := new(App)
	d.Next() // the name of the option
	if d.NextArg() {
		return nil, d.Errf("healthpool: takes no value, only a block, got %q", d.Val())
	}
	if err := appOptions.Parse(a, d); err != nil {
		return nil, err
	}
	return httpcaddyfile.App{Name: "healthpool", Value: caddyconfig.JSON(a, nil)}, nil
}

// parseShort reads the short form. Syntax:
//
//	healthpool [<matcher>] [<upstreams...>] {
//	    <any option of dynamic healthpool>
//	    page {
//	        <any option of no_healthy_upstream>
//	    }
//	    <any option of reverse_proxy>
//	}
//
// It is a no_healthy_upstream around a reverse_proxy with dynamic healthpool,
// lb_policy health_aware and lb_retries 5.
func parseShort(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	h.Next() // the name of the directive
	matcher, err := h.ExtractMatcherSet()
	if err != nil {
		return nil, err
	}
	h.Next()
	parts, err := splitShort(h.Dispenser)
	if err != nil {
		return nil, err
	}
	page, source, proxy := new(NoHealthyUpstream), new(HealthPoolUpstreams), new(reverseproxy.Handler)
	for _, part := range []struct {
		tokens []caddyfile.Token
		to     caddyfile.Unmarshaler
	}{{parts.page, page}, {parts.source, source}, {parts.proxy, proxy}} {
		if err := part.to.UnmarshalCaddyfile(caddyfile.NewDispenser(part.tokens)); err != nil {
			return nil, err
		}
	}
	if err := proxy.FinalizeUnmarshalCaddyfile(h); err != nil {
		return nil, err
	}
	if proxy.DynamicUpstreamsRaw != nil {
		return nil, h.Err("dynamic: must not be given in healthpool, which is the source itself")
	}
	proxy.DynamicUpstreamsRaw = caddyconfig.JSONModuleObject(source, "source", "healthpool", nil)
	setBalance(proxy)
	route := caddyhttp.Route{HandlersRaw: []json.RawMessage{
		caddyconfig.JSONModuleObject(page, "handler", "no_healthy_upstream", nil),
		caddyconfig.JSONModuleObject(proxy, "handler", "reverse_proxy", nil),
	}}
	if matcher != nil {
		route.MatcherSetsRaw = []caddy.ModuleMap{matcher}
	}
	return []httpcaddyfile.ConfigValue{{Class: "route", Value: route}}, nil
}

// setBalance sets what makes the most of the source, where the owner said nothing.
func setBalance(proxy *reverseproxy.Handler) {
	if proxy.LoadBalancing == nil {
		proxy.LoadBalancing = new(reverseproxy.LoadBalancing)
	}
	lb := proxy.LoadBalancing
	if lb.SelectionPolicyRaw == nil {
		lb.SelectionPolicyRaw = caddyconfig.JSONModuleObject(new(HealthAwareSelection), "policy", "health_aware", nil)
	}
	if lb.Retries == 0 && lb.TryDuration == 0 {
		lb.Retries = shortRetries
	}
}

const shortRetries = 5

// shortParts are the short form taken apart: the tokens of each directive that it
// stands for.
type shortParts struct{ page, source, proxy []caddyfile.Token }

// splitShort takes the short form apart. What is not ours is for reverse_proxy.
func splitShort(d *caddyfile.Dispenser) (parts shortParts, err error) {
	head := d.Token()
	source := []caddyfile.Token{head}
	for d.NextArg() {
		source = append(source, d.Token())
	}
	head.Text = "reverse_proxy"
	parts.page, parts.proxy = []caddyfile.Token{head}, []caddyfile.Token{head}
	var ours, theirs []caddyfile.Token
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		segment := d.NextSegment()
		switch {
		case name == "page" && len(parts.page) > 1:
			return parts, d.Err("page: must be given once, but is already specified")
		case name == "page":
			parts.page = segment
		case sourceOptions[name] != nil:
			ours = append(ours, segment...)
		default:
			theirs = append(theirs, segment...)
		}
	}
	parts.source, parts.proxy = braced(source, ours), braced(parts.proxy, theirs)
	return parts, nil
}

// braced puts a block behind the head of a directive, if there is anything in it.
func braced(head, block []caddyfile.Token) []caddyfile.Token {
	if len(block) == 0 {
		return head
	}
	open, end := head[len(head)-1], block[len(block)-1]
	open.Text = "{"
	end.Text = "}"
	end.Line++
	return slices.Concat(head, []caddyfile.Token{open}, block, []caddyfile.Token{end})
}
