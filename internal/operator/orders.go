package operator

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/intent"
	"github.com/healthpool/caddy-healthpool/internal/option"
	"github.com/healthpool/caddy-healthpool/internal/pool"
)

// order is something that an operator can want of a pool.
type order struct {
	// name is the last part of its path.
	name string
	// read makes an intent of a request about p.
	read func(r *http.Request, p *pool.Status) (intent.Intent, error)
}

var orders = []order{{"drain", readDrain}, {"maintenance", readMaintenance}}

// serve notes what is wanted, or with DELETE no more, of the pool with a name.
func (o order) serve(w http.ResponseWriter, r *http.Request, name string) error {
	if err := allow(w, r, http.MethodPost, http.MethodDelete); err != nil {
		return err
	}
	p, err := find(name)
	if err != nil {
		return err
	}
	r.Body = http.MaxBytesReader(w, r.Body, intent.MaxSize)
	wanted, err := o.read(r, p)
	if err != nil {
		return err
	}
	const patience = 2 * time.Second
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	status := http.StatusAccepted
	a := app()
	if a == nil { // a config without pools has come meanwhile
		return apiError(http.StatusNotFound, "no pool is named %q", p.Name)
	}
	if a.Order(ctx, wanted, r.Method == http.MethodPost) {
		status = http.StatusOK
	}
	if p, err = find(name); err != nil {
		return err
	}
	return write(w, status, p)
}

func readDrain(r *http.Request, p *pool.Status) (intent.Intent, error) {
	address := r.URL.Query().Get("upstream")
	if address == "" {
		return intent.Intent{}, apiError(http.StatusBadRequest, "upstream: must be given, as in ?upstream=10.0.0.1:8080")
	}
	isThere := slices.ContainsFunc(p.Upstreams, func(u pool.UpstreamStatus) bool { return u.Address == address })
	if !isThere && r.Method == http.MethodPost { // one that is gone may still be drained
		return intent.Intent{}, apiError(http.StatusNotFound, "pool %s has no upstream %q", p.Name, address)
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

func readMaintenance(r *http.Request, p *pool.Status) (intent.Intent, error) {
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
	// What is stored is longer than what was sent, and what is too long would not be read.
	if text, err := json.Marshal(wanted); err != nil || len(text) > intent.MaxSize {
		return wanted, apiError(http.StatusRequestEntityTooLarge, "body: must be at most %d bytes when it is stored, got %d", intent.MaxSize, len(text))
	}
	return wanted, nil
}

// decode reads the body of an order; an empty one leaves m as it is.
func decode(body io.Reader, m *Closing) error {
	decoder := json.NewDecoder(body)
	decoder.DisallowUnknownFields()
	err := decoder.Decode(m)
	if err == nil { // then that must have been all
		if _, err = decoder.Token(); err == nil {
			err = errors.New("there is more after it")
		}
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return apiError(http.StatusRequestEntityTooLarge, "body: must be at most %d bytes", tooLarge.Limit)
	}
	return apiError(http.StatusBadRequest, `body: must be JSON such as {"message": "…", "until": "2026-11-22T18:00:00Z"}: %w`, err)
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
