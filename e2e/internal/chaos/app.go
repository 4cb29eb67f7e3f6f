package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// appAddress is the environment variable that makes a binary that calls [BeApp] an app that listens there.
	appAddress = "HEALTHPOOL_CHAOS_APP"
	// appName is the one with what it answers.
	appName = "HEALTHPOOL_CHAOS_NAME"
	// appLedger is the one that, if it is not empty, makes it note what it processes, in the file that it inherits.
	appLedger  = "HEALTHPOOL_CHAOS_LEDGER"
	ledgerFile = 3 // the first after standard input, output and error
)

const appReady = "listening"

// How long a request to an app takes, and how much longer once the app is slow.
const (
	appTime  = 5 * time.Millisecond
	slowTime = 2 * time.Second
)

// BeApp makes this process an app if it was started as one, and then does not return. It belongs at the beginning of
// main, or of TestMain, in a program that starts a [Backend].
func BeApp() {
	address := os.Getenv(appAddress)
	if address == "" {
		return
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(1) // whoever started it is gone
	}()
	handler := newApp(os.Getenv(appName))
	if os.Getenv(appLedger) != "" {
		handler = noting(os.NewFile(ledgerFile, "ledger"), handler)
	}
	if err := serve(address, handler); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// serve is the app. After SIGTERM it finishes what it has.
func serve(address string, handler http.Handler) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	fmt.Println(appReady)
	select {
	case err = <-ended:
	case <-ctx.Done():
		err = server.Shutdown(context.WithoutCancel(ctx))
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// newApp is an app that answers its name. A slow one is slow in everything, including its health check; a broken one
// answers 500 to everything but its health check.
func newApp(name string) http.Handler {
	var slow, broken atomic.Bool
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /-/{fault}", func(_ http.ResponseWriter, r *http.Request) {
		slow.Store(r.PathValue("fault") == "slow")
		broken.Store(r.PathValue("fault") == "broken")
	})
	work := func() {
		time.Sleep(appTime)
		if slow.Load() {
			time.Sleep(slowTime)
		}
	}
	mux.HandleFunc("/healthz", func(http.ResponseWriter, *http.Request) { work() })
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		work()
		if broken.Load() {
			w.WriteHeader(http.StatusInternalServerError)
		}
		_, _ = fmt.Fprint(w, name)
	})
	return mux
}

// noting notes the path of each POST, in one write, before the app processes it.
func noting(ledger io.Writer, app http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			if _, err := fmt.Fprintln(ledger, r.URL.Path); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
		}
		app.ServeHTTP(w, r)
	})
}
