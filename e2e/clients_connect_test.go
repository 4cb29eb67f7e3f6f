package e2e

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

type (
	connectClient   = connect.Client[wrapperspb.StringValue, wrapperspb.StringValue]
	connectRequest  = connect.Request[wrapperspb.StringValue]
	connectResponse = connect.Response[wrapperspb.StringValue]
)

// connectProtocols are the languages that connect-go speaks.
var connectProtocols = map[string][]connect.ClientOption{
	"Connect":           {},
	"Connect with JSON": {connect.WithProtoJSON()},
	"Connect with gzip": {connect.WithSendGzip()},
	"Connect by GET":    {connect.WithHTTPGet(), connect.WithIdempotency(connect.IdempotencyNoSideEffects)},
	"gRPC":              {connect.WithGRPC()},
	"gRPC with JSON":    {connect.WithGRPC(), connect.WithProtoJSON()},
	"gRPC-Web":          {connect.WithGRPCWeb()},
	"gRPC-Web, JSON":    {connect.WithGRPCWeb(), connect.WithProtoJSON()},
}

// httpVersions are the clients that connect-go can speak through.
var httpVersions = map[string]func() *http.Client{"HTTP/1.1": h1Client, "h2c": h2cClient}

// connectCalls are the calls that it can make; each returns the message it got, or else the error.
var connectCalls = map[string]func(context.Context, *connectClient, *connectRequest) (*wrapperspb.StringValue, error){
	"Unary": func(ctx context.Context, c *connectClient, req *connectRequest) (*wrapperspb.StringValue, error) {
		res, err := c.CallUnary(ctx, req)
		if err != nil {
			return nil, err
		}
		return res.Msg, nil
	},
	"Server": func(ctx context.Context, c *connectClient, req *connectRequest) (*wrapperspb.StringValue, error) {
		stream, err := c.CallServerStream(ctx, req)
		if err != nil {
			return nil, err
		}
		var last *wrapperspb.StringValue
		for stream.Receive() {
			last = proto.Clone(stream.Msg()).(*wrapperspb.StringValue)
		}
		return last, errors.Join(stream.Err(), stream.Close())
	},
	"Client": func(ctx context.Context, c *connectClient, req *connectRequest) (*wrapperspb.StringValue, error) {
		stream := c.CallClientStream(ctx)
		_ = stream.Send(req.Msg) // the server may have answered already
		res, err := stream.CloseAndReceive()
		if err != nil {
			return nil, err
		}
		return res.Msg, nil
	},
}

// connectApp is an app that says what it is asked to say, or fails with ownConnectError if it is asked for nothing.
func connectApp() http.Handler {
	mux := http.NewServeMux()
	handle := func(name string, new func(string, ...connect.HandlerOption) *connect.Handler) {
		path := "/e2e.Connect/" + name
		mux.Handle(path, new(path, connect.WithIdempotency(connect.IdempotencyNoSideEffects)))
	}
	say := func(text string) (*connectResponse, error) {
		if text == "" {
			return nil, ownConnectError()
		}
		return connect.NewResponse(wrapperspb.String(text)), nil
	}
	handle("Unary", func(path string, options ...connect.HandlerOption) *connect.Handler {
		return connect.NewUnaryHandler(path, func(_ context.Context, req *connectRequest) (*connectResponse, error) {
			return say(req.Msg.GetValue())
		}, options...)
	})
	handle("Server", func(path string, options ...connect.HandlerOption) *connect.Handler {
		return connect.NewServerStreamHandler(path,
			func(_ context.Context, req *connectRequest, stream *connect.ServerStream[wrapperspb.StringValue]) error {
				res, err := say(req.Msg.GetValue())
				if err != nil {
					return err
				}
				return stream.Send(res.Msg)
			}, options...)
	})
	handle("Client", func(path string, options ...connect.HandlerOption) *connect.Handler {
		return connect.NewClientStreamHandler(path,
			func(_ context.Context, stream *connect.ClientStream[wrapperspb.StringValue]) (*connectResponse, error) {
				text := ""
				for stream.Receive() {
					text = stream.Msg().GetValue()
				}
				return say(text)
			}, options...)
	})
	return mux
}

