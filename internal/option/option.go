// Package option parses and validates option values, with errors in one form: the option,
// then the rule, then the value.
package option

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Positive requires a duration above zero.
func Positive[D ~int64](name string, d D) error {
	if d > 0 {
		return nil
	}
	return fmt.Errorf("%s: must be greater than 0, got %v", name, time.Duration(d))
}

// ZeroOrMore requires a duration that is not negative. Zero means off; nil means not given.
func ZeroOrMore[D ~int64](name string, d *D) error {
	if d == nil || *d >= 0 {
		return nil
	}
	return fmt.Errorf("%s: must not be negative, got %v; 0 or off switches it off", name, time.Duration(*d))
}

// AtLeast requires a number that is not below least.
func AtLeast(name string, n, least int) error {
	if n >= least {
		return nil
	}
	return fmt.Errorf("%s: must be at least %d, got %d", name, least, n)
}

// Within requires a number from least to most.
func Within(name string, n, least, most int) error {
	if n >= least && n <= most {
		return nil
	}
	return fmt.Errorf("%s: must be from %d to %d, got %d", name, least, most, n)
}

// OneOf requires one of the words.
func OneOf(name, value string, words ...string) error {
	if slices.Contains(words, value) {
		return nil
	}
	last := len(words) - 1
	return fmt.Errorf("%s: must be %s or %s, got %q", name, strings.Join(words[:last], ", "), words[last], value)
}

// IsStatus reports whether n is a status or, as its first digit, a class of them.
func IsStatus(n int) bool { return n >= 1 && n <= 5 || n >= 100 && n <= 599 }

const statusRule = "must be a status such as 200 or a class such as 2xx"

// Status requires a status or, as its first digit, a class of them.
func Status(name string, n int) error {
	if IsStatus(n) {
		return nil
	}
	return fmt.Errorf("%s: %s, got %d", name, statusRule, n)
}

// Prefix parses an IP address or a range. An IPv4-mapped range such as ::ffff:10.0.0.0/104
// is converted to IPv4: addresses are compared in that form, so it would match none
// otherwise.
func Prefix(name, value string) (netip.Prefix, error) {
	const mapped = 96 // bits before an IPv4 address
	prefix, err := caddyhttp.CIDRExpressionToPrefix(value)
	isMapped := prefix.Addr().Is4In6()
	switch {
	case err != nil, isMapped && prefix.Bits() < mapped: // more than all of IPv4
		return netip.Prefix{}, fmt.Errorf("%s: must be IP addresses or ranges such as 10.0.0.0/8, got %q", name, value)
	case isMapped:
		return netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-mapped), nil
	}
	return prefix, nil
}

// Default sets a value that is zero.
func Default[T comparable](value *T, def T) {
	var zero T
	if *value == zero {
		*value = def
	}
}

// DefaultTo sets a value that is nil, where zero is a valid value.
func DefaultTo[T any](value **T, def T) {
	if *value == nil {
		*value = &def
	}
}
