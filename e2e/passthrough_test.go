package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/websocket"
)

// dialog is what a client says and does on a connection of its own.
type dialog struct {
	name    string
	request string   // its lines; the host is added
	parts   []string // each is waited for before the next step
	steps   []string // what the client sends once the part before is there; "" lets the app go on
}

// Frames of a websocket: a client masks its own.
const (
	hello  = "\x81\x85\x00\x00\x00\x00hello"
	echoed = "\x81\x05hello"
	bye    = "\x88\x80\x00\x00\x00\x00"
)

var dialogs = []dialog{
	{name: "200", request: "GET /status/200"},
	{name: "204", request: "GET /status/204"},
	{name: "404", request: "GET /status/404"},
	{name: "500", request: "GET /status/500"},
	{name: "502", request: "GET /status/502"},
	{name: "503", request: "GET /status/503"},
	{name: "503 for a browser", request: "GET /status/503\nAccept: text/html\nSec-Fetch-Dest: document"},
	{name: "504 for JSON", request: "GET /status/504\nAccept: application/json"},
	{name: "HEAD of a 500", request: "HEAD /status/500"},
	{name: "POST and a 503", request: "POST /status/503\nContent-Length: 3\n\nabc"},
	{name: "range", request: "GET /file\nRange: bytes=1-3"},
	{name: "range that cannot be had", request: "GET /file\nRange: bytes=999999999-"},
	{name: "not modified", request: "GET /file\nIf-None-Match: \"v1\""},
	{name: "large", request: "GET /file"},
	{name: "early hints", request: "GET /hints"},
	{
		name: "event stream", request: "GET /events\nAccept: text/event-stream",
		parts: []string{"data: 0\n", "data: 1\n", "data: 2\n"}, steps: []string{"", "", ""},
	},
	{
		name: "chunks and trailers", request: "GET /trailers\nTE: trailers",
		parts: []string{"chunk 0\n", "chunk 1\n"}, steps: []string{"", ""},
	},
	{
		name: "app that dies while it answers", request: "GET /abort\nAccept: text/html",
		parts: []string{"half"}, steps: []string{""},
	},
	{
		name:    "websocket",
		request: "GET /socket\nUpgrade: websocket\nConnection: Upgrade\nSec-WebSocket-Version: 13\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
		parts:   []string{"\r\n\r\n", echoed, echoed + echoed}, steps: []string{hello, hello, bye},
	},
}

// TestAppsOwnAnswers compares, byte for byte, what a client of the app gets with and without the plugin.
func TestAppsOwnAnswers(t *testing.T) {
	proceed := make(chan struct{})
	a := newApp(t, ownAnswers(proceed))
	a.start(t)
	with, without := freeAddress(t), freeAddress(t)
	runCaddy(t, fmt.Sprintf("http://%s {\n\thealthpool %s\n}\nhttp://%s {\n\treverse_proxy %[2]s\n}\n",
		with, a.address, without))

	for _, d := range dialogs {
		t.Run(d.name, func(t *testing.T) {
			want := d.hold(t, without, proceed)
			got := d.hold(t, with, proceed)
			if !bytes.Equal(got, want) {
				t.Errorf("with the plugin:\n%.2000q\nwithout:\n%.2000q", got, want)
			}
			if len(want) == 0 {
				t.Error("nothing was compared")
			}
		})
	}
}

var dateLine = regexp.MustCompile(`(?m)^Date: .*\r\n`)

// hold goes through the dialog and returns all that the server sent until it closed the connection, less the date.
func (d dialog) hold(t *testing.T, address string, proceed chan<- struct{}) []byte {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	send(t, conn, d.wire())

	var all []byte
	for i, part := range d.parts {
		all = readUntil(t, conn, all, part)
		if d.steps[i] != "" {
			send(t, conn, d.steps[i])
			continue
		}
		select {
		case proceed <- struct{}{}:
		case <-time.After(patience):
			t.Fatalf("the app does not wait after %q", part)
		}
	}
	rest, err := io.ReadAll(conn)
	if err != nil {
		t.Fatalf("after %q: %v", all, err)
	}
	return dateLine.ReplaceAll(append(all, rest...), nil)
}

