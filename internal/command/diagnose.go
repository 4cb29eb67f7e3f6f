package command

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/healthpool/caddy-healthpool/internal/diagnose"
)

func diagnoseCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "diagnose <address|url>... [--timeout <duration>] [--json]",
		Short: "Says why an upstream cannot be reached, and what to do",
		Long: `Goes through what the proxy does to reach each address, from DNS over connect and
TLS to HTTP, and says in plain words what is wrong there and what to do about it.

An address is one as in a config, such as app:8080 or unix//run/app.sock (without
a port, 80), or a URL with http, https or h2c. It needs no running Caddy; run it where Caddy runs,
in the same container and as the same user.

The exit status is 0 if all of them answer as health checks expect, else 1.`,
		Example: `  caddy healthpool diagnose app:8080
  caddy healthpool diagnose http://app:8080/healthz https://api.example.com`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("must be at least one address or URL, as in diagnose app:8080")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return diagnoseAll(ctx, args, caddycmd.Flags{FlagSet: cmd.Flags()}, cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.Duration("timeout", diagnose.DefaultTimeout, "How long each step may take")
	f.Bool("json", false, "Write the steps and the result of each address as JSON")
	return cmd
}

func diagnoseAll(ctx context.Context, addresses []string, fl caddycmd.Flags, out io.Writer) error {
	walk := diagnose.Walk{Timeout: fl.Duration("timeout")}
	if walk.Timeout <= 0 {
		return fmt.Errorf("timeout: must be greater than 0, got %s", walk.Timeout)
	}
	asJSON := fl.Bool("json")
	if !asJSON {
		walk.Watch = func(s diagnose.Step) { _, _ = fmt.Fprintln(out, s) } // steps may take long, so show each at once
	}
	reports := make([]diagnose.Report, 0, len(addresses))
	for i, address := range addresses {
		if ctx.Err() != nil {
			break
		}
		if i > 0 && !asJSON {
			_, _ = fmt.Fprintln(out)
		}
		r := walk.Run(ctx, address)
		reports = append(reports, r)
		if !asJSON {
			_, _ = fmt.Fprintln(out, r.Conclusion())
		}
	}
	if asJSON {
		encoder := json.NewEncoder(out)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(reports); err != nil {
			return fmt.Errorf("writing the result: %w", err)
		}
	}
	if ctx.Err() != nil {
		return fmt.Errorf("stopped: %w", context.Cause(ctx))
	}
	return failed(reports)
}

// failed is the error that lists the addresses with a problem, or nil if none has one.
func failed(reports []diagnose.Report) error {
	var reasons []string
	for _, r := range reports {
		if !r.OK {
			reasons = append(reasons, r.Address+": "+cmp.Or(string(r.Cause), "no address to look at"))
		}
	}
	if len(reasons) == 0 {
		return nil
	}
	return errors.New(strings.Join(reasons, ", "))
}
