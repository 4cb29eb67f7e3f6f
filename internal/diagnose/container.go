package diagnose

import (
	"io/fs"
	"slices"
	"strings"
)

// inContainer looks for the files that container engines leave in a system.
func inContainer(root fs.FS) bool {
	for _, mark := range [...]string{".dockerenv", "run/.containerenv", "var/run/secrets/kubernetes.io", "run/secrets/kubernetes.io"} {
		if _, err := fs.Stat(root, mark); err == nil {
			return true
		}
	}
	groups, _ := fs.ReadFile(root, "proc/1/cgroup") // only Linux has it
	return slices.ContainsFunc([]string{"docker", "kubepods", "containerd", "libpod", "lxc"}, func(engine string) bool {
		return strings.Contains(string(groups), engine)
	})
}
