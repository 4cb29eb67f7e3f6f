// Package check turns the health_* options into a check: the options, their validation, and
// the check itself, which goes through the proxy's transport.
package check

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"golang.org/x/net/http/httpguts"

	"github.com/healthpool/caddy-healthpool/internal/health"
	"github.com/healthpool/caddy-healthpool/internal/option"
)

// The types of checks.
const (
	typeTCP  = "tcp"
	typeHTTP = "http"
	typeGRPC = "grpc"
)

const (
	defaultInterval     = 5 * time.Second
	defaultEdgeInterval = time.Second
	defaultDownInterval = time.Second
	defaultTimeout      = 2 * time.Second
	defaultFails        = 3
	defaultPasses       = 2
)

// Spec is how the upstreams of a pool are checked.
type Spec struct {
	// The kind of check: "tcp" (a connection can be opened), "http" (a request gets the
	// expected answer) or "grpc" (the standard health service says SERVING). Default: http
	// with health_uri, otherwise tcp.
	HealthType string `json:"health_type,omitempty"`

	// The path and query of an http check, such as "/healthz". Default: "/".
	HealthURI string `json:"health_uri,omitempty"`

	// The port to check, from 1 to 65535. Default: the port that requests go to.
	HealthPort int `json:"health_port,omitempty"`

	// The address to check instead of the upstreams, for a service that knows the state of
	// all of them. Headers and body can name the upstream with the placeholder
	// `{http.reverse_proxy.active.target_upstream}`. Default: the upstream itself.
	HealthUpstream string `json:"health_upstream,omitempty"`

	// The method of an http check. Default: GET.
	HealthMethod string `json:"health_method,omitempty"`

	// The header fields of an http or grpc check, including Host. Global placeholders may
	// be used. Default: none.
	HealthHeaders http.Header `json:"health_headers,omitempty"`

	// The body of an http check. Global placeholders may be used. Default: none.
	HealthRequestBody string `json:"health_request_body,omitempty"`

	// The expected status of an http check: a code such as 204, or a class as its first
	// digit, such as 2. Default: any from 200 to 399.
	HealthStatus int `json:"health_status,omitempty"`

	// A regular expression that must match the first 64 KiB of the body of an http check.
	// Default: any body passes.
	HealthBody string `json:"health_body,omitempty"`

	// Whether an http check follows up to 10 redirects. All requests go to the upstream
	// itself: a redirect to another host changes only the Host header. Otherwise a redirect
	// is judged by its status like any other response. Default: false.
	HealthFollowRedirects bool `json:"health_follow_redirects,omitempty"`

	// The interval between checks while an upstream is healthy. Every interval is jittered
	// by 10 %. Default: 5s.
	HealthInterval caddy.Duration `json:"health_interval,omitempty"`

	// The interval while the status is about to change: some checks have passed or failed,
	// but not yet enough. Default: 1s.
	HealthEdgeInterval caddy.Duration `json:"health_edge_interval,omitempty"`

	// The interval while an upstream is unhealthy. While requests are held for it, it is
	// checked every 50ms. Default: 1s.
	HealthDownInterval caddy.Duration `json:"health_down_interval,omitempty"`

	// How long one check may take. Default: 2s.
	HealthTimeout caddy.Duration `json:"health_timeout,omitempty"`

	// How many consecutive failed checks make an upstream unhealthy. Default: 3.
	HealthFails int `json:"health_fails,omitempty"`

	// How many consecutive passed checks make it healthy again. One is enough while the
	// whole pool is down, and for the first check ever. Default: 2.
	HealthPasses int `json:"health_passes,omitempty"`

	// The service that a grpc check asks about. Default: the whole server.
	HealthService string `json:"health_service,omitempty"`

	// typeDerived is whether HealthType was not configured.
	typeDerived bool
}

// WithURI returns s for an upstream with its own health_uri.
func (s Spec) WithURI(uri string) Spec {
	s.HealthURI = uri
	if s.typeDerived {
		s.HealthType = ""
		s.SetDefaults()
	}
	return s
}

// SetDefaults sets the options that were left out.
func (s *Spec) SetDefaults() {
	option.Default(&s.HealthInterval, caddy.Duration(defaultInterval))
	option.Default(&s.HealthEdgeInterval, caddy.Duration(defaultEdgeInterval))
	option.Default(&s.HealthDownInterval, caddy.Duration(defaultDownInterval))
	option.Default(&s.HealthTimeout, caddy.Duration(defaultTimeout))
	option.Default(&s.HealthFails, defaultFails)
	option.Default(&s.HealthPasses, defaultPasses)
	s.typeDerived = s.HealthType == ""
	if s.typeDerived && s.HealthURI == "" {
		s.HealthType = typeTCP
	}
	option.Default(&s.HealthType, typeHTTP)
	if s.HealthType == typeHTTP {
		option.Default(&s.HealthURI, "/")
		option.Default(&s.HealthMethod, http.MethodGet)
	}
}

