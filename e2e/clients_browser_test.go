package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"golang.org/x/net/websocket"
)

// lab is a browser with a document whose scripts use a site that is down.
type lab struct {
	*tab
	site string // the site, with /lab the only thing that is up
	away string // a document of another origin
	app  *app
}

// openLab runs Caddy with healthpool, and options of its page, in front of an app that is down. In the options, AWAY
// stands for the other origin. The browser is at /lab of the site itself.
func openLab(t *testing.T, handler http.Handler, options string) *lab {
	t.Helper()
	a := newApp(t, handler.ServeHTTP)
	site, away := freeAddress(t), freeAddress(t)
	l := &lab{tab: openTab(t), site: "http://" + site, away: "http://" + away, app: a}
	runCaddy(t, strings.NewReplacer("SITE", l.site, "AWAY", l.away, "APP", a.address).Replace(`
(lab) {
	header Content-Type "text/html; charset=utf-8"
	respond `+"`"+`<!doctype html><html lang="en"><title>lab</title><link rel="icon" href="data:,"></html>`+"`"+`
}
SITE {
	visits
	handle /lab {
		import lab
	}
	handle {
		healthpool APP {
			hold off
			health_down_interval 50ms
			page {
				`+strings.ReplaceAll(options, "\n", "\n\t\t\t\t")+`
			}
		}
	}
}
AWAY {
	import lab
}
`))
	l.visit(l.site + "/lab")
	return l
}

// resolve returns what a promise resolves to, as a string.
func (l *lab) resolve(promise string) string {
	l.t.Helper()
	return run(l.tab, promise, chromedp.Evaluate[string]("Promise.resolve("+promise+").then(String)", chromedp.EvalAwaitPromise))
}

// fetched is what a script learns of a response; or else the name of the error.
type fetched struct {
	Error  string
	Status int
	After  string
	Type   string
	Body   string
}

// fetch has a script fetch a path of the site.
func (l *lab) fetch(path, options string) (f fetched) {
	l.t.Helper()
	text := l.resolve(fmt.Sprintf(`fetch(%q, %s).then(async r => JSON.stringify({Status: r.status, Body: await r.text(),
		After: r.headers.get("Retry-After") ?? "", Type: r.headers.get("Content-Type")}), e => JSON.stringify({Error: e.name}))`,
		l.site+path, options))
	if err := json.Unmarshal([]byte(text), &f); err != nil {
		l.t.Fatalf("%v: %s", err, text)
	}
	return f
}

// wantProblem checks that a script could read all that it needs: that the site is down, and when to try again.
func (f fetched) wantProblem(t *testing.T) {
	t.Helper()
	var problem struct {
		Status int
		After  int    `json:"retry_after"`
		Fate   string `json:"request_fate"`
	}
	err := json.Unmarshal([]byte(f.Body), &problem)
	if err != nil || f.Status != http.StatusServiceUnavailable || f.Type != "application/problem+json" || problem.Status != f.Status {
		t.Errorf("got %+v, want 503 with problem+json", f)
	}
	if f.After == "" || strconv.Itoa(problem.After) != f.After || problem.Fate != notSent {
		t.Errorf("got %+v, want Retry-After, the same as in the body, and the fate", f)
	}
}

const (
	withCredentials = `{credentials: "include"}`
	withPreflight   = `{method: "PUT", headers: {"X-Custom": "1", "Content-Type": "application/json"}, body: "{}",
		credentials: "include"}`
)

func isOptions(v visit) bool { return v.method == http.MethodOptions }

func isPut(v visit) bool { return v.method == http.MethodPut }

// TestFetch checks what scripts of the same origin get.
func TestFetch(t *testing.T) {
	l := openLab(t, http.HandlerFunc(echo), "service shop")
	for _, options := range []string{"{}", withCredentials, withPreflight, `{mode: "same-origin", cache: "reload"}`} {
		l.fetch("/api", options).wantProblem(t)
	}
	if n := len(visits.all(isOptions)); n > 0 {
		t.Errorf("%d preflights within one origin", n)
	}
	l.app.start(t)
	await(t, "the app is back", func() bool { return l.fetch("/api", "{}").Body == "/api" })
	l.wantNoProblems()
}

