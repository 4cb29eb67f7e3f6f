// Package check says how an upstream is checked: what the config says of it, the
// rules for that, and the check that comes of it, made through the transport of
// the proxy.
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
	// What a check is: "tcp" (a connection can be opened), "http" (a request is
	// answered as expected) or "grpc" (the standard health service says
	// SERVING). Default: http with health_uri, else tcp.
	HealthType string `json:"health_type,omitempty"`

	// The path and query of the request of an http check, such as "/healthz".
	// Default: "/".
	HealthURI string `json:"health_uri,omitempty"`

	// The port to check, if not the one that requests go to. From 1 to 65535.
	HealthPort int `json:"health_port,omitempty"`

	// The address to check in place of every upstream, for a service that
	// knows about all of them. Headers may name the upstream that is meant
	// with the placeholder `{http.reverse_proxy.active.target_upstream}`.
	HealthUpstream string `json:"health_upstream,omitempty"`

	// The method of an http check. Default: GET.
	HealthMethod string `json:"health_method,omitempty"`

	// Header fields of an http check, Host among them. Global placeholders
	// may be used.
	HealthHeaders http.Header `json:"health_headers,omitempty"`

	// The body of an http check. Global placeholders may be used.
	HealthRequestBody string `json:"health_request_body,omitempty"`

	// The status to expect of an http check: a code such as 204, or a class
	// as its first digit, such as 2. Default: any from 200 to 399.
	HealthStatus int `json:"health_status,omitempty"`

	// A regular expression that the body of an http check has to match. The
	// first 64 KiB are looked at.
	HealthBody string `json:"health_body,omitempty"`

	// Whether an http check follows redirects, ten at most, all of them on the
	// upstream itself: a redirect to another host is followed in the Host header
	// only. Otherwise a redirect is an answer as good as any other. Default: false.
	HealthFollowRedirects bool `json:"health_follow_redirects,omitempty"`

	// How long to wait between two checks of a healthy upstream. Every
	// interval is jittered by 10 %. Default: 5s.
	HealthInterval caddy.Duration `json:"health_interval,omitempty"`

	// The same while a change is pending: some checks have passed or failed,
	// but not enough of them yet. Default: 1s.
	HealthEdgeInterval caddy.Duration `json:"health_edge_interval,omitempty"`

	// The same while an upstream is unhealthy. While requests are held for
	// it, it is checked every 50ms. Default: 1s.
	HealthDownInterval caddy.Duration `json:"health_down_interval,omitempty"`

	// How long a check may take. Default: 2s.
	HealthTimeout caddy.Duration `json:"health_timeout,omitempty"`

	// How many failed checks in a row make an upstream unhealthy. Default: 3.
	HealthFails int `json:"health_fails,omitempty"`

	// How many passed checks in a row make it healthy again. One is enough
	// while the whole pool is down, and for the first check ever. Default: 2.
	HealthPasses int `json:"health_passes,omitempty"`

	// The name of the service that a grpc check asks about. Default: none,
	// which stands for the whole server.
	HealthService string `json:"health_service,omitempty"`

	// typeLeftOut is whether HealthType follows from the rest.
	typeDerived bool
}

// WithURI is s for an upstream with a URI of its own.
func (s Spec) WithURI(uri string) Spec {
	s.HealthURI = uri
	if s.typeDerived {
		s.HealthType = ""
		s.SetDefaults()
	}
	return s
}

// SetDefaults sets what was left out.
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

// Policy is the part that decides on results.
func (s *Spec) Policy() health.Policy {
	return health.Policy{
		Fails: s.HealthFails, Passes: s.HealthPasses,
		Interval:     time.Duration(s.HealthInterval),
		EdgeInterval: time.Duration(s.HealthEdgeInterval),
		DownInterval: time.Duration(s.HealthDownInterval),
	}
}

// Validate checks every option by itself and those that depend on each other.
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

// validateWhere checks what says where to check.
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

// refuseOthers refuses the options that this type of check has no use for: a
// check that is not made as meant is worse than none.
func (s *Spec) rejectUnused() error {
	isHTTP, isGRPC := s.HealthType == typeHTTP, s.HealthType == typeGRPC
	whatItDoes := map[string]string{
		typeTCP: "a tcp check only connects", typeHTTP: "an http check sends a request", typeGRPC: "a grpc check asks the health service",
	}[s.HealthType]
	if whatItDoes == "" {
		return nil // an unknown type is refused as such
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
