package command

import (
	"slices"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/healthpool/caddy-healthpool/internal/pool"
)

// completionTimeout is how long Caddy may take to answer someone who has pressed Tab.
const completionTimeout = time.Second

// complete completes arguments: first one of before, if there are any, then the name of a
// pool, and then, unless meant is nil, the upstreams of that pool that may be meant.
func complete(before []string, meant func(pool.UpstreamStatus) bool) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		const nothingElse = cobra.ShellCompDirectiveNoFileComp
		if before != nil {
			if len(args) == 0 {
				return before, nothingElse
			}
			args = args[1:]
		}
		if len(args) > 1 || len(args) == 1 && meant == nil {
			return nil, nothingElse
		}
		c, err := clientOf(caddycmd.Flags{FlagSet: cmd.Flags()}, completionTimeout)
		if err != nil {
			return nil, nothingElse
		}
		all, _, err := c.pools(cmd.Context())
		if err != nil {
			return nil, nothingElse
		}
		return offered(all, args, meant), nothingElse
	}
}

func offered(all []pool.Status, args []string, meant func(pool.UpstreamStatus) bool) (found []cobra.Completion) {
	if len(args) == 0 {
		for _, p := range all {
			found = append(found, cobra.CompletionWithDesc(p.Name, string(p.State)))
		}
		return found
	}
	i := slices.IndexFunc(all, func(p pool.Status) bool { return p.Name == args[0] })
	if i < 0 {
		return nil
	}
	for _, u := range all[i].Upstreams {
		if meant(u) {
			found = append(found, cobra.CompletionWithDesc(u.Address, u.State))
		}
	}
	return found
}
