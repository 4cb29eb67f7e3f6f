package e2e

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
)

// newGRPCSite runs Caddy in front of a real gRPC server that is down.
func newGRPCSite(t *testing.T) (site string, a *grpcApp) {
	t.Helper()
	a = newGRPCApp(t)
	site = freeAddress(t)
	options := strings.Replace(toH2C, "{\n", "{\n\t\thealth_type grpc\n", 1)
	runCaddy(t, "http://"+site+" {\n\tvisits\n\thealthpool "+a.address+options+"\n}\n", withH2C)
	return site, a
}

// wantUnavailable checks the error that a gRPC client got while nothing could answer.
func wantUnavailable(t *testing.T, err error, trailer metadata.MD, fate string) {
	t.Helper()
	s := grpcstatus.Convert(err)
	if s.Code() != codes.Unavailable || !isOurText(s.Message(), fate) {
		t.Fatalf("got %v, want Unavailable, in our words", err)
	}
	wantNoLeak(t, "the message", s.Message())
	details := make([]proto.Message, 0, len(s.Details()))
	for _, d := range s.Details() {
		m, ok := d.(proto.Message)
		if !ok {
			t.Fatalf("a detail cannot be read: %v", d)
		}
		details = append(details, m)
	}
	wantDetails(t, details, strings.Join(trailer.Get("retry-after"), ","), fate)
}

// TestGRPCWhileDown has grpc-go make calls of every kind while nothing can answer: each ends with Unavailable and what
// a program can use, in a response of trailers only, and grpc-go has nothing to complain about.
func TestGRPCWhileDown(t *testing.T) {
	site, _ := newGRPCSite(t)
	conn, wire := newGRPCClient(t, site)
	for name, call := range grpcCalls {
		t.Run(name, func(t *testing.T) {
			grpcComplaints.take()
			wire.take()
			trailer, err := call.do(t, conn)
			wantUnavailable(t, err, trailer, notSent)
			if headers, trailers := wire.take(); headers != 0 || trailers != 1 {
				t.Errorf("got %d headers and %d trailers, want trailers only", headers, trailers)
			}
			if complaints := grpcComplaints.take(); complaints != "" {
				t.Errorf("grpc-go says: %s", complaints)
			}
		})
	}
}

// TestGRPCHealthClient has the client of the standard health service call an app that is down, up, and down again: by
// one connection, and without being started anew.
func TestGRPCHealthClient(t *testing.T) {
	site, a := newGRPCSite(t)
	conn, _ := newGRPCClient(t, site)
	client := grpc_health_v1.NewHealthClient(conn)
	check := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		res, err := client.Check(ctx, new(grpc_health_v1.HealthCheckRequest))
		if err == nil && res.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
			t.Errorf("the health service says %v", res.GetStatus())
		}
		return err
	}
	for range 2 {
		var trailer metadata.MD
		_, err := client.Check(t.Context(), new(grpc_health_v1.HealthCheckRequest), grpc.Trailer(&trailer))
		wantUnavailable(t, err, trailer, notSent)
		watch, err := client.Watch(t.Context(), new(grpc_health_v1.HealthCheckRequest))
		if err == nil {
			_, err = watch.Recv()
		}
		if grpcstatus.Code(err) != codes.Unavailable {
			t.Errorf("Watch: %v, want Unavailable", err)
		}
		a.start(t)
		await(t, "calls succeed", func() bool { return check() == nil })
		wantWatch(t, client)
		a.stop()
		await(t, "the pool is down", func() bool { return isOurText(grpcstatus.Convert(check()).Message(), notSent) })
	}
}

// wantWatch checks that a stream of an app that is up works.
func wantWatch(t *testing.T, client grpc_health_v1.HealthClient) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	watch, err := client.Watch(ctx, new(grpc_health_v1.HealthCheckRequest))
	if err != nil {
		t.Fatal(err)
	}
	if res, err := watch.Recv(); err != nil || res.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
		t.Errorf("Watch: %v, %v", res, err)
	}
}

