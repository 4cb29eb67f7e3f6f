package healthpool

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/healthpool/caddy-healthpool/internal/option"
)

// parseShortForm reads the short form. Syntax:
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
func parseShortForm(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	h.Next() // the name of the directive
	matcher, err := h.ExtractMatcherSet()
	if err != nil {
		return nil, err
	}
	h.Next()
	parts, err := splitShortForm(h.Dispenser)
	if err != nil {
		return nil, err
	}
	page, source, proxy := new(NoHealthyUpstream), new(HealthPoolUpstreams), new(reverseproxy.Handler)
	for _, part := range []struct {
		tokens []caddyfile.Token
		to     caddyfile.Unmarshaler
	}{{parts.page, page}, {parts.source, source}, {parts.proxy, proxy}} {
		if err := part.to.UnmarshalCaddyfile(caddyfile.NewDispenser(part.tokens)); err != nil {
			return nil, withOptions(err)
		}
	}
	if err := proxy.FinalizeUnmarshalCaddyfile(h); err != nil {
		return nil, err
	}
	if proxy.DynamicUpstreamsRaw != nil {
		return nil, h.Err("dynamic: must not be given in healthpool, which is the source itself")
	}
	proxy.DynamicUpstreamsRaw = caddyconfig.JSONModuleObject(source, "source", "healthpool", nil)
	setLoadBalancing(proxy, parts.retries)
	route := caddyhttp.Route{HandlersRaw: []json.RawMessage{
		caddyconfig.JSONModuleObject(page, "handler", "no_healthy_upstream", nil),
		caddyconfig.JSONModuleObject(proxy, "handler", "reverse_proxy", nil),
	}}
	if matcher != nil {
		route.MatcherSetsRaw = []caddy.ModuleMap{matcher}
	}
	return []httpcaddyfile.ConfigValue{{Class: "route", Value: route}}, nil
}

// withOptions adds to reverse_proxy's complaint about an unknown option which ones there are.
func withOptions(err error) error {
	if !strings.Contains(err.Error(), "unrecognized subdirective") {
		return err
	}
	return fmt.Errorf("%w; besides those of reverse_proxy there are page, %s", err, sourceOptions.Names())
}

// setLoadBalancing sets the policy and retries that suit the source, unless they are
// configured.
func setLoadBalancing(proxy *reverseproxy.Handler, retriesGiven bool) {
	if proxy.LoadBalancing == nil {
		proxy.LoadBalancing = new(reverseproxy.LoadBalancing)
	}
	lb := proxy.LoadBalancing
	if lb.SelectionPolicyRaw == nil {
		lb.SelectionPolicyRaw = caddyconfig.JSONModuleObject(new(HealthAwareSelection), "policy", "health_aware", nil)
	}
	if !retriesGiven {
		lb.Retries = shortRetries
	}
}

const shortRetries = 5

// shortFormParts is the short form taken apart: the tokens of each directive it stands for,
// and whether retries are configured.
type shortFormParts struct {
	page, source, proxy []caddyfile.Token
	retries             bool
}

// splitShortForm splits the short form. Options that are not ours go to reverse_proxy.
func splitShortForm(d *caddyfile.Dispenser) (parts shortFormParts, err error) {
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
		case name == "page" && parts.page[0].Text == name:
			return parts, d.Err("page: must be given once, but is already specified")
		case name == "page":
			parts.page = segment
		case sourceOptions[name] != nil:
			ours = append(ours, segment...)
		case misplaced(name) != "":
			return parts, d.Errf("%s: %s", name, misplaced(name))
		default:
			parts.retries = parts.retries || name == "lb_retries" || name == "lb_try_duration"
			theirs = append(theirs, segment...)
		}
	}
	parts.source, parts.proxy = option.Braced(source, ours), option.Braced(parts.proxy, theirs)
	return parts, nil
}

// misplaced says where an option belongs that is none of the short form's own; empty if it
// may be reverse_proxy's.
func misplaced(name string) string {
	switch {
	case pageOptions[name] != nil:
		return "must be given inside of page { }"
	case upstreamOptions[name] != nil:
		return "must be given inside of upstream <address> { }"
	case appOptions[name] != nil:
		return "must be given in the global option healthpool"
	case name == "health_path":
		return "is an old name, write health_uri"
	}
	return ""
}
