package option

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// Block is the options of a Caddyfile block, by name, and what reads the values
// of each into a T.
type Block[T any] map[string]func(*T, *caddyfile.Dispenser) error

// repeatable are the options that may be given more than once.
var repeatable = []string{"to", "link"}

// Parse reads a block into t.
func (b Block[T]) Parse(t *T, d *caddyfile.Dispenser) error {
	seen := make(map[string]bool)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		read, known := b[name]
		switch {
		case !known:
			return d.Errf("unrecognized option %q; there are %s", name, strings.Join(slices.Sorted(maps.Keys(b)), ", "))
		case seen[name] && !slices.Contains(repeatable, name):
			return d.Errf("%s: must be given once, but is already specified", name)
		}
		seen[name] = true
		if err := read(t, d); err != nil {
			return err
		}
		if d.NextArg() {
			return d.Errf("%s: takes no further value, got %q", name, d.Val())
		}
		if nesting := d.Nesting(); d.NextBlock(nesting) {
			return d.Errf("%s: takes no block", name)
		}
	}
	return nil
}

// Word reads one value as it stands.
func Word(d *caddyfile.Dispenser, to *string) error {
	name := d.Val()
	if !d.NextArg() {
		return d.Errf("%s: needs a value", name)
	}
	if d.Val() == "" {
		return d.Errf("%s: must not be empty", name)
	}
	*to = d.Val()
	return nil
}

// Flag reads an option that is on by being there.
func Flag(_ *caddyfile.Dispenser, to *bool) error {
	*to = true
	return nil
}

// Number reads a number that is not below least.
func Number(d *caddyfile.Dispenser, to *int, least int) error {
	name, value := d.Val(), ""
	if err := Word(d, &value); err != nil {
		return err
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < least {
		return d.Errf("%s: must be a number of at least %d, got %q", name, least, value)
	}
	*to = n
	return nil
}

// Duration reads a duration above zero.
func Duration(d *caddyfile.Dispenser, to *caddy.Duration) error {
	name, value := d.Val(), ""
	if err := Word(d, &value); err != nil {
		return err
	}
	parsed, err := caddy.ParseDuration(value)
	if err != nil || parsed <= 0 {
		return d.Errf("%s: must be a duration greater than 0, such as 5s, got %q", name, value)
	}
	*to = caddy.Duration(parsed)
	return nil
}

// DurationOrOff reads a duration, or off, which is a duration of zero.
func DurationOrOff(d *caddyfile.Dispenser, to **caddy.Duration) error {
	name, value := d.Val(), ""
	if err := Word(d, &value); err != nil {
		return err
	}
	parsed, err := caddy.ParseDuration(value)
	if value != "off" && (err != nil || parsed <= 0) {
		return d.Errf("%s: must be a duration greater than 0, such as 5s, or off, got %q", name, value)
	}
	*to = new(caddy.Duration(parsed))
	return nil
}
