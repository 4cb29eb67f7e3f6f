package command

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/healthpool/caddy-healthpool/internal/health"
	"github.com/healthpool/caddy-healthpool/internal/operator"
	"github.com/healthpool/caddy-healthpool/internal/plain"
	"github.com/healthpool/caddy-healthpool/internal/pool"
)

// aboutOrders is the part of the help that every order shares.
const aboutOrders = `This outlives reloads and restarts, and reaches every Caddy that shares the
storage. The address of the admin API can be given with --address or is taken from
--config, if not the default. The exit status is 0 if the running Caddy heeds it,
else 1.`

func drainCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "drain <pool> <upstream> [--config <path> [--adapter <name>]] [--address <interface>]",
		Short: "Has an upstream get no new requests",
		Long: `Has an upstream of a pool get no new requests, while those in flight go on to
their end, so that it can be stopped without harm.

` + aboutOrders,
		Example:           `  caddy healthpool drain shop 10.0.0.1:8080`,
		Args:              drainArgs,
		ValidArgsFunction: complete(nil, func(u pool.UpstreamStatus) bool { return u.State != pool.Draining }),
		RunE: func(cmd *cobra.Command, args []string) error {
			return drain(cmd, http.MethodPost, args[0], args[1])
		},
	}
	addFlags(cmd)
	return cmd
}

func undrainCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "undrain <pool> <upstream> [--config <path> [--adapter <name>]] [--address <interface>]",
		Short: "Has an upstream that was drained get requests again",
		Long: `Has an upstream of a pool that was drained get requests again, if it is healthy.

` + aboutOrders,
		Example:           `  caddy healthpool undrain shop 10.0.0.1:8080`,
		Args:              drainArgs,
		ValidArgsFunction: complete(nil, func(u pool.UpstreamStatus) bool { return u.State == pool.Draining }),
		RunE: func(cmd *cobra.Command, args []string) error {
			return drain(cmd, http.MethodDelete, args[0], args[1])
		},
	}
	addFlags(cmd)
	return cmd
}

func drainArgs(cmd *cobra.Command, args []string) error {
	const wanted = 2
	if len(args) == wanted {
		return nil
	}
	return fmt.Errorf("must be the name of a pool and the address of an upstream, as in %s shop 10.0.0.1:8080; got %s", cmd.Name(), quoted(args))
}

// quoted lists arguments for an error about their number.
func quoted(args []string) string {
	if len(args) == 0 {
		return "no arguments"
	}
	out := make([]string, len(args))
	for i, arg := range args {
		out[i] = strconv.Quote(arg)
	}
	const most = 10
	return plain.ListFirst(out, most)
}

func drain(cmd *cobra.Command, method, name, upstream string) error {
	c, err := clientOf(caddycmd.Flags{FlagSet: cmd.Flags()}, commandTimeout)
	if err != nil {
		return err
	}
	p, stored, err := c.order(cmd.Context(), method, name, "drain?upstream="+url.QueryEscape(upstream), nil)
	if err != nil {
		return err
	}
	return printResult(cmd.OutOrStdout(), drained(&p, upstream), stored)
}

// drained describes an upstream after an order to drain or undrain it.
func drained(p *pool.Status, upstream string) string {
	subject := printable(upstream) + " in " + printable(p.Name)
	i := slices.IndexFunc(p.Upstreams, func(u pool.UpstreamStatus) bool { return u.Address == upstream })
	if i < 0 {
		return fmt.Sprintf("%s is not drained, and is none of its upstreams now.", subject)
	}
	u := &p.Upstreams[i]
	if u.State != pool.Draining {
		if u.State == health.Healthy.String() && p.Maintenance != nil {
			return fmt.Sprintf("%s gets requests again once %s is open.", subject, printable(p.Name))
		}
		if u.State == health.Healthy.String() {
			return subject + " gets requests again."
		}
		text := fmt.Sprintf("%s is no longer drained, and gets requests once it is healthy; it is %s", subject, printable(u.State))
		if u.Cause != "" {
			text += " (" + printable(string(u.Cause)) + ")"
		}
		return text + "."
	}
	verb := "are"
	if u.InFlight == 1 {
		verb = "is"
	}
	text := fmt.Sprintf("%s is draining; %s %s still in flight.", subject, count(u.InFlight, "request", "requests"), verb)
	if p.State == pool.Down {
		text += fmt.Sprintf(" %s has no other upstream that is healthy.", printable(p.Name))
	}
	return text
}

// printResult prints what an order has come to.
func printResult(out io.Writer, text string, stored bool) error {
	if !stored {
		text += "\nCaddy's storage has not taken this yet, so a restart would forget it. Caddy keeps trying."
	}
	_, err := fmt.Fprintln(out, text)
	return err
}

func maintenanceCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "maintenance on|off <pool> [--message <text>] [--until <time>] [--allow <cidr>...] [--config <path> [--adapter <name>]] [--address <interface>]",
		Short: "Closes a pool for maintenance, or opens it",
		Long: `Closes a pool for maintenance: visitors get the page of no_healthy_upstream, which
says that this is planned, and nothing is sent to the upstreams. Only off opens it
again, even when the time of --until has come.

--until takes a time such as 18:30 (today, or tomorrow if it has passed),
"2026-11-22 18:30" or 2026-11-22T18:30:00Z, or how long it takes, such as 2h30m.

` + aboutOrders,
		Example: `  caddy healthpool maintenance on shop --until 18:30 --message "A new shop is being set up."
  caddy healthpool maintenance on shop --allow 10.0.0.0/8 --allow 192.0.2.7
  caddy healthpool maintenance off shop`,
		Args:              maintenanceArgs,
		ValidArgsFunction: complete([]string{"on", "off"}, nil),
		RunE: func(cmd *cobra.Command, args []string) error {
			return maintain(cmd, args[0] == "on", args[1])
		},
	}
	f := cmd.Flags()
	f.String("message", "", "A sentence for visitors")
	f.String("until", "", "When it is planned to end")
	f.StringSlice("allow", nil, "Address or range of clients that are let through; may be repeated")
	addFlags(cmd)
	return cmd
}

func maintenanceArgs(cmd *cobra.Command, args []string) error {
	const usage = "must be on or off and the name of a pool, as in maintenance on shop"
	if len(args) != 2 {
		return fmt.Errorf("%s; got %s", usage, quoted(args))
	}
	switch args[0] {
	case "on":
	case "off":
		for _, name := range []string{"message", "until", "allow"} {
			if cmd.Flags().Changed(name) {
				return fmt.Errorf("%s: is for maintenance on only", name)
			}
		}
	default:
		return fmt.Errorf("%s; got %q", usage, args[0])
	}
	return nil
}

func maintain(cmd *cobra.Command, on bool, name string) error {
	fl := caddycmd.Flags{FlagSet: cmd.Flags()}
	method, now := http.MethodDelete, time.Now()
	var body []byte
	if on {
		method = http.MethodPost
		wanted := operator.Closing{Message: fl.String("message")}
		wanted.Allow, _ = fl.GetStringSlice("allow") // the flag has this type
		if cmd.Flags().Changed("until") {
			until, err := parseUntil(fl.String("until"), now)
			if err != nil {
				return err
			}
			wanted.Until = &until
		}
		var err error
		if body, err = json.Marshal(wanted); err != nil {
			return fmt.Errorf("maintenance: %w", err)
		}
	}
	c, err := clientOf(fl, commandTimeout)
	if err != nil {
		return err
	}
	p, stored, err := c.order(cmd.Context(), method, name, "maintenance", body)
	if err != nil {
		return err
	}
	return printResult(cmd.OutOrStdout(), maintained(&p, now), stored)
}

// maintained describes a pool after an order to close or open it.
func maintained(p *pool.Status, now time.Time) string {
	name := printable(p.Name)
	m := p.Maintenance
	if m == nil {
		return fmt.Sprintf("%s is open again; it is %s, with %d of %d upstreams healthy.", name, p.State, p.Healthy, p.Total)
	}
	text := name + " is closed for maintenance"
	if !m.Until.IsZero() {
		text += ", planned until " + timeOf(m.Until, now)
	}
	if len(m.Allow) > 0 {
		text += ", and open to " + strings.Trim(fmt.Sprint(m.Allow), "[]")
	}
	return text + "."
}

// parseUntil parses the time of --until, which must be in the future.
func parseUntil(text string, now time.Time) (time.Time, error) {
	at, err := untilOf(text, now)
	if err != nil {
		return at, fmt.Errorf(`until: must be a time such as 18:30, "2026-11-22 18:30" or 2026-11-22T18:30:00Z, or how long it takes, such as 2h30m, got %q`, text)
	}
	if !at.After(now) {
		return at, fmt.Errorf("until: must be in the future, got %s", text)
	}
	return at, nil
}

func untilOf(text string, now time.Time) (time.Time, error) {
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, nil
	}
	if at, err := time.ParseInLocation("2006-01-02 15:04", text, now.Location()); err == nil {
		return at, nil
	}
	if clock, err := time.Parse("15:04", text); err == nil {
		on := func(day int) time.Time {
			return time.Date(now.Year(), now.Month(), day, clock.Hour(), clock.Minute(), 0, 0, now.Location())
		}
		if today := on(now.Day()); today.After(now) {
			return today, nil
		}
		return on(now.Day() + 1), nil
	}
	d, err := caddy.ParseDuration(text)
	return now.Add(d), err
}
