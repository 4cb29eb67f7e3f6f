package diagnose

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"

	"github.com/healthpool/caddy-healthpool/internal/cause"
)

func (v *visit) connectSocket(ctx context.Context) (conn net.Conn, _ *Problem) {
	path := v.target.Host
	err := v.step(ctx, "connect", path, func(ctx context.Context) (_ string, err error) {
		conn, err = v.dial(ctx, networkUnix, path)
		return "", err
	})
	if err != nil {
		return nil, unconnectedSocket(path, err)
	}
	return conn, nil
}

// unconnectedSocket looks at the file, because systems say the same of a
// socket that nobody listens on and of a file that is no socket.
func unconnectedSocket(path string, err error) *Problem {
	info, statErr := os.Stat(path)
	shown := printable(path)
	p := problem(cause.Of(err), fmt.Sprintf("No connection to the socket %s comes about: %s.", shown, printable(brief(err))))
	switch abstract := strings.HasPrefix(path, "@"); {
	case errors.Is(err, fs.ErrPermission):
		p.Finding = fmt.Sprintf("This user may not use the socket %s%s.", shown, mode(info))
		p.Advice = "Give Caddy's user the right to write to the socket and to enter its directory, for example by a common group."
	case !abstract && errors.Is(statErr, fs.ErrNotExist):
		p.Finding = fmt.Sprintf("There is no socket %s.", shown)
		p.Advice = "Is the app running, is the path right, and does this machine (or container) have that directory?"
	case !abstract && statErr == nil && info.Mode()&fs.ModeSocket == 0:
		p.Finding = fmt.Sprintf("The file %s is no socket.", shown)
		p.Advice = "Is the path right?"
	case p.Cause == cause.ConnectionRefused:
		p.Finding = fmt.Sprintf("Nobody listens on the socket %s: its file was left behind.", shown)
		p.Advice = "Is the app running? It has to remove the old file when it starts."
	case p.Cause == cause.ConnectionTimeout:
		p.Finding = fmt.Sprintf("The socket %s takes no more connections: its queue is full.", shown)
		p.Advice = "Is the app overloaded or stuck?"
	}
	return p
}

// mode says who may use a file, if that is known.
func mode(info fs.FileInfo) string {
	if info == nil {
		return ""
	}
	return fmt.Sprintf(" (its mode is %s)", info.Mode().Perm())
}
