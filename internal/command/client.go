package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/healthpool/caddy-healthpool/internal/operator"
	"github.com/healthpool/caddy-healthpool/internal/pool"
)

// client asks the admin API of a running Caddy.
type client struct {
	// address is where its admin endpoint is, as core's commands take it.
	address string
	// timeout is how long it may take to answer.
	timeout time.Duration
	// turn is held by the one request under way: a request that is given up cannot be
	// stopped, and such requests must not pile up.
	turn chan struct{}
}

// commandTimeout is how long Caddy may take to answer a command. It is longer than an
// order waits for the storage.
const commandTimeout = 10 * time.Second

// addFlags adds what core's commands take to find the admin API.
func addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringP("config", "c", "", "Configuration file to use to parse the admin address, if --address is not used")
	f.StringP("adapter", "a", "", "Name of config adapter to apply (when --config is used)")
	f.String("address", "", "The address to use to reach the admin API endpoint, if not the default")
}

// clientOf returns a client of the Caddy that the flags of addFlags point to.
func clientOf(fl caddycmd.Flags, timeout time.Duration) (*client, error) {
	address, err := caddycmd.DetermineAdminAPIAddress(fl.String("address"), nil, fl.String("config"), fl.String("adapter"))
	if err != nil {
		return nil, fmt.Errorf("determining the address of the admin API: %w", err)
	}
	return &client{address: address, timeout: timeout, turn: make(chan struct{}, 1)}, nil
}

// reply is an answer of the admin API that is no error.
type reply struct {
	status int
	body   []byte
}

// refusal is an answer of the admin API that is an error.
type refusal struct {
	status int
	reason string
}

func (r *refusal) Error() string { return r.reason }

// do makes a request. It returns within the timeout even if Caddy does not answer:
// core's function has none.
func (c *client) do(ctx context.Context, method, path string, body []byte) (reply, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	expired := func() error {
		if err := context.Cause(ctx); !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		return c.unreachable(fmt.Sprintf("no answer within %s", c.timeout))
	}
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return reply{}, expired()
	}
	type outcome struct {
		reply
		err error
	}
	done := make(chan outcome, 1)
	go func() {
		defer func() { <-c.turn }()
		r, err := c.request(method, path, body)
		done <- outcome{r, err}
	}()
	select {
	case o := <-done:
		return o.reply, o.err
	case <-ctx.Done():
		return reply{}, expired()
	}
}

func (c *client) request(method, path string, body []byte) (reply, error) {
	var sent io.Reader
	if body != nil {
		sent = bytes.NewReader(body)
	}
	// Core makes a transport for each request, which would leave its connection open.
	resp, err := caddycmd.AdminAPIRequest(c.address, method, path, http.Header{"Connection": {"close"}}, sent)
	if err != nil {
		return reply{}, c.explain(err)
	}
	defer resp.Body.Close()
	read, err := io.ReadAll(resp.Body)
	if err != nil {
		return reply{}, c.unreachable(err.Error())
	}
	return reply{status: resp.StatusCode, body: read}, nil
}

func (c *client) unreachable(reason string) error {
	return fmt.Errorf("cannot reach Caddy's admin API at %s: %s; Caddy may not be running, or not have its admin API there (--address and --config say where)", c.address, printable(reason))
}

// explain turns an error of core's function into one for people. What went wrong is
// only in its text.
func (c *client) explain(err error) error {
	text := err.Error()
	if reason, ok := strings.CutPrefix(text, "performing request: "); ok {
		if _, after, ok := strings.Cut(reason, `": `); ok { // after the method and the URL
			reason = after
		}
		return c.unreachable(reason)
	}
	answer, ok := strings.CutPrefix(text, "caddy responded with error: HTTP ")
	if !ok {
		return err
	}
	code, body, _ := strings.Cut(answer, ": ")
	status, _ := strconv.Atoi(code)
	var said struct {
		Error string `json:"error"`
	}
	if json.Unmarshal([]byte(body), &said) == nil && said.Error != "" {
		return &refusal{status, printable(said.Error)}
	}
	if status == http.StatusNotFound {
		return fmt.Errorf("what answers at %s has no healthpool: it may be a Caddy without this plugin, or not be Caddy's admin API", c.address)
	}
	const enough = 200
	return &refusal{status, strings.TrimSpace(fmt.Sprintf("Caddy at %s answers with status %d %.*s", c.address, status, enough, printable(body)))}
}

// decode parses the JSON of an answer.
func (c *client) decode(r reply, to any) error {
	if err := json.Unmarshal(r.body, to); err != nil {
		return fmt.Errorf("what answers at %s does not do so as Caddy's admin API: %w", c.address, err)
	}
	return nil
}

// pools returns all pools, and the JSON that they were parsed from.
func (c *client) pools(ctx context.Context) ([]pool.Status, []byte, error) {
	r, err := c.do(ctx, http.MethodGet, operator.PoolsPath, nil)
	if err != nil {
		return nil, nil, err
	}
	var all []pool.Status
	if err := c.decode(r, &all); err != nil {
		return nil, nil, err
	}
	return all, r.body, nil
}

// pool returns one pool, and the JSON that it was parsed from.
func (c *client) pool(ctx context.Context, name string) (pool.Status, []byte, error) {
	all, raw, err := c.pools(ctx)
	if err != nil {
		return pool.Status{}, nil, err
	}
	i := slices.IndexFunc(all, func(p pool.Status) bool { return p.Name == name })
	if i < 0 {
		return pool.Status{}, nil, errors.New(printable(operator.NoPool(name, all).Error()))
	}
	var each []json.RawMessage
	if err := json.Unmarshal(raw, &each); err != nil {
		return pool.Status{}, nil, err
	}
	return all[i], each[i], nil
}

// order sends an order about a pool, and reports whether the storage has it.
func (c *client) order(ctx context.Context, method, name, what string, body []byte) (p pool.Status, stored bool, err error) {
	if name == "" { // the path would be another
		return p, false, errors.New("pool: must be given")
	}
	// A name such as ".." would otherwise change the path.
	escaped := strings.ReplaceAll(url.PathEscape(name), ".", "%2E")
	r, err := c.do(ctx, method, operator.PoolsPath+"/"+escaped+"/"+what, body)
	if err != nil {
		return p, false, err
	}
	err = c.decode(r, &p)
	return p, r.status != http.StatusAccepted, err
}

// count formats a number of things.
func count[N int | int64](n N, one, more string) string {
	switch n {
	case 0:
		return "no " + more
	case 1:
		return "1 " + one
	default:
		return fmt.Sprintf("%d %s", n, more)
	}
}
