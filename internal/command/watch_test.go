package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/healthpool/caddy-healthpool/internal/badserver"
	"github.com/healthpool/caddy-healthpool/internal/pool"
)

// watched is a watcher that shows what a test sets, in a bubble of synctest.
type watched struct {
	*watcher
	mu   sync.Mutex
	text strings.Builder
	// all and err are the results of fetch.
	all []pool.Status
	err error
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(p)
}

// watch runs a watcher on a terminal. Steps are called one second after the other, with
// what was written since the step before.
func watch(t *testing.T, on terminal, all []pool.Status, steps ...func(w *watched, text string)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &watched{all: all}
		w.watcher = &watcher{
			address: "localhost:2019", out: w, interval: time.Second,
			terminal: func() terminal { return on },
			fetch: func(context.Context) ([]pool.Status, error) {
				w.mu.Lock()
				defer w.mu.Unlock()
				return w.all, w.err
			},
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- w.run(ctx) }()
		for _, step := range steps {
			synctest.Wait()
			w.mu.Lock()
			text := w.text.String()
			w.text.Reset()
			step(w, text)
			w.mu.Unlock()
			time.Sleep(time.Second)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// wantText checks that a text contains all of these.
func wantText(t *testing.T, text string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %q", want, text)
		}
	}
}

// TestWatchChanges: into a file goes each change, with the time.
func TestWatchChanges(t *testing.T) {
	other := pool.Status{Name: "api", State: pool.Up}
	watch(
		t, wideFine, []pool.Status{shop(), other},
		func(w *watched, text string) {
			wantText(t, text, "2000-01-01T00:00:00Z shop: degraded for 0s", "\n2000-01-01T00:00:00Z api: up", "refused")
			w.all = []pool.Status{shop(), other}
			w.all[0].Held, w.all[0].Upstreams[0].InFlight = 99, 99
		},
		func(w *watched, text string) {
			wantText(t, "<"+text+">", "<>")
			w.all[1].State = pool.Down
		},
		func(w *watched, text string) {
			wantText(t, "<"+text+">", "<2000-01-01T00:00:02Z api: down, 0 of 0 healthy, 0 held, 0 waiting\n>")
			w.err = errors.New("cannot reach it")
		},
		func(_ *watched, text string) {
			wantText(t, "<"+text+">", "<2000-01-01T00:00:03Z Cannot show this, still trying: cannot reach it\n>")
		},
		func(w *watched, text string) {
			wantText(t, "<"+text+">", "<>")
			w.err = nil
		},
		func(w *watched, text string) {
			wantText(t, text, "2000-01-01T00:00:05Z It works again.\n2000-01-01T00:00:05Z shop: degraded", "api: down")
			w.all = w.all[1:]
		},
		func(w *watched, text string) {
			wantText(t, "<"+text+">", "<2000-01-01T00:00:06Z shop: gone\n>")
			w.all = nil
		},
		func(_ *watched, text string) {
			wantText(t, "<"+text+">", "<2000-01-01T00:00:07Z api: gone\n2000-01-01T00:00:07Z "+noPools+"\n>")
		},
		func(_ *watched, text string) { wantText(t, "<"+text+">", "<>") },
	)
	watch(t, wideFine, nil, func(_ *watched, text string) { wantText(t, text, noPools) })
}

