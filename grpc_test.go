package healthpool_test

import (
	"net"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
)

// serveGRPC starts a gRPC server and returns its address.
func serveGRPC(t *testing.T, server *grpc.Server) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", deadAddress(t))
	if err != nil {
		t.Fatal(err)
	}
	go runServer(t, server, listener)
	t.Cleanup(server.Stop)
	return listener.Addr().String()
}

// newGRPC starts a gRPC server with the standard health service.
func newGRPC(t *testing.T) (addr string, service *health.Server) {
	t.Helper()
	server, service := grpc.NewServer(), health.NewServer()
	grpc_health_v1.RegisterHealthServer(server, service)
	return serveGRPC(t, server), service
}

const h2c = "\nhealth_interval 10ms\nhealth_down_interval 10ms\ntransport http {\nversions h2c 2\n}"

// TestCheckGRPC asks a real server about itself and its services, over HTTP/2 without TLS.
func TestCheckGRPC(t *testing.T) {
	addr, service := newGRPC(t)
	service.SetServingStatus("cart", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	upstreams := states(t, addr,
		"health_type grpc"+h2c,
		"health_type grpc\nhealth_service cart"+h2c,
		"health_type grpc\nhealth_service unknown"+h2c,
		"health_type grpc") // over HTTP/1
	checkStates(t, upstreams, "healthy", "unexpected_status", "unexpected_status", upstreams[3].Cause)
	expect(t, upstreams, map[string]bool{
		"cart":    strings.Contains(upstreams[1].Detail, "NOT_SERVING"),
		"unknown": strings.Contains(upstreams[2].Detail, `"unknown"`),
		"HTTP/1":  upstreams[3].State == "unhealthy" && upstreams[3].Cause != "",
	})
}

// TestCheckGRPCChanges has a service stop serving, and start again.
func TestCheckGRPCChanges(t *testing.T) {
	addr, service := newGRPC(t)
	s := run(t, "healthpool "+addr+" {\nhealth_type grpc\nhealth_service cart\nhealth_edge_interval 10ms"+h2c+"\n}")
	for range 2 {
		service.SetServingStatus("cart", grpc_health_v1.HealthCheckResponse_SERVING)
		s.awaitPool("up")
		service.SetServingStatus("cart", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
		s.awaitPool("down")
	}
}

// TestCheckGRPCWithoutService covers an app that speaks gRPC but has no health service.
func TestCheckGRPCWithoutService(t *testing.T) {
	u := states(t, serveGRPC(t, grpc.NewServer()), "health_type grpc"+h2c)[0]
	if u.Cause != "unexpected_status" || !strings.Contains(u.Detail, "no health service") {
		t.Errorf("got %+v", u)
	}
}
