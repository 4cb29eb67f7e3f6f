package check

import (
	"net/http"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/healthpool/caddy-healthpool/internal/option"
)

type tokens = caddyfile.Dispenser

// Options returns the Caddyfile options of a Spec.
func Options() option.Block[Spec] {
	return option.Block[Spec]{
		"health_type":             func(s *Spec, d *tokens) error { return option.Word(d, &s.HealthType) },
		"health_uri":              func(s *Spec, d *tokens) error { return option.Word(d, &s.HealthURI) },
		"health_port":             func(s *Spec, d *tokens) error { return option.Number(d, &s.HealthPort, 1, 65535) },
		"health_upstream":         func(s *Spec, d *tokens) error { return option.Word(d, &s.HealthUpstream) },
		"health_method":           func(s *Spec, d *tokens) error { return option.Word(d, &s.HealthMethod) },
		"health_headers":          (*Spec).parseHeaders,
		"health_request_body":     func(s *Spec, d *tokens) error { return option.Word(d, &s.HealthRequestBody) },
		"health_status":           (*Spec).parseStatus,
		"health_body":             func(s *Spec, d *tokens) error { return option.Word(d, &s.HealthBody) },
		"health_follow_redirects": func(s *Spec, d *tokens) error { return option.Flag(d, &s.HealthFollowRedirects) },
		"health_service":          func(s *Spec, d *tokens) error { return option.Word(d, &s.HealthService) },
		"health_interval":         func(s *Spec, d *tokens) error { return option.Duration(d, &s.HealthInterval) },
		"health_edge_interval":    func(s *Spec, d *tokens) error { return option.Duration(d, &s.HealthEdgeInterval) },
		"health_down_interval":    func(s *Spec, d *tokens) error { return option.Duration(d, &s.HealthDownInterval) },
		"health_timeout":          func(s *Spec, d *tokens) error { return option.Duration(d, &s.HealthTimeout) },
		"health_fails":            func(s *Spec, d *tokens) error { return option.Number(d, &s.HealthFails, 1, 0) },
		"health_passes":           func(s *Spec, d *tokens) error { return option.Number(d, &s.HealthPasses, 1, 0) },
	}
}

func (s *Spec) parseHeaders(d *tokens) error {
	if d.NextArg() {
		return d.Errf("health_headers: must be a block of fields and values, got %q", d.Val())
	}
	s.HealthHeaders = make(http.Header)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		field := d.Val()
		values := d.RemainingArgs()
		if len(values) == 0 {
			values = []string{""}
		}
		s.HealthHeaders[field] = append(s.HealthHeaders[field], values...)
	}
	if len(s.HealthHeaders) == 0 {
		return d.Err("health_headers: must be a block of fields and values, got none")
	}
	return nil
}

func (s *Spec) parseStatus(d *tokens) error {
	var statuses []int
	if err := option.Statuses(d, &statuses); err != nil {
		return err
	}
	if len(statuses) > 1 {
		return d.Errf("health_status: takes no further value, got %q", d.Val())
	}
	s.HealthStatus = statuses[0]
	return nil
}
