package option

import (
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

// Address parses the address of one upstream, which must be exactly one socket.
// Placeholders are replaced once, now. Hosts are converted to lower case; socket paths are
// not.
func Address(name, address string) (caddy.NetworkAddress, error) {
	var none caddy.NetworkAddress
	replaced, err := caddy.NewReplacer().ReplaceOrErr(address, true, true)
	if err != nil {
		return none, fmt.Errorf("%s: must be known at the start, so only global placeholders may be used, got %q: %w", name, address, err)
	}
	if scheme, rest, found := strings.Cut(replaced, "://"); found {
		return none, fmt.Errorf("%s: must be an address without a scheme, got %q; %s", name, address, withoutScheme(scheme, rest))
	}
	addr, err := caddy.ParseNetworkAddressWithDefaults(replaced, "tcp", 80)
	switch {
	case err != nil:
		return none, fmt.Errorf("%s: must be an address such as app:8080, got %q: %w", name, address, err)
	case addr.IsUnixNetwork() || addr.IsFdNetwork():
		return addr, nil
	case replaced == "", !strings.HasPrefix(addr.Network, "tcp"), strings.ContainsAny(addr.Host, `[]{}\`):
		return none, fmt.Errorf("%s: must be an address such as app:8080 or unix//run/app.sock, got %q", name, address)
	case strings.ContainsAny(addr.Host, "/? \t"):
		return none, fmt.Errorf("%s: must be a host and a port without a path, got %q", name, address)
	case addr.PortRangeSize() != 1:
		return none, fmt.Errorf("%s: must have one port, not a range, got %q; list each address", name, address)
	case addr.StartPort == 0:
		return none, fmt.Errorf("%s: must have a port from 1 to 65535, got %q", name, address)
	}
	addr.Host = strings.ToLower(addr.Host)
	return addr, nil
}

// withoutScheme says what to write in place of an address with a scheme.
func withoutScheme(scheme, address string) string {
	switch scheme {
	case "https":
		if !strings.Contains(address, ":") {
			address += ":443"
		}
		return fmt.Sprintf("write %q and use transport http { tls }", address)
	case "h2c":
		return fmt.Sprintf("write %q and use transport http { versions h2c 2 }", address)
	}
	return fmt.Sprintf("write %q; for TLS, use transport http { tls }", address)
}