func newConnectClient(client *http.Client, site, kind string, options ...connect.ClientOption) *connectClient {
	return connect.NewClient[wrapperspb.StringValue, wrapperspb.StringValue](client, "http://"+site+"/e2e.Connect/"+kind, options...)
}

// ownConnectError looks much like an error of a proxy, but is the app's own.
func ownConnectError() error {
	err := connect.NewError(connect.CodeUnavailable, errors.New("the app's own: 10.0.0.1:5432"))
	if detail, e := connect.NewErrorDetail(&errdetails.ErrorInfo{Reason: "BUSY", Domain: "app.example"}); e == nil {
		err.AddDetail(detail)
	}
	return err
}

// forEachConnectCall runs a subtest for every call in every protocol over every version of HTTP.
func forEachConnectCall(t *testing.T, site string, test func(t *testing.T, do func(text string) (string, error))) {
	t.Helper()
	for version, client := range httpVersions {
		for protocol, options := range connectProtocols {
			for kind, call := range connectCalls {
				t.Run(strings.Join([]string{version, protocol, kind}, "/"), func(t *testing.T) {
					c := newConnectClient(client(), site, kind, options...)
					test(t, func(text string) (string, error) {
						ctx, cancel := context.WithTimeout(t.Context(), patience)
						defer cancel()
						m, err := call(ctx, c, connect.NewRequest(wrapperspb.String(text)))
						return m.GetValue(), err
					})
				})
			}
		}
	}
}

// TestConnectWhileDown has connect-go make calls of every kind while nothing can answer: each fails with Unavailable,
// and what a program can use.
func TestConnectWhileDown(t *testing.T) {
	site, _ := newH2CSite(t, connectApp())
	forEachConnectCall(t, site, func(t *testing.T, do func(string) (string, error)) {
		_, err := do("hello")
		failure, ok := errors.AsType[*connect.Error](err)
		isOurs := ok && connect.IsWireError(err) && isOurText(failure.Message(), notSent)
		if !isOurs || connect.CodeOf(err) != connect.CodeUnavailable {
			t.Fatalf("got %v, want Unavailable, from the server, in our words", err)
		}
		wantNoLeak(t, "the error", err.Error())
		details := make([]proto.Message, 0, len(failure.Details()))
		for _, d := range failure.Details() {
			m, err := d.Value()
			if err != nil {
				t.Fatalf("a detail cannot be read: %v", err)
			}
			details = append(details, m)
		}
		wantDetails(t, details, failure.Meta().Get("Retry-After"), notSent)
	})
	if visits.loads("/e2e.Connect/Unary") == 0 {
		t.Error("no call was a GET")
	}
}

// TestConnectApp checks that the same clients get what the app says, once it is up: answers and errors.
func TestConnectApp(t *testing.T) {
	site, a := newH2CSite(t, connectApp())
	a.start(t)
	await(t, "requests reach the app", func() bool { _, body := get(t, "http://"+site); return strings.Contains(body, "not found") })
	forEachConnectCall(t, site, func(t *testing.T, do func(string) (string, error)) {
		if text, err := do("hello"); err != nil || text != "hello" {
			t.Errorf("got %q, %v, want hello", text, err)
		}
		_, err := do("")
		failure, ok := errors.AsType[*connect.Error](err)
		if !ok || err.Error() != ownConnectError().Error() || len(failure.Details()) != 1 || failure.Meta().Get("Retry-After") != "" {
			t.Errorf("got %v, want the app's own %v", err, ownConnectError())
		}
	})
}

// TestConnectRecovers checks that a client that lives through an outage needs nothing else to go on.
func TestConnectRecovers(t *testing.T) {
	for version, client := range httpVersions {
		t.Run(version, func(t *testing.T) {
			site, a := newH2CSite(t, connectApp())
			c := newConnectClient(client(), site, "Unary")
			call := func() error {
				_, err := c.CallUnary(t.Context(), connect.NewRequest(wrapperspb.String("hello")))
				return err
			}
			if err := call(); connect.CodeOf(err) != connect.CodeUnavailable {
				t.Fatalf("got %v, want Unavailable", err)
			}
			a.start(t)
			await(t, "the call succeeds", func() bool { return call() == nil })
		})
	}
}
