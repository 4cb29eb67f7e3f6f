//go:build !unix

package chaos

import "syscall"

// There are no signals that suspend a process here: sending these is an error.
const (
	suspendSignal = syscall.Signal(-1)
	resumeSignal  = syscall.Signal(-2)
)
