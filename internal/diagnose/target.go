package diagnose

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"unicode"
)

const (
	schemeHTTP  = "http"
	schemeHTTPS = "https"
	schemeH2C   = "h2c"

	networkUnix = "unix"
)

// target is an address in its parts.
type target struct {
	// network is tcp, tcp4, tcp6 or unix.
	network string
	// scheme is http, https, or h2c for HTTP/2 without TLS.
	scheme string
	// host is a name or an IP address; or the path of a unix socket.
	host string
	// port is 0 for a unix socket.
	port uint16
	// url is what to ask for; its scheme is http or https.
	url *url.URL

	written string
}

// String is the address as it was written, without its password, and with its port.
func (t target) String() string { return t.written }

// address is what to dial, with an IP address in place of the name.
func (t target) address(ip netip.Addr) string { return t.at(ip.String()) }

func (t target) at(host string) string {
	return net.JoinHostPort(host, strconv.Itoa(int(t.port)))
}

// name is what sentences call it.
func (t target) name() string {
	if t.network == networkUnix {
		return t.host
	}
	return t.at(t.host)
}

// parse reads an address as owners write it in a config, or a URL. The verdict is nil
// unless the address cannot be read.
func parse(address string) (target, *verdict) {
	switch {
	case address == "":
		return target{}, addressProblem("The address is empty.", "Write a host and a port, such as app:8080.")
	case strings.ContainsAny(address, "{}"):
		return target{}, addressProblem(fmt.Sprintf("The address %q has a placeholder.", redacted(address)),
			"Only Caddy knows its value: write that value instead.")
	case strings.Contains(address, "://"):
		return parseURL(address)
	}
	network, rest, found := strings.Cut(address, "/")
	if !found {
		return parseHostPort("tcp", address, address)
	}
	switch network {
	case "tcp", "tcp4", "tcp6":
		return parseHostPort(network, rest, address)
	case networkUnix, networkUnix + "+h2c":
		return parseSocket(rest, network != networkUnix, address)
	case "":
		return target{}, addressProblem(fmt.Sprintf("%q is a path.", printable(address)),
			fmt.Sprintf("For a unix socket, write unix/%s.", printable(address)))
	case "udp", "udp4", "udp6", "fd", "fdgram", "unixgram", "unixpacket":
		return target{}, addressProblem(fmt.Sprintf("An address of the network %s cannot be looked at.", network),
			"Only tcp and unix can.")
	default:
		return target{}, addressProblem(fmt.Sprintf("%q has a path but no scheme.", printable(address)),
			fmt.Sprintf("Write http://%s, or https.", printable(address)))
	}
}

func parseSocket(path string, h2c bool, written string) (target, *verdict) {
	path, _, _ = strings.Cut(path, "|") // the permissions are for who listens
	if path == "" || strings.ContainsRune(path, 0) {
		return target{}, addressProblem("The path of the unix socket is missing.", "Write it with two slashes, such as unix//run/app.sock.")
	}
	t := target{network: networkUnix, scheme: schemeHTTP, host: path, written: printable(written)}
	if h2c {
		t.scheme = schemeH2C
	}
	t.url = &url.URL{Scheme: schemeHTTP, Host: "localhost", Path: "/"}
	return t, nil
}

func parseHostPort(network, s, written string) (target, *verdict) {
	if bare := withoutPort(s); bare != "" {
		const usual = ":80" // as in a config
		s, written = bare+usual, strings.TrimSuffix(written, s)+bare+usual
	}
	host, port, problem := splitHostPort(s)
	if problem != nil {
		return target{}, problem
	}
	t := target{network: network, scheme: schemeHTTP, host: host, port: port, written: printable(written)}
	t.url = &url.URL{Scheme: schemeHTTP, Host: t.at(host), Path: "/"}
	return t, nil
}

// withoutPort returns a host that has no port, with brackets if it is an IPv6 address;
// and "" for anything else.
func withoutPort(s string) string {
	if _, err := strconv.ParseUint(s, 10, 64); err == nil { // a port without a host
		return ""
	}
	if host, ok := strings.CutPrefix(s, "["); ok {
		if host, ok = strings.CutSuffix(host, "]"); !ok || !strings.Contains(host, ":") || !validHost(host) {
			return ""
		}
		return s
	}
	if strings.Contains(s, ":") || !validHost(s) {
		return ""
	}
	return s
}

