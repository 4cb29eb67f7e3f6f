// Package loopback gives out addresses for servers that are to be started.
package loopback

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"sync/atomic"
)

// Ports are below those that the system hands out to connections, so that none of these takes one while a server is down.
// They are given in turn, from a random one on, so that nobody gets the same as another.
const lowestPort, ports = 20000, 12000

var (
	firstPort = rand.IntN(ports)
	given     atomic.Int64
)

// Free returns a loopback address on which nothing listens, each only once.
func Free(ctx context.Context) string {
	for range ports {
		address := fmt.Sprintf("127.0.0.1:%d", lowestPort+(firstPort+int(given.Add(1)))%ports)
		if listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address); err == nil {
			_ = listener.Close()
			return address
		}
	}
	panic("no free port")
}
