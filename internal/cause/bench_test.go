package cause

import (
	"io"
	"net"
	"os"
	"syscall"
	"testing"
)

// BenchmarkOf measures errors classified by type, and one classified by text.
func BenchmarkOf(b *testing.B) {
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	for name, err := range map[string]error{
		"refused": refused, "by text": opaque{refused}, "no such name": &net.DNSError{Err: "no such host", Name: "app", IsNotFound: true},
		"timeout": &net.OpError{Op: "read", Net: "tcp", Err: os.ErrDeadlineExceeded}, "EOF": io.EOF,
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Of(err)
			}
		})
	}
}
