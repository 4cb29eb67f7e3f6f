package command

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/healthpool/caddy-healthpool/internal/pool"
)

func statusCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status [--json | --watch] [<pool>] [--config <path> [--adapter <name>]] [--address <interface>]",
		Short: "Shows the health of pools and their upstreams",
		Long: `Shows each pool of the running Caddy, or the one that is named, with its
upstreams, those with a problem first: why it is, and what to do about it.

HISTORY is the latest checks, the newest at the right: low marks for those that
passed, high ones for those that failed. BUSY is the number of requests that are in
flight, CHECK how long the latest check took.

It asks the admin API, whose address can be given with --address or is taken from
--config, if not the default. The exit status is 0 if Caddy answers, whatever the
health, else 1.`,
		Example: `  caddy healthpool status
  caddy healthpool status --watch shop
  caddy healthpool status --json | jq '.[] | select(.state != "up") | .name'`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: complete(nil, nil),
		RunE: func(cmd *cobra.Command, args []string) error {
			fl := caddycmd.Flags{FlagSet: cmd.Flags()}
			c, err := clientOf(fl, commandTimeout)
			if err != nil {
				return err
			}
			ctx, out := cmd.Context(), cmd.OutOrStdout()
			name := strings.Join(args, "") // one at most
			switch {
			case fl.Bool("json"):
				return printJSON(ctx, c, name, out)
			case fl.Bool("watch"):
				ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
				defer stop()
				c.timeout = watchTimeout
				return watcherOf(c, name, out).run(ctx)
			}
			return printStatus(ctx, c, name, out)
		},
	}
	f := cmd.Flags()
	f.Bool("json", false, "Write the JSON of the admin API")
	f.BoolP("watch", "w", false, "Keep showing the status, until Ctrl-C")
	addFlags(cmd)
	cmd.MarkFlagsMutuallyExclusive("json", "watch")
	return cmd
}

// chosen returns the pool with this name, or all pools if the name is empty.
func (c *client) chosen(ctx context.Context, name string) ([]pool.Status, []byte, error) {
	if name == "" {
		return c.pools(ctx)
	}
	p, raw, err := c.pool(ctx, name)
	return []pool.Status{p}, raw, err
}

func printJSON(ctx context.Context, c *client, name string, out io.Writer) error {
	_, raw, err := c.chosen(ctx, name)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if err := json.Indent(&text, bytes.TrimSpace(raw), "", "  "); err != nil {
		return err
	}
	text.WriteByte('\n')
	_, err = text.WriteTo(out)
	return err
}

func printStatus(ctx context.Context, c *client, name string, out io.Writer) error {
	all, _, err := c.chosen(ctx, name)
	if err != nil {
		return err
	}
	_, err = io.WriteString(out, statusText(all, terminalOf(out), time.Now()))
	return err
}

// noPools is what status says about a config without pools.
const noPools = "The running config has no healthpool."

// statusText describes pools.
func statusText(all []pool.Status, t terminal, now time.Time) string {
	if len(all) == 0 {
		return noPools + "\n"
	}
	var text strings.Builder
	for i := range all {
		if i > 0 {
			text.WriteByte('\n')
		}
		for _, line := range blockOf(&all[i], t, now).lines(0) {
			text.WriteString(line + "\n")
		}
	}
	return text.String()
}
