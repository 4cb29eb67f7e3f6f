package chaos

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// Scenario is what happens to the first of some backends, or to all of them, within some seconds.
type Scenario struct {
	Name string
	What string // in words

	// From and To are when the trouble begins and ends, from the beginning of the load.
	From, To time.Duration

	length time.Duration // Duration if zero
	events []event
}

// event is something that happens to a backend.
type event struct {
	at  time.Duration
	all bool // whether to all backends, or only to the first
	do  func(context.Context, *Backend) error
}

// When trouble begins, and when it ends unless the scenario says otherwise.
const (
	from = 2 * time.Second
	to   = 6 * time.Second
)

// Duration is how long a scenario takes, including the time to settle.
const Duration = 10 * time.Second

// Scenarios are all scenarios.
var Scenarios = []Scenario{
	lasting("crash", "one of four is killed, and started after 4 s", kill, start),
	{
		Name: "restart", What: "one of four is told to end, finishes what it has, and is started after 1 s",
		From: from, To: from + time.Second,
		events: []event{{at: from, do: terminate}, {at: from + time.Second, do: start}},
	},
	lasting("hang", "one of four takes requests, and answers nothing for 4 s", hang, resume),
	lasting("slow", "one of four takes 2 s for each answer, for 4 s", fault("slow"), fault("fine")),
	lasting("broken", "one of four answers 500 for 4 s, while its health check passes", fault("broken"), fault("fine")),
	{
		Name: "flap", What: "one of four is killed and started again every 500 ms, six times",
		From: from, To: from + 6*time.Second, events: flapping(),
	},
	{
		Name: "blackout", What: "all four are killed, and started after 2 s",
		From: from, To: from + 2*time.Second,
		events: []event{{at: from, all: true, do: kill}, {at: from + 2*time.Second, all: true, do: start}},
	},
}

// Faster is the scenario with all its times divided.
func (s Scenario) Faster(by time.Duration) Scenario {
	s.From, s.To, s.length = s.From/by, s.To/by, s.duration()/by
	s.events = slices.Clone(s.events)
	for i := range s.events {
		s.events[i].at /= by
	}
	return s
}

func (s Scenario) duration() time.Duration { return cmp.Or(s.length, Duration) }

// lasting is a scenario of one trouble that begins and ends.
func lasting(name, what string, begin, end func(context.Context, *Backend) error) Scenario {
	return Scenario{
		Name: name, What: what, From: from, To: to,
		events: []event{{at: from, do: begin}, {at: to, do: end}},
	}
}

func flapping() []event {
	const times = 6
	events := make([]event, 0, 2*times)
	for i := range times {
		down := from + time.Duration(i)*time.Second
		events = append(events, event{at: down, do: kill}, event{at: down + time.Second/2, do: start})
	}
	return events
}

func start(ctx context.Context, b *Backend) error   { return b.Start(ctx) }
func hang(_ context.Context, b *Backend) error      { return b.Hang() }
func resume(_ context.Context, b *Backend) error    { return b.Resume() }
func kill(_ context.Context, b *Backend) error      { b.Stop(syscall.SIGKILL); return nil }
func terminate(_ context.Context, b *Backend) error { b.Stop(syscall.SIGTERM); return nil }

func fault(name string) func(context.Context, *Backend) error {
	return func(ctx context.Context, b *Backend) error { return b.Set(ctx, name) }
}

// Run sends load to a URL while the scenario happens to the backends, which run before and after it.
func (s Scenario) Run(ctx context.Context, url string, rate int, backends []*Backend) (*Result, error) {
	// Apps are started with ctx: they must outlive the scenario.
	life, cancel := context.WithCancel(ctx)
	defer cancel()
	var happening errgroup.Group
	began := time.Now()
	happened := make([]time.Duration, len(s.events))
	for i, e := range s.events {
		happening.Go(func() error {
			select {
			case <-time.After(time.Until(began.Add(e.at))):
			case <-life.Done():
				return life.Err()
			}
			err := e.happen(ctx, backends)
			happened[i] = time.Since(began)
			return err
		})
	}
	result := Load(ctx, url, rate, s.duration())
	cancel()
	if err := happening.Wait(); err != nil {
		return nil, fmt.Errorf("%s: %w", s.Name, err)
	}
	result.Over = slices.Max(happened)
	if s.events[0].all {
		for i := range result.Answers {
			a := &result.Answers[i]
			a.Doomed = a.Due >= s.From && a.Due < result.Over-Late
		}
	}
	return result, nil
}

func (e event) happen(ctx context.Context, backends []*Backend) error {
	if !e.all {
		backends = backends[:1]
	}
	var group errgroup.Group
	for _, b := range backends {
		group.Go(func() error { return e.do(ctx, b) })
	}
	return group.Wait()
}
