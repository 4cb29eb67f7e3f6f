// Package command has what caddy healthpool does at a terminal.
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
			// A mistyped order must not pass for one that was heeded.
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
