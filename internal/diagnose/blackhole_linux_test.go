package diagnose

import (
	"net"
	"strconv"
	"syscall"
	"testing"

	"github.com/healthpool/caddy-healthpool/internal/cause"
)

// blackhole is an address that does not reply at all, as behind a firewall
// that drops: a listener whose queue is full.
func blackhole(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(name.(*syscall.SockaddrInet4).Port))
	for range 16 {
		conn, err := (&net.Dialer{Timeout: little}).DialContext(t.Context(), "tcp", address)
		if err != nil {
			return address
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	t.Skip("the queue never fills")
	return ""
}

func TestBlackhole(t *testing.T) {
	visited{
		at: blackhole(t), walk: Walk{Timeout: 2 * little}, cause: cause.ConnectionTimeout,
		finding: "AT does not take connections: no reply at all came within TIME.", advice: timeouted,
	}.check(t)
}
