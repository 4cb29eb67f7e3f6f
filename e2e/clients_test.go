package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
)

const (
	// withH2C is a global option: HTTP/2 without TLS, as clients of gRPC speak it to a proxy in their own network.
	withH2C = "\tservers {\n\t\tprotocols h1 h2c\n\t}\n"

	// toH2C is a block of options for an app that speaks nothing else.
	toH2C = " {\n\t\thealth_down_interval 50ms\n\t\thold off\n\t\ttransport http {\n\t\t\tversions h2c 2\n\t\t}\n\t}"

	notSent, unknown = "not_sent", "unknown" // what became of a request
)

// saysFate is what a text tells people of the fate of a request that may change something.
var saysFate = map[string]string{notSent: "safe to repeat", unknown: "check before repeating"}

// isOurText reports whether the client of a remote call is told that nothing could answer, and what became of its call.
func isOurText(text, fate string) bool {
	return strings.Contains(text, "is not answering.") && strings.Contains(text, saysFate[fate])
}

// newH2CSite runs Caddy with healthpool in front of an app that is down; both speak HTTP/2 without TLS.
func newH2CSite(t *testing.T, handler http.Handler) (site string, a *app) {
	t.Helper()
	a = newH2CApp(t, handler)
	site = freeAddress(t)
	runCaddy(t, fmt.Sprintf("http://%s {\n\tvisits\n\thealthpool %s%s\n}\n", site, a.address, toH2C), withH2C)
	return site, a
}

// newH2CApp is newApp for an app that speaks HTTP/2 without TLS as well.
func newH2CApp(t *testing.T, handler http.Handler) *app {
	t.Helper()
	a := newApp(t, handler.ServeHTTP)
	a.protocols = new(http.Protocols)
	a.protocols.SetHTTP1(true)
	a.protocols.SetUnencryptedHTTP2(true)
	return a
}

// leaks are what no client may be shown: the addresses of upstreams, and the texts of Go's errors.
var leaks = regexp.MustCompile(`(?i)127\.0\.0\.1|localhost|:[23]\d{4}\b|dial tcp|connection (refused|reset)|\bEOF\b|` +
	`goroutine|\w\.go:\d|upstreams available|stream error`)

// wantNoLeak fails the test if a text that a client is given says what is behind the proxy.
func wantNoLeak(t *testing.T, what, text string) {
	t.Helper()
	if found := leaks.FindString(text); found != "" {
		t.Errorf("%s gives away %q: %s", what, found, text)
	}
}

// wantDetails checks the details of a failed call: when to try again, as retryAfter has it, if it is there, and what
// became of the request.
func wantDetails(t *testing.T, details []proto.Message, retryAfter string, fate string) {
	t.Helper()
	var retry *errdetails.RetryInfo
	var info *errdetails.ErrorInfo
	for _, d := range details {
		switch d := d.(type) {
		case *errdetails.RetryInfo:
			retry = d
		case *errdetails.ErrorInfo:
			info = d
		}
		wantNoLeak(t, "a detail", fmt.Sprint(d))
	}
	if delay := retry.GetRetryDelay().AsDuration(); delay < time.Second || delay > time.Minute {
		t.Errorf("RetryInfo is %v, want 1 s to 60 s", retry)
	} else if want := strconv.Itoa(int(delay / time.Second)); retryAfter != want {
		t.Errorf("RetryInfo says %s s, Retry-After %q", want, retryAfter)
	}
	if got := info.GetMetadata(); got["request_fate"] != fate || got["reference"] == "" {
		t.Errorf("ErrorInfo is %v, want request_fate %s and a reference", info, fate)
	}
	if len(details) != 2 {
		t.Errorf("got %d details, want RetryInfo and ErrorInfo: %v", len(details), details)
	}
}

// h2cClient speaks HTTP/2 without TLS and nothing else.
func h2cClient() *http.Client {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Client{Transport: &http.Transport{Protocols: protocols}, Timeout: patience}
}

// h1Client speaks HTTP/1.1 and nothing else.
func h1Client() *http.Client {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Client{Transport: &http.Transport{Protocols: protocols}, Timeout: patience}
}

// breakOff takes a request and answers by closing its connection, or stream: nobody knows what came of it.
func breakOff(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	panic(http.ErrAbortHandler)
}

// reply is a whole answer.
type reply struct {
	status  int
	header  http.Header
	trailer http.Header
	body    string
}

// ask sends a request, with headers as names and values in turn, and returns the whole answer, which must be there
// soon.
func ask(t *testing.T, client *http.Client, method, url, body string, headers ...string) reply {
	t.Helper()
	const soon = 5 * time.Second
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatalf("%s %s: no answer: %v", method, url, err)
	}
	defer res.Body.Close()
	all, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s %s: half an answer: %v", method, url, err)
	}
	return reply{res.StatusCode, res.Header, res.Trailer, string(all)}
}

// poll asks a site as its page does whether it is back.
func poll(t *testing.T, site, token string) reply {
	t.Helper()
	return ask(t, http.DefaultClient, http.MethodHead, "http://"+site, "", "Recovery-Poll", token)
}

// posts is the number of requests that are no mere look: remote calls, for instance.
func posts(v *visitRecorder) int {
	return len(v.all(func(visit visit) bool { return visit.method == http.MethodPost }))
}
