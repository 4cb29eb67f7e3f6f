package failure

import (
	"errors"
	"net"
	"net/http"
	"os"
	"syscall"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// BenchmarkOf measures errors of a proxy, and one of another handler.
func BenchmarkOf(b *testing.B) {
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	for name, err := range map[string]error{
		"refused":     caddyhttp.HandlerError{StatusCode: http.StatusBadGateway, Trace: "reverseproxy.statusError", Err: refused},
		"no upstream": caddyhttp.HandlerError{StatusCode: http.StatusServiceUnavailable, Trace: "reverseproxy.x", Err: errors.New("no upstreams available")},
		"another":     caddyhttp.HandlerError{StatusCode: http.StatusNotFound, Trace: "fileserver.x", Err: os.ErrNotExist},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := Of(err); ok != (name != "another") {
					b.Fatal(ok)
				}
			}
		})
	}
}
