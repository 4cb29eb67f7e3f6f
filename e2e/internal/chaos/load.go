package chaos

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Late is how long an answer may take before it counts as late: beyond it, visitors notice that they wait (Nielsen,
// Usability Engineering, 1993: 1 second is the limit for the flow of thought).
const Late = time.Second

// clientTimeout is how long a client waits for an answer.
const clientTimeout = 30 * time.Second

// Answer is what became of one request.
type Answer struct {
	Due    time.Duration // when it was to be sent, from the beginning of the load
	Lag    time.Duration // how much later it was sent, because the machine is too slow
	Took   time.Duration // from when it was due, so that a late generator does not hide a late answer
	Served string        // by which backend; empty if it failed
	Error  string        // why it failed; empty if it did not
	Doomed bool          // whether it could not be answered before it was late, because no backend was back by then
}

// Result is what became of a load.
type Result struct {
	Answers []Answer
	Over    time.Duration // when the last event of the scenario was over, from the beginning of the load; not kept by Add
}

// Load sends GET requests at a steady rate, whether or not earlier ones are answered (open loop), and returns when all
// have an answer.
func Load(ctx context.Context, url string, rate int, duration time.Duration) *Result {
	transport := &http.Transport{MaxIdleConnsPerHost: 4 * rate, MaxIdleConns: 4 * rate}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: clientTimeout}
	answers := make([]Answer, int(duration.Seconds()*float64(rate)))
	var sent sync.WaitGroup
	began := time.Now()
	for i := range answers {
		due := time.Duration(i) * time.Second / time.Duration(rate)
		time.Sleep(time.Until(began.Add(due)))
		sent.Go(func() {
			lag := time.Since(began) - due
			served, failure := get(ctx, client, url)
			answers[i] = Answer{Due: due, Lag: lag, Took: time.Since(began) - due, Served: served, Error: failure}
		})
	}
	sent.Wait()
	return &Result{Answers: answers}
}

// get returns which backend answered, or what went wrong.
func get(ctx context.Context, client *http.Client, url string) (served, failure string) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", err.Error()
	}
	response, err := client.Do(request)
	if err != nil {
		return "", err.Error()
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	switch {
	case err != nil:
		return "", err.Error()
	case response.StatusCode != http.StatusOK:
		return "", fmt.Sprint(response.StatusCode)
	}
	return string(body), ""
}

// Add adds another load's answers.
func (r *Result) Add(other *Result) { r.Answers = append(r.Answers, other.Answers...) }

// Count counts the answers that match.
func (r *Result) Count(match func(Answer) bool) int {
	n := 0
	for _, a := range r.Answers {
		if match(a) {
			n++
		}
	}
	return n
}

// Errors counts the requests that failed.
func (r *Result) Errors() int { return r.Count(func(a Answer) bool { return a.Error != "" }) }

// Late counts the requests that did not fail, but took longer than Late.
func (r *Result) Late() int {
	return r.Count(func(a Answer) bool { return a.Error == "" && a.Took > Late })
}

// Doomed counts the requests that had to be late.
func (r *Result) Doomed() int { return r.Count(func(a Answer) bool { return a.Doomed }) }

// Quantile is the q-quantile of how long requests took that did not fail.
func (r *Result) Quantile(q float64) time.Duration {
	took := make([]time.Duration, 0, len(r.Answers))
	for _, a := range r.Answers {
		if a.Error == "" {
			took = append(took, a.Took)
		}
	}
	if len(took) == 0 {
		return 0
	}
	slices.Sort(took)
	return took[min(int(q*float64(len(took))), len(took)-1)]
}

// Served counts the answers of each backend.
func (r *Result) Served() map[string]int { return r.tally(func(a Answer) string { return a.Served }) }

// Failures counts the reasons of failures.
func (r *Result) Failures() map[string]int { return r.tally(func(a Answer) string { return a.Error }) }

func (r *Result) tally(key func(Answer) string) map[string]int {
	counts := make(map[string]int)
	for _, a := range r.Answers {
		if k := key(a); k != "" {
			counts[k]++
		}
	}
	return counts
}
