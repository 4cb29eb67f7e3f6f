package e2e

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/grpclog"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// grpcComplaints has what grpc-go itself logs as a warning or an error, of its transport for instance.
var grpcComplaints = new(lockedBuffer)

func init() {
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(new(lockedBuffer), grpcComplaints, grpcComplaints))
}

type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

// take returns what was written since it was called last.
func (b *lockedBuffer) take() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer b.buffer.Reset()
	return b.buffer.String()
}

// drainCalls has gRPC servers begin with a call only when they have all of its request.
var drainCalls bool

// grpcApp is a real gRPC server that can be down.
type grpcApp struct {
	address string
	stop    func() // closes the server's listener and its connections
}

// start starts the server with the standard health service and a service of its own.
func (a *grpcApp) start(t *testing.T) {
	t.Helper()
	server := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	server.RegisterService(&ownService, nil)
	if drainCalls {
		over := newH2CApp(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			all, _ := io.ReadAll(r.Body)
			r.Body = io.NopCloser(bytes.NewReader(all))
			server.ServeHTTP(w, r)
		}))
		over.address = a.address
		over.start(t)
		a.stop = over.stop
		return
	}
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", a.address)
	if err != nil {
		t.Fatal(err)
	}
	a.stop = server.Stop
	go func() { _ = server.Serve(listener) }() // it returns after stop
}

// newGRPCApp returns a gRPC server that is down.
func newGRPCApp(t *testing.T) *grpcApp {
	t.Helper()
	a := &grpcApp{address: freeAddress(t), stop: func() {}}
	t.Cleanup(func() { a.stop() })
	return a
}

// Methods of the app's own service, by the kinds that there are.
const (
	ownUnary  = "/e2e.Own/Unary"
	ownServer = "/e2e.Own/Server"
	ownClient = "/e2e.Own/Client"
	ownBidi   = "/e2e.Own/Bidi"
)

// ownService answers every call with ownError; where it streams, after a message.
var ownService = grpc.ServiceDesc{
	ServiceName: "e2e.Own", HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{
		MethodName: "Unary",
		Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			_ = grpc.SetTrailer(ctx, metadata.Pairs("own-trailer", "of the app"))
			if err := decode(new(emptypb.Empty)); err != nil {
				return nil, err
			}
			return nil, ownError()
		},
	}},
	Streams: []grpc.StreamDesc{
		{StreamName: "Server", ServerStreams: true, Handler: ownStream},
		{StreamName: "Client", ClientStreams: true, Handler: ownStream},
		{StreamName: "Bidi", ServerStreams: true, ClientStreams: true, Handler: ownStream},
	},
}

func ownStream(_ any, stream grpc.ServerStream) error {
	stream.SetTrailer(metadata.Pairs("own-trailer", "of the app"))
	for { // see drainCalls
		if err := stream.RecvMsg(new(emptypb.Empty)); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
	}
	if err := stream.SendMsg(wrapperspb.String("one")); err != nil {
		return err
	}
	return ownError()
}

// ownError looks much like an error of a proxy, but is the app's own.
func ownError() error {
	s := grpcstatus.New(codes.Unavailable, "the app's own: 10.0.0.1:5432 – 100% busy")
	s, _ = s.WithDetails(&errdetails.ErrorInfo{Reason: "BUSY", Domain: "app.example"})
	return s.Err()
}

// newGRPCClient returns a connection that is not made yet, and what becomes of its calls on the wire.
func newGRPCClient(t *testing.T, site string, options ...grpc.DialOption) (*grpc.ClientConn, *grpcWire) {
	t.Helper()
	wire := new(grpcWire)
	options = append(options, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithStatsHandler(wire))
	conn, err := grpc.NewClient("passthrough:///"+site, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	return conn, wire
}

// grpcWire counts what came over the wire as headers and as trailers.
type grpcWire struct {
	mu                sync.Mutex
	headers, trailers int
}

func (w *grpcWire) HandleRPC(_ context.Context, event stats.RPCStats) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch event.(type) {
	case *stats.InHeader:
		w.headers++
	case *stats.InTrailer:
		w.trailers++
	}
}

// take returns the counts since it was called last.
func (w *grpcWire) take() (headers, trailers int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer func() { w.headers, w.trailers = 0, 0 }()
	return w.headers, w.trailers
}

func (w *grpcWire) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (w *grpcWire) HandleConn(context.Context, stats.ConnStats)                       {}
func (w *grpcWire) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// grpcCall is a call of any kind, with one message.
type grpcCall struct {
	method  string
	message proto.Message
	options []grpc.CallOption
	open    bool // the client would go on to send
}

// do makes the call and returns what it came to in the end.
func (c grpcCall) do(t *testing.T, conn *grpc.ClientConn) (metadata.MD, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var trailer metadata.MD
	if c.method == ownUnary {
		err := conn.Invoke(ctx, c.method, c.message, new(emptypb.Empty), append(c.options, grpc.Trailer(&trailer))...)
		return trailer, err
	}
	desc := &grpc.StreamDesc{ServerStreams: c.method != ownClient, ClientStreams: c.method != ownServer}
	stream, err := conn.NewStream(ctx, desc, c.method, c.options...)
	if err != nil {
		return nil, err
	}
	// The server may have answered already: then sending fails, and receiving says why.
	if stream.SendMsg(c.message) == nil && !c.open {
		_ = stream.CloseSend()
	}
	for err == nil {
		err = stream.RecvMsg(new(wrapperspb.StringValue))
	}
	return stream.Trailer(), err
}

// grpcCalls are the calls that a client can make.
var grpcCalls = map[string]grpcCall{
	"unary":      {method: ownUnary, message: new(emptypb.Empty)},
	"compressed": {method: ownUnary, message: wrapperspb.String("abc"), options: []grpc.CallOption{grpc.UseCompressor(gzip.Name)}},
	"of a codec": {method: ownUnary, message: new(emptypb.Empty), options: []grpc.CallOption{grpc.CallContentSubtype("proto")}},
	"waiting":    {method: ownUnary, message: new(emptypb.Empty), options: []grpc.CallOption{grpc.WaitForReady(true)}},
	"large":      {method: ownUnary, message: wrapperspb.Bytes(make([]byte, 3<<20))}, // more than fits any window
	"server":     {method: ownServer, message: new(emptypb.Empty)},
	"client":     {method: ownClient, message: new(emptypb.Empty)},
	"bidi":       {method: ownBidi, message: new(emptypb.Empty)},
	"open":       {method: ownBidi, message: new(emptypb.Empty), open: true},
}
