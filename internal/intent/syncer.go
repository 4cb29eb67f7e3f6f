package intent

import (
	"context"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
)

// Syncer keeps a Book and a storage in step while a config runs. It has no goroutine
// but while the storage is asked.
type Syncer struct {
	*Replica
	// Storage is asked every Interval, and when there is something to tell it;
	// with an Interval of 0, only then.
	Storage  certmagic.Storage
	Interval time.Duration
	// OnSync is told what came of it each time.
	OnSync func(error)

	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup

	// mu guards what follows; synced is closed and replaced after each time. Times may
	// overlap: begun numbers them, ended is the latest that is over.
	mu                sync.Mutex
	timer             *time.Timer
	stopped           bool
	synced            chan struct{}
	started, finished int
}

// Start begins to keep them in step.
func (s *Syncer) Start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.synced = make(chan struct{})
	s.timer = time.AfterFunc(0, s.run)
}

// Stop ends Start, and waits for it. A second call does nothing, nor one without Start.
func (s *Syncer) Stop() {
	s.mu.Lock()
	s.stopped = true
	if s.timer != nil {
		s.timer.Stop()
		s.cancel()
	}
	s.mu.Unlock()
	s.running.Wait()
}

// turn asks the storage, and plans the next time.
func (s *Syncer) run() {
	s.mu.Lock()
	if s.stopped {
		s.mu.Unlock()
		return
	}
	s.running.Add(1)
	s.started++
	run := s.started
	s.mu.Unlock()
	defer s.running.Done()

	ctx, cancel := context.WithTimeout(s.ctx, syncTimeout)
	defer cancel()
	if err := s.Sync(ctx, s.Storage); s.ctx.Err() == nil {
		s.OnSync(err)
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	s.finished = max(s.finished, run)
	close(s.synced)
	s.synced = make(chan struct{})
	switch {
	case s.stopped:
	case s.Interval > 0:
		s.timer.Reset(s.Interval)
	case s.pending():
		s.timer.Reset(retryInterval)
	}
}

const (
	// patience is how long a storage is waited for.
	syncTimeout = 10 * time.Second
	// retry is when a storage that refused is asked again, if nothing else is said.
	retryInterval = 5 * time.Second
)

// now has the storage asked at once. It returns what is closed after the next time that
// is over; nil if that is the one that was asked for or a later one, or if it is not
// asked any more, or not yet.
func (s *Syncer) syncNow(run int) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer == nil || s.stopped || s.finished >= run {
		return nil
	}
	s.timer.Reset(0)
	return s.synced
}

// next is the number of the first time that begins from now on.
func (s *Syncer) nextRun() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.started + 1
}

// Settle has the storage told at once, and waits until it is, ctx is done, or Stop is
// called: after that, nobody tells it. It reports whether the storage knows of
// everything that was said until now.
func (s *Syncer) Flush(ctx context.Context) bool {
	edits := s.lastEdit()
	run := s.nextRun() // those under way may have looked before
	for s.pendingUpTo(edits) {
		synced := s.syncNow(run)
		if synced == nil {
			break
		}
		select {
		case <-synced:
		case <-s.ctx.Done(): // what was planned may have been called off
		case <-ctx.Done():
			return false
		}
	}
	return !s.pendingUpTo(edits)
}
