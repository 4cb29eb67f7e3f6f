package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// nodeModule returns the path of a file of an npm package. Without it the test is skipped, except in CI.
func nodeModule(t *testing.T, name ...string) string {
	t.Helper()
	path := filepath.Join(append([]string{"node_modules"}, name...)...)
	if _, err := os.Stat(path); err != nil {
		missing(t, err.Error()+": run npm ci in e2e")
	}
	return path
}

// node returns the path of Node.js. Without it the test is skipped, except in CI.
func node(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("node")
	if err != nil {
		missing(t, err.Error())
	}
	return path
}