// TestFetchFromElsewhere checks that scripts of other origins get what the owner lets them, and no more.
func TestFetchFromElsewhere(t *testing.T) {
	for _, c := range []struct {
		options                           string
		plain, credentials, withPreflight bool
	}{
		{options: "service shop"},
		{options: "cors https://app.example.com http://127.0.0.1"},
		{options: "cors https://app.example.com AWAY", plain: true, credentials: true, withPreflight: true},
		{options: "cors *", plain: true},
		{options: "cors * AWAY", plain: true, credentials: true, withPreflight: true},
	} {
		t.Run(c.options, func(t *testing.T) {
			l := openLab(t, http.HandlerFunc(echo), c.options)
			l.visit(l.away)
			for options, readable := range map[string]bool{"{}": c.plain, withCredentials: c.credentials, withPreflight: c.withPreflight} {
				f := l.fetch("/api", options)
				if readable {
					f.wantProblem(t)
				} else if f != (fetched{Error: "TypeError"}) {
					t.Errorf("%s: got %+v, want a TypeError", options, f)
				}
			}
			if n := len(visits.all(isOptions)); n != 1 {
				t.Errorf("%d preflights, want one", n)
			}
			if sent := len(visits.all(isPut)) == 1; sent != c.withPreflight {
				t.Errorf("after the preflight, the request was sent: %v", sent)
			}
		})
	}
}

// TestRemoteCallFromElsewhere checks that a script of another origin can read the failures of remote calls, too.
func TestRemoteCallFromElsewhere(t *testing.T) {
	l := openLab(t, http.HandlerFunc(echo), "cors AWAY")
	l.visit(l.away)
	web := l.fetch("/call", `{method: "POST", body: "\0\0\0\0\0",
		headers: {"Content-Type": "application/grpc-web+proto", "X-Grpc-Web": "1"}}`)
	if web.Status != http.StatusOK || !strings.Contains(web.Body, "\r\ngrpc-message: ") || web.After == "" {
		t.Errorf("gRPC-Web: got %+v", web)
	}
	unary := l.fetch("/call", `{method: "POST", body: "{}",
		headers: {"Content-Type": "application/json", "Connect-Protocol-Version": "1"}}`)
	isUnavailable := strings.HasPrefix(unary.Body, `{"code":"unavailable"`)
	if unary.Status != http.StatusServiceUnavailable || !isUnavailable || unary.After == "" {
		t.Errorf("Connect: got %+v", unary)
	}
}

// events is an app with a stream of events that ends with the connection. It notes which event a client had last.
func events(had chan<- string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		had <- r.Header.Get("Last-Event-ID")
		w.Header().Set("Content-Type", "text/event-stream")
		_, err := io.WriteString(w, "id: seven\ndata: hello\n\n")
		if err := errors.Join(err, http.NewResponseController(w).Flush()); err == nil {
			<-r.Context().Done()
		}
	}
}

// listenToEvents opens an EventSource and notes its state at each error, and its events.
const listenToEvents = `(states = [], heard = [], source = new EventSource("/events"),
	source.onerror = () => states.push(source.readyState), source.onmessage = e => heard.push(e.data), "listening")`

// TestEventSourceHeld checks that with event_stream hold an EventSource never gives up: it is there when the app is up,
// and after another outage it says which event it had last.
func TestEventSourceHeld(t *testing.T) {
	had := make(chan string, 100)
	l := openLab(t, events(had), "event_stream hold\nretry_after 1s")
	l.eval(listenToEvents)
	for i, id := range []string{"", "seven"} {
		before := visits.loads("/events")
		await(t, "it connects again, twice", func() bool { return visits.loads("/events") >= before+2 })
		l.app.start(t)
		l.await(fmt.Sprintf("heard.length === %d && source.readyState === 1", i+1))
		if got := <-had; got != id {
			t.Errorf("it had event %q last, want %q", got, id)
		}
		l.app.stop()
	}
	if states := l.eval("states"); strings.Trim(states, "0,") != "" || states == "" {
		t.Errorf("at its errors the EventSource was in the states %s, want 0 (connecting) always", states)
	}
	l.wantNoProblems()
}

