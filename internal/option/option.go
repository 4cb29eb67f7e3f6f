// Package option has the rules that option values keep to, and words their
// errors alike: the option first, then the rule, then what was there instead.
package option

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Positive wants a duration above zero.
func Positive[D ~int64](name string, d D) error {
	if d > 0 {
		return nil
	}
	return fmt.Errorf("%s: must be greater than 0, got %v", name, time.Duration(d))
}

// ZeroOrMore wants a duration, where zero is for off; nil is one not given.
func ZeroOrMore[D ~int64](name string, d *D) error {
	if d == nil || *d >= 0 {
		return nil
	}
	return fmt.Errorf("%s: must not be negative, got %v; 0 or off switches it off", name, time.Duration(*d))
}

// AtLeast wants a number that is not below least.
func AtLeast(name string, n, least int) error {
	if n >= least {
		return nil
	}
	return fmt.Errorf("%s: must be at least %d, got %d", name, least, n)
}

// Within wants a number from least to most.
func Within(name string, n, least, most int) error {
	if n >= least && n <= most {
		return nil
	}
	return fmt.Errorf("%s: must be from %d to %d, got %d", name, least, most, n)
}

// OneOf wants one of a few words.
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

// Prefix reads an IP address or a range. One of IPv4 that is written as IPv6, such as
// ::ffff:10.0.0.0/104, is made one of IPv4: addresses are compared as that, and it would
// have nobody in it.
func Prefix(name, value string) (netip.Prefix, error) {
	const mapped = 96 // bits before an IPv4 address
	prefix, err := caddyhttp.CIDRExpressionToPrefix(value)
	isMapped := prefix.Addr().Is4In6()
	switch {
	case err != nil, isMapped && prefix.Bits() < mapped: // more than IPv4 has
		return netip.Prefix{}, fmt.Errorf("%s: must be IP addresses or ranges such as 10.0.0.0/8, got %q", name, value)
	case isMapped:
		return netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-mapped), nil
	}
	return prefix, nil
}

// Default sets a value that was left out.
func Default[T comparable](value *T, def T) {
	var zero T
	if *value == zero {
		*value = def
	}
}

// DefaultTo sets a value that was left out, where zero is one that was given.
func DefaultTo[T any](value **T, def T) {
	if *value == nil {
		*value = &def
	}
}
