package option

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// FuzzAddress checks that an accepted address is one socket, and parses to the same when
// formatted.
func FuzzAddress(f *testing.F) {
	for _, address := range []string{
		"app:8080", "app", ":80", "[::1]:80", "::1", "[::1%eth0]:80", "unix//run/app.sock", "unix/@app", "unix//a|0222", "tcp4/app:1", "fd/3",
		"https://app", "app:1-9", "app:0", "app:65536", "app/x", "udp/app:1", "[app]:1", "{http.request.host}", "{$HOME}", "a\x00:1", "",
	} {
		f.Add(address)
	}
	f.Fuzz(func(t *testing.T, address string) {
		if strings.ContainsRune(address, '{') && !strings.Contains(address, "{http.") {
			t.Skip() // the values of placeholders are out of scope
		}
		got, err := Address("to", address)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "to: must ") {
				t.Errorf("%q: %v", address, err)
			}
			return
		}
		if !got.IsUnixNetwork() && !got.IsFdNetwork() { // files may have any name
			checkSocket(t, address, got)
		}
	})
}

func checkSocket(t *testing.T, address string, got caddy.NetworkAddress) {
	t.Helper()
	if got.PortRangeSize() != 1 || got.StartPort == 0 || strings.ContainsAny(got.Host, "/ []") {
		t.Errorf("%q: %+v", address, got)
	}
	if again, err := Address("to", got.String()); err != nil || again != got {
		t.Errorf("%q is %+v, and that is %+v %v", address, got, again, err)
	}
}

// FuzzPrefix checks that an accepted range contains its own addresses, and parses to the
// same when formatted.
func FuzzPrefix(f *testing.F) {
	for _, value := range []string{
		"10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "::ffff:10.0.0.0/104", "::ffff:0:0/95", "fe80::1%eth0", "10.0.0.0/33", "::/129", "1.2.3.4/", "",
	} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		got, err := Prefix("allow", value)
		if err != nil {
			return
		}
		if !got.IsValid() || got.Addr().Is4In6() || !got.Contains(got.Addr()) {
			t.Errorf("%q: %v", value, got)
		}
		if again, err := Prefix("allow", got.String()); err != nil || again != got {
			t.Errorf("%q is %v, and that is %v %v", value, got, again, err)
		}
		if got.Contains(netip.Addr{}) {
			t.Errorf("%q has nobody in it", value)
		}
	})
}

// FuzzValue checks that each option accepts a value only within its bounds, and that
// otherwise the error contains it.
func FuzzValue(f *testing.F) {
	for _, value := range []string{
		"5s", "1d", "-1s", "0", "off", "1e9h", "9223372036854775807ns", "7", "+7", "007", "1_000", "99999999999999999999",
		"50%", "0%", "101%", "%", "5xx", "200", "6xx", "0xx", "2xxxx", "-1xx", "\x00", "٣",
	} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		var n, percent int
		var after caddy.Duration
		var rest *caddy.Duration
		var statuses []int
		errs := []error{
			Number(given(value), &n, 1, 1000), Percent(given(value), &percent), Statuses(given(value), &statuses),
			Duration(given(value), &after), DurationOrOff(given(value), &rest),
		}
		taken := []bool{
			n >= 1 && n <= 1000, percent >= 1 && percent <= 100, len(statuses) == 1 && !slices.ContainsFunc(statuses, func(s int) bool { return !IsStatus(s) }),
			after > 0, rest != nil && (*rest > 0 || value == "off"),
		}
		for i, err := range errs {
			if (err == nil) != taken[i] {
				t.Errorf("%q: option %d is taken (%v), error %v", value, i, taken[i], err)
			}
		}
		if after > 0 {
			if again, err := caddy.ParseDuration(time.Duration(after).String()); err != nil || again != time.Duration(after) {
				t.Errorf("%q is %v, and that is %v %v", value, time.Duration(after), again, err)
			}
		}
	})
}

// given returns an option with a value.
func given(value string) *caddyfile.Dispenser {
	d := caddyfile.NewDispenser([]caddyfile.Token{{Text: "option", Line: 1}, {Text: value, Line: 1}})
	d.Next()
	return d
}
