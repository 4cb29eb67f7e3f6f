package option

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// Block maps the options of a Caddyfile block to functions that parse their values into a
// T.
type Block[T any] map[string]func(*T, *caddyfile.Dispenser) error

// Parse parses a block into t. Each option may be given once, except the repeatable ones.
func (b Block[T]) Parse(t *T, d *caddyfile.Dispenser, repeatable ...string) error {
	seen := make(map[string]bool)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		read, known := b[name]
		switch {
		case !known:
			return d.Errf("unrecognized option %q; there are %s", name, b.Names())
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

// Names returns the names of the options, in order, for errors.
func (b Block[T]) Names() string { return strings.Join(slices.Sorted(maps.Keys(b)), ", ") }

// Embed converts a Block for T to one for U, of which T is a part.
func Embed[U, T any](b Block[T], part func(*U) *T) Block[U] {
	embedded := make(Block[U], len(b))
	for name, read := range b {
		embedded[name] = func(u *U, d *caddyfile.Dispenser) error { return read(part(u), d) }
	}
	return embedded
}

// Word parses one value as it is.
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

// Words parses one or more values as they are.
func Words(d *caddyfile.Dispenser, to *[]string) error {
	name := d.Val()
	*to = d.RemainingArgs()
	if len(*to) == 0 {
		return d.Errf("%s: needs a value", name)
	}
	return nil
}

// Flag parses an option without a value.
func Flag(_ *caddyfile.Dispenser, to *bool) error {
	*to = true
	return nil
}

// Number parses a number with a minimum of least and a maximum of most, 0 for none.
func Number(d *caddyfile.Dispenser, to *int, least, most int) error {
	name, value := d.Val(), ""
	if err := Word(d, &value); err != nil {
		return err
	}
	n, err := strconv.Atoi(value)
	switch {
	case most == 0 && (err != nil || n < least):
		return d.Errf("%s: must be a number of at least %d, got %q", name, least, value)
	case most != 0 && (err != nil || n < least || n > most):
		return d.Errf("%s: must be a number from %d to %d, got %q", name, least, most, value)
	}
	*to = n
	return nil
}

// Percent parses a percentage from 1 to 100.
func Percent(d *caddyfile.Dispenser, to *int) error {
	name, value := d.Val(), ""
	if err := Word(d, &value); err != nil {
		return err
	}
	digits, isPercent := strings.CutSuffix(value, "%")
	n, err := strconv.Atoi(digits)
	if err != nil || !isPercent || n < 1 || n > 100 {
		return d.Errf("%s: must be a percentage from 1%% to 100%%, got %q", name, value)
	}
	*to = n
	return nil
}

// Statuses parses statuses such as 429 and classes such as 5xx, which are stored as their
// first digit.
func Statuses(d *caddyfile.Dispenser, to *[]int) error {
	name := d.Val()
	for _, value := range d.RemainingArgs() {
		status, ok := status(value)
		if !ok {
			return d.Errf("%s: %s, got %q", name, statusRule, value)
		}
		*to = append(*to, status)
	}
	if len(*to) == 0 {
		return d.Errf("%s: needs a value", name)
	}
	return nil
}

func status(value string) (status int, ok bool) {
	digits, isClass := strings.CutSuffix(value, "xx")
	status, err := strconv.Atoi(digits)
	return status, err == nil && IsStatus(status) && isClass == (status <= 5)
}

// Duration parses a duration above zero.
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

// DurationOrOff parses a duration above zero, or off, which is stored as zero.
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

// Braced appends a block in braces to the head of a directive, unless it is empty.
func Braced(head, block []caddyfile.Token) []caddyfile.Token {
	if len(block) == 0 {
		return head
	}
	// Copied from the directive's name, because a copy of a quoted token would stay quoted,
	// and so be a value.
	open, end := head[0], head[0]
	open.Text, open.Line = "{", head[len(head)-1].Line
	last := block[len(block)-1]
	end.Text, end.Line = "}", last.Line+strings.Count(last.Text, "\n")+1
	return slices.Concat(head, []caddyfile.Token{open}, block, []caddyfile.Token{end})
}
