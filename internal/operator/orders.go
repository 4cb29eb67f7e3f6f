package operator

import (
	"context"
	"encoding/json"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/intent"
	"github.com/healthpool/caddy-healthpool/internal/option"
	"github.com/healthpool/caddy-healthpool/internal/pool"
)

// order is a kind of order that an operator can give about a pool.
type order struct {
	// name is the last part of its path.
	name string
	// read makes an intent of a request about the pool p of an app.
	read func(r *http.Request, a running, p *pool.Status) (intent.Intent, error)
}

var orders = []order{{"drain", readDrain}, {"maintenance", readMaintenance}}

// serve takes an order about the pool with a name, or with DELETE takes it back.
func (o order) serve(w http.ResponseWriter, r *http.Request, name string) error {
	if err := allow(w, r, http.MethodPost, http.MethodDelete); err != nil {
		return err
	}
	p, err := find(name)
	if err != nil {
		return err
	}
	a := app()
	if a == nil { // since find, a config without pools was loaded
		return apiError(http.StatusNotFound, "%w", NoPool(p.Name, nil))
	}
	r.Body = http.MaxBytesReader(w, r.Body, intent.MaxSize)
	wanted, err := o.read(r, a, p)
	if err != nil {
		return err
	}
	const storageTimeout = 2 * time.Second
	ctx, cancel := context.WithTimeout(r.Context(), storageTimeout)
	defer cancel()
	status := http.StatusAccepted
	if a.Order(ctx, wanted, r.Method == http.MethodPost) {
		status = http.StatusOK
	}
	if p, err = find(name); err != nil {
		return err
	}
	return write(w, status, p)
}

func readDrain(r *http.Request, a running, p *pool.Status) (intent.Intent, error) {
	address := r.URL.Query().Get("upstream")
	if address == "" {
		return intent.Intent{}, apiError(http.StatusBadRequest, "upstream: must be given, as in ?upstream=10.0.0.1:8080")
	}
	known := slices.ContainsFunc(p.Upstreams, func(u pool.UpstreamStatus) bool { return u.Address == address })
	if !known && r.Method == http.MethodDelete { // an upstream that is gone may still be drained
		known = a.Drained(p.Name, address)
	}
	if !known {
		return intent.Intent{}, apiError(http.StatusNotFound, "%w", NoUpstream(address, p))
	}
	return intent.Intent{Pool: p.Name, Upstream: address, Since: time.Now().UTC()}, nil
}

// Closing is the body of an order to close a pool.
type Closing struct {
	// Message is a sentence for visitors.
	Message string `json:"message"`
	// Until is when it is planned to end (RFC 3339).
	Until *time.Time `json:"until"`
	// Allow are addresses or ranges of clients that are let through.
	Allow []string `json:"allow"`
}

func readMaintenance(r *http.Request, _ running, p *pool.Status) (intent.Intent, error) {
	wanted := intent.Intent{Pool: p.Name, Since: time.Now().UTC()}
	if r.Method == http.MethodDelete {
		return wanted, nil
	}
	var m Closing
	if err := decode(r.Body, &m); err != nil {
		return wanted, err
	}
	if len(m.Message) > intent.MaxMessage {
		return wanted, apiError(http.StatusBadRequest, "message: must be at most %d bytes, got %d", intent.MaxMessage, len(m.Message))
	}
	wanted.Message = m.Message
	if m.Until != nil {
		if !m.Until.After(time.Now()) {
			return wanted, apiError(http.StatusBadRequest, "until: must be in the future, got %s", m.Until.Format(time.RFC3339))
		}
		if wanted.Until = m.Until.UTC(); wanted.Until.Year() > 9999 {
			return wanted, apiError(http.StatusBadRequest, "until: must be before the year 10000 (UTC), got %s", m.Until.Format(time.RFC3339))
		}
	}
	var err error
	if wanted.Allow, err = prefixes(m.Allow); err != nil {
		return wanted, err
	}
	// The stored form is longer than what was sent, and one that is too long would not be
	// read again.
	if text, err := json.Marshal(wanted); err != nil || len(text) > intent.MaxSize {
		return wanted, apiError(http.StatusRequestEntityTooLarge, "body: must be at most %d bytes when it is stored, got %d", intent.MaxSize, len(text))
	}
	return wanted, nil
}

func prefixes(ranges []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, r := range ranges {
		prefix, err := option.Prefix("allow", r)
		if err != nil {
			return nil, apiError(http.StatusBadRequest, "%w", err)
		}
		out = append(out, prefix)
	}
	return out, nil
}
