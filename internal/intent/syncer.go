package intent

import (
	"context"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
)

// Syncer keeps a Replica and a storage in sync while a config runs. It has a goroutine only
// while it uses the storage.
type Syncer struct {
	*Replica
	// Storage is synced every Interval, and when there is something to write; with an
	// Interval of 0, only then.
	Storage  certmagic.Storage
	Interval time.Duration
	// OnSync gets the result of each sync.
	OnSync func(error)

	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup

	// mu guards the fields below. synced is closed and replaced after each sync. Syncs may
	// overlap: started numbers them, finished is the latest that has ended.
	mu                sync.Mutex
	timer             *time.Timer
	stopped           bool
	synced            chan struct{}
	started, finished int
}

// Start starts syncing.
func (s *Syncer) Start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.synced = make(chan struct{})
	s.timer = time.AfterFunc(0, s.run)
}

// Stop ends syncing and waits for it. It does nothing if called again or without Start.
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

// run runs one sync and schedules the next.
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
	// syncTimeout bounds one sync.
	syncTimeout = 10 * time.Second
	// retryInterval is when writing to the storage is retried, without an Interval.
	retryInterval = 5 * time.Second
)

// syncNow triggers a sync. It returns a channel that is closed when the next sync ends, or
// nil if the requested sync has already ended or the syncer is not running.
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

// Flush writes pending entries now and waits until that is done, ctx is done, or Stop is
// called, after which nothing is written. It reports whether everything ordered before the
// call is in the storage.
func (s *Syncer) Flush(ctx context.Context) bool {
	edits := s.lastEdit()
	run := s.nextRun() // running ones may have looked before
	for s.pendingUpTo(edits) {
		synced := s.syncNow(run)
		if synced == nil {
			break
		}
		select {
		case <-synced:
		case <-s.ctx.Done(): // Stop may have canceled the scheduled sync
		case <-ctx.Done():
			return false
		}
	}
	return !s.pendingUpTo(edits)
}
