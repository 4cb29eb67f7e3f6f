// Package e2e holds the tests that need more than the plugin's own module should depend on: a real browser, and apps
// that are real processes. It is a module of its own, so that none of this reaches those who use the plugin.
package e2e
