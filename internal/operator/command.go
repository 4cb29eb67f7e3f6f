package operator

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

// RegisterCommands adds the commands of caddy healthpool.
func RegisterCommands() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "healthpool",
		Short: "Shows what visitors see when no upstream answers",
		CobraFunc: func(cmd *cobra.Command) {
			cmd.AddCommand(previewCommand())
			cmd.AddCommand(diagnoseCommand())
		},
	})
}
