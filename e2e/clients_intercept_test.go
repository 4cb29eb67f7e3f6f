package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/emptypb"
)

// mesh is a proxy such as Envoy, as an app: it says by its path what it answers, or that nothing is behind it.
type mesh struct {
	up      atomic.Bool // whether something is behind it
	proceed chan struct{}
}

const (
	noHealthyUpstream = "no healthy upstream" // what Envoy says, and nothing else
	mainOfPage        = "<main"               // what our page has, and no app's answer
)

func (m *mesh) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Server", "envoy")
	w.Header().Set("X-Envoy-Upstream-Service-Time", "3")
	w.Header().Set("Set-Cookie", "envoy=1")
	switch own := sayings[r.URL.Path]; {
	case own != nil:
		own(w, r)
	case regexp.MustCompile(`^/(status|file|hints|events|trailers|abort)\b`).MatchString(r.URL.Path):
		ownAnswers(m.proceed)(w, r)
	case m.up.Load():
		page(w, r)
	default:
		say(w, noHealthyUpstream)
	}
}

// say answers in full.
func say(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.Header().Set("Etag", `"envoy"`)
	w.WriteHeader(http.StatusServiceUnavailable)
	fmt.Fprint(w, text)
}

// sayings are what else a mesh may answer with status 503, by the path.
var sayings = map[string]http.HandlerFunc{
	"/other": func(w http.ResponseWriter, _ *http.Request) {
		say(w, "upstream connect error or disconnect/reset before headers. reset reason: connection termination")
	},
	"/longer": func(w http.ResponseWriter, _ *http.Request) {
		say(w, noHealthyUpstream+", or so: the request was sent twice")
	},
	"/empty": func(w http.ResponseWriter, _ *http.Request) { say(w, "") },
	"/forever": func(w http.ResponseWriter, r *http.Request) {
		sayUntil(w, r, time.Millisecond)
	},
	"/stuck": func(w http.ResponseWriter, r *http.Request) {
		sayUntil(w, r, patience)
	},
	"/broken": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000")
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, "half")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	},
}

// sayUntil goes on to say something, now and then, until the client leaves.
func sayUntil(w http.ResponseWriter, r *http.Request, interval time.Duration) {
	w.WriteHeader(http.StatusServiceUnavailable)
	if r.Method == http.MethodHead {
		return // the connection would be taken for free while this goes on
	}
	tick := time.NewTicker(interval) // the scenario itself
	defer tick.Stop()
	for r.Context().Err() == nil {
		fmt.Fprint(w, ".")
		_ = http.NewResponseController(w).Flush()
		select {
		case <-tick.C:
		case <-r.Context().Done():
		}
	}
}

// newMesh runs Caddy with no_healthy_upstream, and options, in front of a mesh that is up itself.
func newMesh(t *testing.T, options string) (site string, m *mesh, a *app) {
	t.Helper()
	m = &mesh{proceed: make(chan struct{})}
	a = newApp(t, m.ServeHTTP)
	a.start(t)
	site = freeAddress(t)
	runCaddy(t, fmt.Sprintf("http://%s {\n\tvisits\n\tno_healthy_upstream {\n\t\t%s\n\t}\n\treverse_proxy %s\n}\n",
		site, options, a.address))
	return site, m, a
}

// wantNothingOfMesh checks that nothing of the answer that was replaced is left.
func wantNothingOfMesh(t *testing.T, res reply) {
	t.Helper()
	for _, name := range []string{"X-Envoy-Upstream-Service-Time", "Etag", "Set-Cookie", "X-Ours"} {
		if res.header.Get(name) != "" {
			t.Errorf("the answer has %s: %s", name, res.header.Get(name))
		}
	}
	if got := res.header.Get("Server"); got == "envoy" {
		t.Error("the answer is said to be of envoy")
	}
	if res.header.Get("Retry-After") == "" || res.header.Get("Cache-Control") != "no-store" {
		t.Errorf("the answer has not the headers of ours: %v", res.header)
	}
}

