package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// traffic is a load that arrives at a steady rate, whether or not what came before is answered, until it is stopped.
type traffic struct {
	t       *testing.T
	client  *http.Client
	end     context.CancelFunc
	sending sync.WaitGroup

	mu      sync.Mutex
	answers map[string]int // by their bodies
	errors  []error
	slowest time.Duration
}

// inquiry is a kind of request of a client: it returns the body of an answer that is good.
type inquiry func(*http.Client) (body string, err error)

// newTraffic begins to send requests of these kinds, in turn.
func newTraffic(t *testing.T, perSecond int, asks ...inquiry) *traffic {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: perSecond}
	ctx, cancel := context.WithCancel(t.Context())
	tr := &traffic{
		t: t, client: &http.Client{Transport: transport, Timeout: patience},
		end: cancel, answers: make(map[string]int),
	}
	t.Cleanup(func() {
		cancel()
		tr.sending.Wait()
		transport.CloseIdleConnections()
	})
	tick := time.NewTicker(time.Second / time.Duration(perSecond))
	tr.sending.Go(func() {
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-tick.C:
				tr.sending.Go(func() { tr.send(asks[i%len(asks)]) })
			case <-ctx.Done():
				return
			}
		}
	})
	return tr
}

func (tr *traffic) send(ask inquiry) {
	began := time.Now()
	body, err := ask(tr.client)
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.slowest = max(tr.slowest, time.Since(began))
	if err != nil {
		tr.errors = append(tr.errors, fmt.Errorf("after %v: %w", time.Since(began), err))
		return
	}
	tr.answers[body]++
}

// served is how many answers there were with this body.
func (tr *traffic) served(body string) int {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.answers[body]
}

// total is how many good answers there were.
func (tr *traffic) total() int {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	n := 0
	for _, count := range tr.answers {
		n += count
	}
	return n
}

// goesOn waits until so many more requests are answered well.
func (tr *traffic) goesOn(more int) {
	tr.t.Helper()
	want := tr.total() + more
	await(tr.t, "requests are answered", func() bool { return tr.total() >= want })
}

// wantOnly ends the load, and fails the test for each request that failed of something else.
func (tr *traffic) wantOnly(t *testing.T, what string) {
	t.Helper()
	tr.end()
	tr.sending.Wait()
	for _, err := range tr.errors {
		if !strings.Contains(err.Error(), what) {
			t.Errorf("a request failed %v", err)
		}
	}
}

// stop ends the load, waits for its last answer and fails the test for each request that failed.
func (tr *traffic) stop() {
	tr.t.Helper()
	tr.end()
	tr.sending.Wait()
	for i, err := range tr.errors {
		if i == 5 {
			break
		}
		tr.t.Errorf("a request failed %v", err)
	}
	tr.t.Logf("%d requests were answered, the slowest after %v; %d failed", tr.total(), tr.slowest, len(tr.errors))
}

// getting asks for a page.
func getting(url string) inquiry {
	return func(c *http.Client) (string, error) { return sendTo(c, http.MethodGet, url, "") }
}

// posting sends a form, which is not to be sent twice.
func posting(url string) inquiry {
	return func(c *http.Client) (string, error) { return sendTo(c, http.MethodPost, url, "an order") }
}

// withNewConnection asks again if there was no answer at all: a server that gives way to another one closes connections
// that are idle, or that it has not taken yet, and a client that uses one in that moment has to make another.
func withNewConnection(ask inquiry) inquiry {
	return func(c *http.Client) (string, error) {
		const often = 3
		body, err := ask(c)
		for range often {
			if none := new(url.Error); !errors.As(err, &none) || none.Timeout() {
				break
			}
			body, err = ask(c)
		}
		return body, err
	}
}

// sendTo returns the body of an answer; unless its status is 200, that is an error.
func sendTo(c *http.Client, method, url, body string) (string, error) {
	req, err := http.NewRequestWithContext(context.Background(), method, url, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	res, err := c.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return "", fmt.Errorf("%s: reading the body: %w", method, err)
	}
	if res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %d %.200s", method, res.StatusCode, answer)
	}
	return string(answer), nil
}