func splitHostPort(s string) (string, uint16, *verdict) {
	bare := strings.TrimPrefix(s, ":")
	if _, err := strconv.ParseUint(bare, 10, 64); err == nil {
		return "", 0, addressProblem(fmt.Sprintf("%q is a port without a host.", s),
			fmt.Sprintf("Write localhost:%s for an app on this machine, else the name of its host.", bare))
	}
	if strings.Count(s, ":") > 1 && !strings.HasPrefix(s, "[") {
		return "", 0, addressProblem(fmt.Sprintf("%q looks like an IPv6 address without brackets.", printable(s)),
			"Write it with brackets and a port, such as [::1]:8080.")
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return "", 0, addressProblem(fmt.Sprintf("%q is not a host and a port.", printable(s)),
			"Write a name or an IP address and a port, such as app:8080.")
	}
	if !validHost(host) || strings.HasPrefix(s, "[") != strings.Contains(host, ":") {
		return "", 0, addressProblem(fmt.Sprintf("%q is not the name of a host.", printable(host)),
			"Write a name or an IP address and a port, such as app:8080.")
	}
	number, problem := parsePort(port)
	return host, number, problem
}

func parsePort(port string) (uint16, *verdict) {
	number, err := strconv.ParseUint(port, 10, 16)
	switch first, _, found := strings.Cut(port, "-"); {
	case port == "":
		return 0, addressProblem("The port is missing behind the colon.", "Add the port that the app listens on.")
	case found && first != "":
		return 0, addressProblem(fmt.Sprintf("%q is a range of ports.", printable(port)), "Write one of them.")
	case err != nil || number == 0:
		return 0, addressProblem(fmt.Sprintf("%q is not a port.", printable(port)), "Write a number from 1 to 65535.")
	}
	return uint16(number), nil
}

func parseURL(address string) (target, *verdict) {
	u, err := url.Parse(address)
	if err != nil {
		finding := "The URL cannot be read."
		if wrapped, ok := errors.AsType[*url.Error](err); ok && !strings.Contains(address, "@") { // it may quote a password
			finding = "The URL cannot be read: " + printable(wrapped.Err.Error()) + "."
		}
		return target{}, addressProblem(finding, "Write it such as http://app:8080/healthz.")
	}
	t := target{network: "tcp", scheme: u.Scheme, host: u.Hostname(), url: u, written: printable(u.Redacted())}
	var problem *verdict
	if t.port, problem = portOfURL(u); problem != nil {
		return target{}, problem
	}
	if !validHost(t.host) || strings.HasPrefix(u.Host, "[") != strings.Contains(t.host, ":") {
		return target{}, addressProblem(fmt.Sprintf("%q is not the name of a host.", printable(t.host)), "Write the URL such as http://app:8080/healthz.")
	}
	if t.scheme == schemeH2C {
		u.Scheme = schemeHTTP
	}
	if u.Path == "" {
		u.Path = "/"
	}
	return t, nil
}

// portOfURL returns the port of a URL, or the default port of its scheme.
func portOfURL(u *url.URL) (uint16, *verdict) {
	port := u.Port()
	switch u.Scheme {
	case schemeHTTP, schemeH2C:
		return parsePort(cmp.Or(port, "80"))
	case schemeHTTPS:
		return parsePort(cmp.Or(port, "443"))
	case networkUnix:
		return 0, addressProblem("A unix socket is written without a colon.", "Write it such as unix//run/app.sock.")
	default:
		return 0, addressProblem(fmt.Sprintf("The scheme %s cannot be looked at.", printable(u.Scheme)), "Write http, https or h2c instead.")
	}
}

// redacted returns an address that cannot be read, without what may be a password.
func redacted(address string) string {
	before, rest, isURL := strings.Cut(address, "://")
	if end := strings.LastIndex(rest, "@"); isURL && end >= 0 {
		address = before + "://xxxxx" + rest[end:]
	}
	return printable(address)
}

// validHost looks at the characters only: whether the name exists is for the name
// servers to say.
func validHost(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		host = "x" + ip.Zone() // in which netip takes anything
	}
	const longest = 253 // RFC 1035 §2.3.4, less the dot at its end
	return host != "" && len(host) <= longest && !strings.ContainsFunc(host, func(r rune) bool {
		return !unicode.IsPrint(r) || strings.ContainsRune(" !\"#$%&'()*+,/:;<=>?@[\\]^`{|}~\ufffd", r)
	})
}