// TestInterceptedFate checks what clients are told where a mesh says that it has nobody to answer, by what it says: the
// page for people, the fate for programs, and that not even an answer without an end keeps them waiting.
func TestInterceptedFate(t *testing.T) {
	site, _, _ := newMesh(t, "intercept 503")
	for path, fate := range map[string]string{
		"/": notSent, "/other": unknown, "/longer": unknown, "/empty": unknown,
		"/forever": unknown, "/stuck": unknown, "/broken": unknown,
	} {
		t.Run(path, func(t *testing.T) {
			for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodHead} {
				res := ask(t, http.DefaultClient, method, "http://"+site+path, "abc", "Accept", "text/html")
				hasBody := method != http.MethodHead
				if res.status != http.StatusServiceUnavailable || strings.Contains(res.body, mainOfPage) != hasBody {
					t.Errorf("%s: got %d %.80q, want 503 and the page", method, res.status, res.body)
				}
				if got := res.header.Get("Content-Type"); got != "text/html; charset=utf-8" {
					t.Errorf("%s: Content-Type %q", method, got)
				}
				wantNothingOfMesh(t, res)
			}
			res := ask(t, http.DefaultClient, http.MethodPost, "http://"+site+path, "abc", "Accept", "application/json")
			var problem map[string]any
			if err := json.Unmarshal([]byte(res.body), &problem); err != nil {
				t.Fatalf("%v: %q", err, res.body)
			}
			if problem["request_fate"] != fate || problem["retryable"] != (fate == notSent) {
				t.Errorf("got %s, want request_fate %s", res.body, fate)
			}
			wantNothingOfMesh(t, res)
		})
	}
}

// TestInterceptedNested checks that the outer of two Caddys does not promise more than the inner one: its text begins
// with Envoy's, too, but may go on with that nobody knows what came of the request.
func TestInterceptedNested(t *testing.T) {
	a := newApp(t, breakOff)
	a.start(t)
	inner, outer := freeAddress(t), freeAddress(t)
	runCaddy(t, fmt.Sprintf("http://%s {\n\thealthpool %s\n}\n"+
		"http://%s {\n\tno_healthy_upstream {\n\t\tintercept 5xx\n\t}\n\treverse_proxy %[1]s\n}\n", inner, a.address, outer))
	for _, site := range []string{inner, outer} {
		if res := ask(t, http.DefaultClient, http.MethodPost, "http://"+site, "abc"); !strings.Contains(res.body, saysFate[unknown]) {
			t.Errorf("got %q, want: %s", res.body, saysFate[unknown])
		}
	}
}

// TestInterceptedClass checks that a class of statuses is replaced, each by the page with that status, and no other
// status is.
func TestInterceptedClass(t *testing.T) {
	site, _, _ := newMesh(t, "intercept 5xx")
	for status, replaced := range map[int]bool{200: false, 404: false, 500: true, 503: true, 504: true} {
		res := ask(t, http.DefaultClient, http.MethodGet, fmt.Sprintf("http://%s/status/%d", site, status), "", "Accept", "text/html")
		if res.status != status || strings.Contains(res.body, mainOfPage) != replaced {
			t.Errorf("got %d %.80q, want %d, replaced: %v", res.status, res.body, status, replaced)
		}
	}
}

