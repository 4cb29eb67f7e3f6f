//go:build unix

package chaos

import "syscall"

// Signals that suspend a process, and let it go on.
const (
	suspendSignal = syscall.SIGSTOP
	resumeSignal  = syscall.SIGCONT
)