// Policy returns the thresholds and intervals.
func (s *Spec) Policy() health.Policy {
	return health.Policy{
		Fails: s.HealthFails, Passes: s.HealthPasses,
		Interval:     time.Duration(s.HealthInterval),
		EdgeInterval: time.Duration(s.HealthEdgeInterval),
		DownInterval: time.Duration(s.HealthDownInterval),
	}
}

// Validate checks every option, and those that depend on each other.
func (s *Spec) Validate() error {
	return errors.Join(
		option.OneOf("health_type", s.HealthType, typeTCP, typeHTTP, typeGRPC),
		option.Positive("health_interval", s.HealthInterval),
		option.Positive("health_edge_interval", s.HealthEdgeInterval),
		option.Positive("health_down_interval", s.HealthDownInterval),
		option.Positive("health_timeout", s.HealthTimeout),
		option.AtLeast("health_fails", s.HealthFails, 1),
		option.AtLeast("health_passes", s.HealthPasses, 1),
		s.validateTarget(),
		s.rejectUnused(),
		s.validateHTTP(),
	)
}

// validateTarget validates the options that say what to connect to.
func (s *Spec) validateTarget() error {
	if p := s.HealthPort; p < 0 || p > 65535 {
		return fmt.Errorf("health_port: must be from 1 to 65535, got %d", p)
	}
	if s.HealthUpstream == "" {
		return nil
	}
	if s.HealthPort != 0 {
		return errors.New("health_port: must not be set together with health_upstream, which has a port of its own")
	}
	_, err := option.Address("health_upstream", s.HealthUpstream)
	return err
}

// rejectUnused rejects options that this kind of check does not use: a check that does less
// than configured is worse than none.
func (s *Spec) rejectUnused() error {
	isHTTP, isGRPC := s.HealthType == typeHTTP, s.HealthType == typeGRPC
	whatItDoes := map[string]string{
		typeTCP: "a tcp check only connects", typeHTTP: "an http check sends a request", typeGRPC: "a grpc check asks the health service",
	}[s.HealthType]
	if whatItDoes == "" {
		return nil // health_type is invalid, which is reported already
	}
	if s.HealthURI != "" && !isHTTP {
		return fmt.Errorf("health_uri: must not be set with health_type %s, got %q; %s", s.HealthType, s.HealthURI, whatItDoes)
	}
	for _, o := range []struct {
		name        string
		set, useful bool
		where       string
	}{
		{"health_method", s.HealthMethod != "", isHTTP, "health_uri or health_type http"},
		{"health_headers", len(s.HealthHeaders) > 0, isHTTP || isGRPC, "health_uri, health_type http or grpc"},
		{"health_request_body", s.HealthRequestBody != "", isHTTP, "health_uri or health_type http"},
		{"health_status", s.HealthStatus != 0, isHTTP, "health_uri or health_type http"},
		{"health_body", s.HealthBody != "", isHTTP, "health_uri or health_type http"},
		{"health_follow_redirects", s.HealthFollowRedirects, isHTTP, "health_uri or health_type http"},
		{"health_service", s.HealthService != "", isGRPC, "health_type grpc"},
	} {
		if o.set && !o.useful {
			return fmt.Errorf("%s: must be set with %s; %s", o.name, o.where, whatItDoes)
		}
	}
	return nil
}

func (s *Spec) validateHTTP() error {
	if s.HealthType != typeHTTP {
		return nil
	}
	var errs []error
	if _, err := url.ParseRequestURI(s.HealthURI); err != nil || !strings.HasPrefix(s.HealthURI, "/") {
		errs = append(errs, fmt.Errorf("health_uri: must be a path that begins with /, got %q", s.HealthURI))
	}
	if m := s.HealthMethod; m != "" && !httpguts.ValidHeaderFieldName(m) { // both are tokens
		errs = append(errs, fmt.Errorf("health_method: must be a method such as GET, got %q", m))
	}
	if s.HealthStatus != 0 {
		errs = append(errs, option.Status("health_status", s.HealthStatus))
	}
	if _, err := regexp.Compile(s.HealthBody); err != nil {
		errs = append(errs, fmt.Errorf("health_body: must be a regular expression, got %q: %w", s.HealthBody, err))
	}
	return errors.Join(errs...)
}