// TestInterceptedNot compares, byte for byte, what is not to be intercepted with what Caddy's own proxy makes of it:
// other statuses, streams, answers that break off, and a 503 where the owner has not asked for it.
func TestInterceptedNot(t *testing.T) {
	m := &mesh{proceed: make(chan struct{})}
	a := newApp(t, m.ServeHTTP)
	a.start(t)
	with, other, without := freeAddress(t), freeAddress(t), freeAddress(t)
	const site = "http://%s {\n\t%sreverse_proxy %s\n}\n"
	runCaddy(t, fmt.Sprintf(site, with, "no_healthy_upstream {\n\t\tintercept 503 599\n\t}\n\t", a.address)+
		fmt.Sprintf(site, other, "no_healthy_upstream\n\t", a.address)+fmt.Sprintf(site, without, "", a.address))
	meshes := []dialog{
		{name: "no healthy upstream", request: "GET /\nAccept: text/html"},
		{name: "POST", request: "POST /\nContent-Length: 3\n\nabc"},
		{name: "HEAD", request: "HEAD /"},
		{name: "without a length", request: "GET /empty"},
		{name: "another 503", request: "GET /other"},
	}
	for _, d := range meshes {
		t.Run(d.name, func(t *testing.T) {
			if got, want := string(d.hold(t, other, m.proceed)), string(d.hold(t, without, m.proceed)); got != want || want == "" {
				t.Errorf("got:\n%.2000q\nwant:\n%.2000q", got, want)
			}
			if got := string(d.hold(t, with, m.proceed)); strings.Contains(got, "envoy") {
				t.Errorf("where it is to be intercepted: %.2000q", got)
			}
		})
	}
	for _, d := range dialogs {
		if d.name == "websocket" || regexp.MustCompile(`^[A-Z]+ /status/(204|502|503)`).MatchString(d.request) {
			continue
		}
		t.Run(d.name, func(t *testing.T) {
			if got, want := string(d.hold(t, with, m.proceed)), string(d.hold(t, without, m.proceed)); got != want || want == "" {
				t.Errorf("got:\n%.2000q\nwant:\n%.2000q", got, want)
			}
		})
	}
}

// TestInterceptedPoll checks that the page knows whether something is behind the mesh, by asking through it.
func TestInterceptedPoll(t *testing.T) {
	site, m, a := newMesh(t, "intercept 503")
	for _, up := range []bool{false, true, false} {
		m.up.Store(up)
		res, want := poll(t, site, "direct"), http.StatusServiceUnavailable
		if up {
			want = http.StatusNoContent
		}
		if res.status != want || res.header.Get("Retry-After") == "" || res.header.Get("Server") == "envoy" {
			t.Errorf("something is behind it: %v; got %d %v, want %d and Retry-After", up, res.status, res.header, want)
		}
	}
	a.stop()
	if res := poll(t, site, "direct"); res.status != http.StatusServiceUnavailable {
		t.Errorf("without the mesh: got %d, want 503", res.status)
	}
}

// TestInterceptedVisitor checks that a visitor of a mesh is brought back like any other, with a pool and without one,
// and is not shown the page over and over again meanwhile.
func TestInterceptedVisitor(t *testing.T) {
	for name, config := range map[string]string{
		"static": "no_healthy_upstream {\n\t\tintercept 503\n\t}\n\treverse_proxy APP",
		"pool":   "healthpool APP {\n\t\tpage {\n\t\t\tintercept 503\n\t\t}\n\t}",
	} {
		t.Run(name, func(t *testing.T) {
			b, m, site := openTab(t), new(mesh), freeAddress(t)
			a := newApp(t, m.ServeHTTP)
			a.start(t)
			runCaddy(t, "http://"+site+" {\n\tvisits\n\t"+strings.ReplaceAll(config, "APP", a.address)+"\n}\n")
			b.visit("http://" + site + "/shelf")
			b.await(isPage)
			await(t, "the page has polled twice", func() bool { return len(visits.polls()) >= 2 })
			if n := visits.loads("/shelf"); n > 1 {
				t.Errorf("while nothing was behind the mesh, the page was loaded %d times", n)
			}
			m.up.Store(true)
			b.await(isApp)
		})
	}
}

// TestInterceptedCall checks that a client of gRPC gets an answer in its own language where something on the way has
// none.
func TestInterceptedCall(t *testing.T) {
	a := newH2CApp(t, new(mesh))
	a.start(t)
	site := freeAddress(t)
	runCaddy(t, fmt.Sprintf("http://%s {\n\tno_healthy_upstream {\n\t\tintercept 503\n\t}\n"+
		"\treverse_proxy %s {\n\t\ttransport http {\n\t\t\tversions h2c 2\n\t\t}\n\t}\n}\n", site, a.address), withH2C)
	conn, _ := newGRPCClient(t, site)
	var trailer metadata.MD
	trailer, err := grpcCall{method: ownUnary, message: new(emptypb.Empty)}.do(t, conn)
	wantUnavailable(t, err, trailer, notSent)
}