// TestWatchInPlace: a terminal shows the current status, as much of it as fits, and is left
// as it was.
func TestWatchInPlace(t *testing.T) {
	on := terminal{ansi: true, unicode: true, width: 80, rows: 10}
	checkFrame := func(text string) {
		t.Helper()
		if !strings.HasPrefix(text, "\x1b[?25l\x1b[?7l\x1b[H") || !strings.HasSuffix(text, "\r\n\x1b[J\x1b[?7h\x1b[?25h") {
			t.Errorf("frame %q", text)
		}
		if n := strings.Count(text, "\n"); n > on.rows-1 {
			t.Errorf("%d lines in %d rows: %q", n, on.rows, text)
		}
		if strings.Contains(text, "\x1b[2J") {
			t.Errorf("flickers: %q", text)
		}
	}
	watch(
		t, on, []pool.Status{thousand()},
		func(w *watched, text string) {
			checkFrame(text)
			wantText(t, text, "localhost:2019 at 00:00:00", "10.0.3.249:80", "dns_error. Is the name right?", "  … and 1 ejected, 997 healthy")
			w.err = errors.New("cannot reach it at all, which is a long story that takes more than one line to tell you")
		},
		func(_ *watched, text string) {
			checkFrame(text)
			wantText(t, text, "Cannot show this since 00:00:01, still trying", "cannot reach it")
			if strings.Contains(text, "many") {
				t.Errorf("shows what may not be so: %q", text)
			}
		},
		func(w *watched, text string) {
			wantText(t, text, "Cannot show this since 00:00:01")
			w.err, w.all = nil, nil
		},
		func(w *watched, text string) {
			checkFrame(text)
			wantText(t, text, noPools)
			w.all = []pool.Status{shop(), closedShop(), shop()}
		},
		func(w *watched, text string) {
			checkFrame(text)
			wantText(t, text, "maintenance", "\r\n\x1b[K\r\nshop")
			w.all = make([]pool.Status, 20)
			for i := range w.all {
				w.all[i] = pool.Status{Name: fmt.Sprint("p", i), State: pool.Up}
			}
			w.all[19].State = pool.Down
		},
		func(_ *watched, text string) {
			checkFrame(text)
			wantText(t, text, "p19: down", "p0: up", "… and ", " more pools")
		},
	)
}

// TestWatchCommand: the watcher ends without an error when it is told to, goes on while
// Caddy restarts or reloads without the pool, and ends when nobody reads its output.
func TestWatchCommand(t *testing.T) {
	pools := []pool.Status{shop()}
	f := &fakeAdmin{status: http.StatusOK}
	f.pools.Store(&pools)
	f.listen(t, badserver.Nobody(t)) // nothing else takes this port while it is closed
	c := &client{address: f.address(), timeout: commandTimeout, turn: make(chan struct{}, 1)}
	read, written := io.Pipe()
	w := watcherOf(c, "shop", written)
	w.interval = 5 * time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- w.run(ctx) }()
	await := func(want string) {
		t.Helper()
		var got strings.Builder
		buffer := make([]byte, 1<<16)
		for !strings.Contains(got.String(), want) {
			n, err := read.Read(buffer)
			if err != nil {
				t.Fatalf("%v, got %s", err, got.String())
			}
			got.Write(buffer[:n])
		}
	}
	await("shop: degraded")
	f.CloseClientConnections()
	f.Close()
	await("Cannot show this, still trying: cannot reach")
	f.listen(t, c.address)
	await("It works again.")
	f.pools.Store(new([]pool.Status))
	await(`Cannot show this, still trying: no pool is named "shop"`)
	cancel()
	go func() { _, _ = io.Copy(io.Discard, read) }() // it may be writing
	if err := <-done; err != nil {
		t.Error(err)
	}
	_ = read.Close()
	f.pools.Store(&pools)
	wantError(t, w.run(t.Context()), "writing the status: io: read/write on closed pipe")
}

// TestInterrupt: Ctrl-C ends --watch with exit status 0.
func TestInterrupt(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a process cannot send itself an interrupt")
	}
	f := newFakeAdmin(t, shop())
	f.onGet = func(n int64) {
		if n != 2 { // by the second one, the command surely listens for signals
			return
		}
		self, err := os.FindProcess(os.Getpid())
		if err == nil {
			err = self.Signal(os.Interrupt)
		}
		if err != nil {
			t.Error(err)
		}
	}
	out, err := execute(t.Context(), statusCommand(), "--watch", "--address", f.address())
	if err != nil || strings.Count(out, "shop: degraded") != 1 {
		t.Errorf("%s %v", out, err)
	}
}

// TestWatchManyPools: on a small terminal, the line that counts hidden upstreams is there
// only if there are any.
func TestWatchManyPools(t *testing.T) {
	on := terminal{ansi: true, unicode: true, width: 80, rows: 24}
	one := shop()
	one.Upstreams = one.Upstreams[2:]
	four := []pool.Status{one, one, one, one}
	for most := 1; most < 30; most++ {
		lines := fitted(four, on, noon, most)
		if len(lines) > most {
			t.Errorf("%d lines, want at most %d", len(lines), most)
		}
		for _, line := range lines {
			if strings.HasSuffix(strings.TrimSpace(line), "and") {
				t.Errorf("in %d lines: %q", most, line)
			}
		}
	}
}
