// Package command has the commands of caddy healthpool.
package command

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

// Register adds the commands of caddy healthpool.
func Register() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "healthpool",
		Short: "Shows and controls pools of upstreams",
		CobraFunc: func(cmd *cobra.Command) {
			// A mistyped subcommand must be an error, not print the help and succeed.
			cmd.Args = cobra.NoArgs
			cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
			cmd.AddCommand(statusCommand())
			cmd.AddCommand(drainCommand())
			cmd.AddCommand(undrainCommand())
			cmd.AddCommand(maintenanceCommand())
			cmd.AddCommand(previewCommand())
			cmd.AddCommand(diagnoseCommand())
		},
	})
}
