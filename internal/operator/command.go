package operator

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

// RegisterCommands adds the commands of caddy healthpool.
func RegisterCommands() {
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