// TestEventSourceEnds checks that without the option it is told of the error, as documented: then it ends for good.
func TestEventSourceEnds(t *testing.T) {
	l := openLab(t, events(make(chan string, 100)), "retry_after 1s")
	l.eval(listenToEvents)
	l.await("states.length > 0")
	if states := l.eval("states"); states != "2" {
		t.Errorf("the states are %s, want 2 (closed)", states)
	}
	l.app.start(t)
	never(t, "it connects again", quiet, func() bool { return visits.loads("/events") > 1 })
}

// TestWebSocket checks that a handshake fails cleanly while the app is down, and succeeds after.
func TestWebSocket(t *testing.T) {
	echo := websocket.Server{Handler: func(ws *websocket.Conn) { _, _ = io.Copy(ws, ws) }}
	l := openLab(t, echo, "service shop")
	l.eval(`(dial = () => new Promise(resolve => {
		const socket = new WebSocket("/socket"), log = []
		socket.onopen = () => log.push("open") && socket.send("hello")
		socket.onmessage = e => log.push(e.data) && socket.close()
		socket.onerror = () => log.push("error")
		socket.onclose = e => resolve([...log, "close", e.code])
	}), 0)`)
	for range 3 {
		if got := l.resolve("dial()"); got != "error,close,1006" {
			t.Errorf("while the app is down: %s", got)
		}
	}
	l.app.start(t)
	await(t, "the socket opens", func() bool { return strings.HasPrefix(l.resolve("dial()"), "open,hello,") })
}

// TestSubresources checks that what a document embeds gets the status and no body, and that the document is told.
func TestSubresources(t *testing.T) {
	l := openLab(t, http.HandlerFunc(echo), "service shop")
	answers := l.record()
	l.eval(`(embed = (tag, url, more) => new Promise(resolve => {
		const e = Object.assign(document.createElement(tag), {onerror: () => resolve("error"), onload: () => resolve("load")}, more)
		e[tag === "link" ? "href" : "src"] = url
		document.body.append(e)
	}), 0)`)
	for url, promise := range map[string]string{
		"/picture.png": `embed("img", "/picture.png")`,
		"/script.js":   `embed("script", "/script.js")`,
		"/module.js":   `embed("script", "/module.js", {type: "module"})`,
		"/import.js":   `import("/import.js").catch(() => "error")`,
		"/style.css":   `embed("link", "/style.css", {rel: "stylesheet"})`,
		"/film.mp4":    `embed("video", "/film.mp4")`,
		"/font.woff2":  `new FontFace("f", "url(/font.woff2)").load().catch(() => "error")`,
	} {
		if got := l.resolve(promise); got != "error" {
			t.Errorf("%s: %s, want error", url, got)
		}
		await(t, url+" is answered with 503 and no body", func() bool { return answers.of(l.site+url) == "503, 0 bytes" })
	}
	// A worker's script is not fetched by the document, so its answer is not recorded.
	if got := l.resolve(`new Promise(resolve => new Worker("/worker.js").onerror = () => resolve("error"))`); got != "error" {
		t.Errorf("worker: %s, want error", got)
	}
}

// answers are the responses that a document got, as they came over the wire.
type answers struct {
	mu   sync.Mutex
	urls map[network.RequestID]string
	got  map[network.RequestID]string
}

// record notes the responses from now on.
func (l *lab) record() *answers {
	a := &answers{urls: make(map[network.RequestID]string), got: make(map[network.RequestID]string)}
	err := chromedp.Listen(l.ctx, func(event any) {
		a.mu.Lock()
		defer a.mu.Unlock()
		switch event := event.(type) {
		case *network.EventRequestWillBeSent:
			a.urls[event.RequestID] = event.Request.URL
		case *network.EventResponseReceivedExtraInfo:
			a.got[event.RequestID] = fmt.Sprintf("%d, %v bytes", event.StatusCode, event.Headers["Content-Length"])
		}
	})
	if err != nil {
		l.t.Fatal(err)
	}
	return a
}

// of returns the status and the length of the response from a URL.
func (a *answers) of(url string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, u := range a.urls {
		if u == url && a.got[id] != "" {
			return a.got[id]
		}
	}
	return ""
}