// TestGRPCRetryPolicy checks that grpc-go repeats a call by itself, by the policy that its owner gave it: it does so
// only if the failure came as trailers only.
func TestGRPCRetryPolicy(t *testing.T) {
	site, a := newGRPCSite(t)
	conn, _ := newGRPCClient(t, site, grpc.WithDefaultServiceConfig(`{"methodConfig": [{"name": [{}], "retryPolicy": {
		"maxAttempts": 5, "initialBackoff": "0.5s", "maxBackoff": "4s", "backoffMultiplier": 2,
		"retryableStatusCodes": ["UNAVAILABLE"]}}]}`))
	called := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		_, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, new(grpc_health_v1.HealthCheckRequest))
		called <- err
	}()
	calls := func() int { return posts(visits) }
	await(t, "a second attempt", func() bool { return calls() >= 2 })
	a.start(t)
	if err := <-called; err != nil {
		t.Errorf("after %d attempts: %v", calls(), err)
	}
}

// TestGRPCHeld checks that a call waits while its app restarts.
func TestGRPCHeld(t *testing.T) {
	a, site := newGRPCApp(t), freeAddress(t)
	a.start(t)
	options := strings.Replace(toH2C, "hold off", "health_interval 50ms", 1)
	runCaddy(t, "http://"+site+" {\n\tvisits\n\thealthpool "+a.address+options+"\n}\n", withH2C)
	conn, _ := newGRPCClient(t, site)
	client := grpc_health_v1.NewHealthClient(conn)
	check := func() error {
		_, err := client.Check(t.Context(), new(grpc_health_v1.HealthCheckRequest))
		return err
	}
	await(t, "calls succeed", func() bool { return check() == nil })
	a.stop()
	// A call before that could be sent by a connection that is closing, and nobody could save it.
	await(t, "the pool is down", func() bool { return poll(t, site, "").status == http.StatusServiceUnavailable })
	before := posts(visits)
	called := make(chan error, 1)
	go func() { called <- check() }()
	await(t, "the call is at Caddy", func() bool { return posts(visits) > before })
	never(t, "the call ends while the app is down", quiet, func() bool { return len(called) > 0 })
	a.start(t)
	if err := <-called; err != nil {
		t.Errorf("the call that was held: %v", err)
	}
}

// TestGRPCOwnErrors checks that what an app says itself, with details, trailers and messages, is what its client gets,
// even if it is Unavailable.
func TestGRPCOwnErrors(t *testing.T) {
	site, a := newGRPCSite(t)
	a.start(t)
	conn, _ := newGRPCClient(t, site)
	client := grpc_health_v1.NewHealthClient(conn)
	await(t, "calls reach the app", func() bool {
		_, err := client.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: "none"})
		return grpcstatus.Code(err) == codes.NotFound // as the health service has it
	})
	want := grpcstatus.Convert(ownError())
	for _, method := range []string{ownUnary, ownServer, ownClient, ownBidi} {
		trailer, err := grpcCall{method: method, message: new(emptypb.Empty)}.do(t, conn)
		if got := grpcstatus.Convert(err); !proto.Equal(got.Proto(), want.Proto()) {
			t.Errorf("%s: got %v, want %v", method, got.Proto(), want.Proto())
		}
		if own := trailer.Get("own-trailer"); len(own) != 1 || own[0] != "of the app" || len(trailer.Get("retry-after")) > 0 {
			t.Errorf("%s: the trailers are %v", method, trailer)
		}
	}
}

// TestGRPCBrokenOff checks what the client of an app is told that took the call and broke off: that nobody knows what
// came of it.
func TestGRPCBrokenOff(t *testing.T) {
	site, a := newH2CSite(t, http.HandlerFunc(breakOff))
	a.start(t)
	conn, _ := newGRPCClient(t, site)
	call := grpcCall{method: ownUnary, message: new(emptypb.Empty)}
	var trailer metadata.MD
	var err error
	await(t, "a call reaches the app", func() bool {
		trailer, err = call.do(t, conn)
		return posts(&a.requests) > 0
	})
	wantUnavailable(t, err, trailer, unknown)
}
