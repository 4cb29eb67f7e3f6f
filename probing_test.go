//go:build linux

package healthpool_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"

	healthpool "github.com/healthpool/caddy-healthpool"
)

const (
	probed = 10_000 // upstreams

	// probedVariable is set in the process that runs the upstreams.
	probedVariable = "HEALTHPOOL_PROBED"
)

// BenchmarkProbing measures what it costs to check 10,000 upstreams every 10 seconds: the
// fraction of one core, the growth of the process, and the heap in use. The upstreams run
// in their own process and do not count. With -short it only checks that it runs.
func BenchmarkProbing(b *testing.B) {
	for name, check := range map[string]string{"tcp": "", "http": `,"health_uri":"/healthz"`} {
		b.Run(name, func(b *testing.B) { benchmarkProbing(b, check) })
	}
}

func benchmarkProbing(b *testing.B, check string) {
	every := 10 * time.Second
	if testing.Short() {
		every = time.Second
	}
	during := 3 * every
	port := startProbed(b)
	debug.FreeOSMemory()
	before, start := residentMemory(b), time.Now()
	options := fmt.Sprintf(`,"health_interval":"%v"%s`, every, check)
	_, pools := runPool(b, newContext(b), options, probed, func(i int) string { return loopback(i) + ":" + port })
	awaitHealthy(b, pools, probed)
	b.Logf("all are up after %v", time.Since(start).Round(time.Millisecond))
	time.Sleep(every) // let the cost of starting pass
	checks, used := passes(pools), processTime(b)
	time.Sleep(during)
	checks, used = passes(pools)-checks, processTime(b)-used
	resident := residentMemory(b) - before
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	for b.Loop() { // called once: the long run is the measurement
		runtime.KeepAlive(pools)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(checks)/during.Seconds(), "checks/s")
	b.ReportMetric(100*used.Seconds()/during.Seconds(), "%core")
	b.ReportMetric(resident/(1<<20), "MiB")
	b.ReportMetric(float64(m.HeapInuse)/(1<<20), "MiB-heap")
}

// startProbed starts the process in which TestProbed runs all upstreams, and returns their
// port.
func startProbed(b *testing.B) (port string) {
	b.Helper()
	upstreams := exec.CommandContext(b.Context(), os.Args[0], "-test.run=^TestProbed$")
	upstreams.Env = append(os.Environ(), probedVariable+"=1")
	upstreams.Stderr = os.Stderr
	out, err := upstreams.StdoutPipe()
	if err == nil {
		err = upstreams.Start()
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = upstreams.Process.Kill()
		_ = upstreams.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return strings.TrimSpace(line)
}

// TestProbed is not a test but the upstreams of BenchmarkProbing.
func TestProbed(t *testing.T) {
	if os.Getenv(probedVariable) == "" {
		t.Skip("it serves a benchmark")
	}
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	server := http.Server{
		ReadHeaderTimeout: time.Hour,
		Handler:           http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}),
	}
	t.Fatal(server.Serve(listener))
}

// passes returns the number of passed checks; no check may have failed.
func passes(app *healthpool.App) (n int) {
	for _, u := range app.Pools()[0].Upstreams {
		n += u.Passes
	}
	return n
}

// processTime returns the CPU time used by this process.
func processTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// residentMemory returns the resident memory of this process, in bytes.
func residentMemory(b *testing.B) float64 {
	b.Helper()
	var size, resident float64
	text, err := os.ReadFile("/proc/self/statm")
	if err == nil {
		_, err = fmt.Sscan(string(text), &size, &resident)
	}
	if err != nil {
		b.Fatal(err)
	}
	return resident * float64(os.Getpagesize())
}
