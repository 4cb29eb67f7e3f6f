package intent

import (
	"net/netip"
	"testing"
)

// TestAdmits: an address is let through in whatever form it is written.
func TestAdmits(t *testing.T) {
	m := Maintenance{Allow: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}}
	for address, want := range map[string]bool{"10.1.2.3": true, "11.0.0.1": false, "2001:db8::7": true, "::1": false} {
		if got := m.Admits(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
	if (Maintenance{}).Admits(netip.MustParseAddr("127.0.0.1")) {
		t.Error("somebody is let through by nobody's word")
	}
}