// wire returns the request as bytes on the wire.
func (d dialog) wire() string {
	head, body, _ := strings.Cut(d.request, "\n\n")
	line, headers, _ := strings.Cut(head, "\n")
	lines := []string{line + " HTTP/1.1", "Host: 127.0.0.1", "User-Agent: e2e"}
	if headers != "" {
		lines = append(lines, strings.Split(headers, "\n")...)
	}
	if !strings.Contains(headers, "Connection:") {
		lines = append(lines, "Connection: close")
	}
	return strings.Join(lines, "\r\n") + "\r\n\r\n" + body
}

func send(t *testing.T, conn net.Conn, data string) {
	t.Helper()
	if _, err := io.WriteString(conn, data); err != nil {
		t.Fatal(err)
	}
}

// readUntil reads on until all ends with a part, or with the end of a chunk around it.
func readUntil(t *testing.T, conn net.Conn, all []byte, part string) []byte {
	t.Helper()
	buffer := make([]byte, 4096)
	for !bytes.HasSuffix(bytes.TrimSuffix(all, []byte("\r\n")), []byte(strings.TrimSuffix(part, "\r\n"))) {
		n, err := conn.Read(buffer)
		all = append(all, buffer[:n]...)
		if err != nil {
			t.Fatalf("waiting for %q after %q: %v", part, all, err)
		}
	}
	return all
}

// ownAnswers is an app with answers of every kind. Where it streams, it waits after each part until it may proceed.
func ownAnswers(proceed <-chan struct{}) http.HandlerFunc {
	mux := http.NewServeMux()
	mux.HandleFunc("/status/{code}", ownStatus)
	mux.HandleFunc("/file", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"v1"`)
		http.ServeContent(w, r, "file.txt", time.Time{}, strings.NewReader(strings.Repeat("0123456789", 1<<17)))
	})
	mux.HandleFunc("/hints", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload; as=style")
		w.WriteHeader(http.StatusEarlyHints)
		fmt.Fprint(w, "hinted")
	})
	mux.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		stream(w, r, proceed, "id: 0\ndata: 0\n", "\nid: 1\ndata: 1\n", "\nid: 2\ndata: 2\n")
	})
	mux.HandleFunc("/trailers", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		stream(w, r, proceed, "chunk 0\n", "chunk 1\n")
		w.Header().Set("X-Sum", "two")
		w.Header().Set(http.TrailerPrefix+"X-Late", "unannounced")
	})
	mux.HandleFunc("/abort", func(w http.ResponseWriter, r *http.Request) {
		stream(w, r, proceed, "half")
		panic(http.ErrAbortHandler)
	})
	mux.Handle("/socket", websocket.Server{Handler: func(ws *websocket.Conn) { _, _ = io.Copy(ws, ws) }})
	return mux.ServeHTTP
}

// ownStatus answers with a status that the app chose, and a body and headers of its own.
func ownStatus(w http.ResponseWriter, r *http.Request) {
	var code int
	if _, err := fmt.Sscan(r.PathValue("code"), &code); err != nil {
		panic(err)
	}
	w.Header().Set("Cache-Control", "max-age=5")
	w.Header().Set("Retry-After", "77")
	w.Header().Set("X-Robots-Tag", "all")
	w.WriteHeader(code)
	if code != http.StatusNoContent {
		fmt.Fprintf(w, "<h1>the app's own %d</h1>\n", code)
	}
}

// stream writes parts, each flushed and followed by a wait.
func stream(w http.ResponseWriter, r *http.Request, proceed <-chan struct{}, parts ...string) {
	for _, part := range parts {
		_, err := io.WriteString(w, part)
		if err := errors.Join(err, http.NewResponseController(w).Flush()); err != nil {
			panic(err)
		}
		select {
		case <-proceed:
		case <-r.Context().Done():
			return
		}
	}
}
