//go:build race

package e2e

// reverse_proxy has a data race of its own (bodyNopCloserIfNotRead) where an app of HTTP/2 resets a stream before all
// of the request has been passed on to it, as grpc-go does even to unary calls. It is not what these tests look for.
func init() { drainCalls = true }
