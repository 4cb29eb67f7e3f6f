package cause

import (
	"errors"
	"net"
	"strings"
	"syscall"
)

// The error numbers that Winsock reports. The constants of the same meaning in syscall are
// invented on Windows, and no system call returns them there. On other systems no error
// number is this high.
const (
	wsaNetDown     syscall.Errno = 10050
	wsaNetUnreach  syscall.Errno = 10051
	wsaConnAborted syscall.Errno = 10053
	wsaConnReset   syscall.Errno = 10054
	wsaTimedOut    syscall.Errno = 10060
	wsaConnRefused syscall.Errno = 10061
	wsaHostDown    syscall.Errno = 10064
	wsaHostUnreach syscall.Errno = 10065
)

func ofErrno(err error, op net.OpError) Cause {
	errno, ok := errors.AsType[syscall.Errno](err)
	switch {
	case !ok:
		return ""
	case established(op):
		return brokenBy(errno)
	default:
		return preventedBy(errno, op)
	}
}

// connecting reports whether op opens a connection, possibly through a forward proxy.
func connecting(op net.OpError) bool {
	return op.Op == "dial" || op.Op == "proxyconnect" || strings.HasPrefix(op.Op, "socks")
}

// established reports whether op uses an open connection.
func established(op net.OpError) bool { return op.Op == "read" || op.Op == "write" }

// brokenBy returns the cause when an open connection fails. Losing the route then counts as
// termination, because the request may have arrived before.
func brokenBy(errno syscall.Errno) Cause {
	switch errno {
	case syscall.ETIMEDOUT, wsaTimedOut:
		return ConnectionReadTimeout
	default:
		return ConnectionTerminated
	}
}

// preventedBy returns the cause when a connection cannot be opened. Other numbers, such as
// too many open files, are the proxy's own failures.
func preventedBy(errno syscall.Errno, op net.OpError) Cause {
	switch errno {
	case syscall.ECONNREFUSED, wsaConnRefused:
		return ConnectionRefused
	case syscall.ENOENT, syscall.ENOTDIR, syscall.ENOTSOCK, syscall.EPROTOTYPE:
		// The socket file is missing or is not such a socket. For other operations, these
		// numbers are about other files, such as a certificate.
		if connecting(op) && strings.HasPrefix(op.Net, "unix") {
			return ConnectionRefused
		}
		return ""
	case syscall.EAGAIN:
		// A Unix socket returns this when its backlog is full, where TCP would wait.
		if connecting(op) {
			return ConnectionTimeout
		}
		return ""
	case syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.EHOSTDOWN, syscall.ENETDOWN,
		wsaHostUnreach, wsaNetUnreach, wsaHostDown, wsaNetDown:
		return DestinationIPUnroutable
	case syscall.ETIMEDOUT, wsaTimedOut:
		return ConnectionTimeout
	case syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE, wsaConnReset, wsaConnAborted:
		return ConnectionTerminated
	default:
		return ""
	}
}
