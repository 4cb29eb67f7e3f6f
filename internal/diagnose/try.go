package diagnose

import (
	"context"
	"io"
	"net"
)

// try finds out, on a connection of its own, whether the peer speaks another protocol
// than the one that failed.
func (v *visit) try(ctx context.Context, name, subject string, speak func(net.Conn) (string, error)) bool {
	if ctx.Err() != nil {
		return false
	}
	err := v.step(ctx, name, subject, func(ctx context.Context) (string, error) {
		conn, err := v.redial(ctx)
		if err != nil {
			return "", err
		}
		defer conn.Close()
		defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
		if deadline, ok := ctx.Deadline(); ok {
			_ = conn.SetDeadline(deadline) // else the context closes it
		}
		return speak(conn)
	})
	return err == nil
}

// exchange sends something and reads the first n bytes of the answer.
func exchange(conn net.Conn, send string, n int) ([]byte, error) {
	if _, err := io.WriteString(conn, send); err != nil {
		return nil, err
	}
	answer := make([]byte, n)
	read, err := io.ReadFull(conn, answer)
	return answer[:read], err
}
