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

func (v *visit) connectSocket(ctx context.Context) (conn net.Conn, _ *verdict) {
	path := v.target.host
	err := v.step(ctx, "connect", path, func(ctx context.Context) (_ string, err error) {
		conn, err = v.dial(ctx, networkUnix, path)
		return "", err
	})
	if err != nil {
		return nil, socketProblem(path, err)
	}
	return conn, nil
}

// socketProblem looks at the file, because the system's error is the same for a socket
// that nobody listens on and for a file that is no socket.
func socketProblem(path string, err error) *verdict {
	info, statErr := os.Stat(path)
	shown := printable(path)
	p := problem(cause.Of(err), fmt.Sprintf("No connection to the socket %s comes about: %s.", shown, printable(brief(err))))
	switch abstract := strings.HasPrefix(path, "@"); {
	case errors.Is(err, fs.ErrPermission):
		p.finding = fmt.Sprintf("This user may not use the socket %s%s.", shown, mode(info))
		p.advice = "Give Caddy's user the right to write to the socket and to enter its directory, for example by a common group."
	case !abstract && errors.Is(statErr, fs.ErrNotExist):
		p.finding = fmt.Sprintf("There is no socket %s.", shown)
		p.advice = "Is the app running, is the path right, and does this machine (or container) have that directory?"
	case !abstract && statErr == nil && info.Mode()&fs.ModeSocket == 0:
		p.finding = fmt.Sprintf("The file %s is no socket.", shown)
		p.advice = "Is the path right?"
	case p.cause == cause.ConnectionRefused:
		p.finding = fmt.Sprintf("Nobody listens on the socket %s: its file was left behind.", shown)
		p.advice = "Is the app running? It has to remove the old file when it starts."
	case p.cause == cause.ConnectionTimeout:
		p.finding = fmt.Sprintf("The socket %s takes no more connections: its queue is full.", shown)
		p.advice = "Is the app overloaded or stuck?"
	}
	return p
}

// mode formats who may use a file, if that is known.
func mode(info fs.FileInfo) string {
	if info == nil {
		return ""
	}
	return fmt.Sprintf(" (its mode is %s)", info.Mode().Perm())
}
