package intent

import (
	"context"
	"errors"
	"io/fs"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func newSyncer(m *memoryStorage, interval time.Duration) (*Syncer, *[]error) {
	var errs []error
	s := &Syncer{Replica: new(Replica), Storage: m, Interval: interval, OnSync: func(err error) { errs = append(errs, err) }}
	s.Start()
	return s, &errs
}

// TestSyncer: the storage is synced at each interval, and at once if there is something to
// write.
func TestSyncer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemoryStorage()
		s, errs := newSyncer(m, 5*time.Second)
		defer s.Stop()
		other := new(Replica)
		other.Put(Intent{Pool: "shop", Upstream: "a:1"})
		other.sync(t, m)
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if s.wants("shop") != "a:1" || len(*errs) != 2 {
			t.Errorf("wants %q after %d times", s.wants("shop"), len(*errs))
		}
		start := time.Now()
		s.Put(Intent{Pool: "shop", Upstream: "b:1"})
		if !s.Flush(t.Context()) || time.Since(start) > 0 || len(m.files) != 2 {
			t.Errorf("stored %d after %v", len(m.files), time.Since(start))
		}
	})
}

// TestSyncerSlowStorage: an order is answered after the timeout and stored when the storage
// works again; Stop waits only until the sync gives up.
func TestSyncerSlowStorage(t *testing.T) {
	for _, interval := range []time.Duration{0, 5 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			m := newMemoryStorage()
			s, _ := newSyncer(m, interval)
			synctest.Wait()
			m.set(nil, true)
			s.Put(Intent{Pool: "shop", Upstream: "a:1"})
			start := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			if s.Flush(ctx) || time.Since(start) != 2*time.Second {
				t.Errorf("settled after %v", time.Since(start))
			}
			m.set(nil, false)
			time.Sleep(time.Minute)
			synctest.Wait()
			if s.pending() || len(m.files) != 1 {
				t.Errorf("interval %v: it is not stored", interval)
			}
			m.set(nil, true)
			s.Put(Intent{Pool: "shop", Upstream: "b:1"})
			go s.Flush(t.Context())
			synctest.Wait()
			start = time.Now()
			s.Stop()
			s.Stop()
			if time.Since(start) != 0 {
				t.Errorf("Stop took %v", time.Since(start))
			}
		})
	}
	new(Syncer).Stop() // without Start
}

// slowStorage is a storage that takes time to store.
type slowStorage struct{ *memoryStorage }

func (s slowStorage) Store(ctx context.Context, key string, value []byte) error {
	time.Sleep(time.Second)
	return s.memoryStorage.Store(ctx, key, value)
}

// TestFlushDuringOtherSyncs: however many syncs end that began before the order, only the
// next one tells whether it is stored.
func TestFlushDuringOtherSyncs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ending := make(chan struct{})
		s := &Syncer{Replica: new(Replica), Storage: slowStorage{newMemoryStorage()}, OnSync: func(error) { <-ending }}
		s.Start()
		defer s.Stop()
		synctest.Wait()
		s.syncNow(s.nextRun())
		synctest.Wait() // two have looked and not ended
		s.Put(Intent{Pool: "shop", Upstream: "a:1"})
		go func() {
			for range 2 {
				ending <- struct{}{}
				synctest.Wait() // the waiting one has seen it
			}
			close(ending)
		}()
		if !s.Flush(t.Context()) {
			t.Error("the order is stored, and Settle says that it is not")
		}
	})
}

// TestFlushWaitsForItsOwnOrder: an order is reported as stored even if another one came
// later.
func TestFlushWaitsForItsOwnOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Syncer{Replica: new(Replica), Storage: slowStorage{newMemoryStorage()}, OnSync: func(error) {}}
		s.Start()
		defer s.Stop()
		synctest.Wait()
		s.Put(Intent{Pool: "shop", Upstream: "a:1"})
		time.AfterFunc(time.Second/2, func() { s.Put(Intent{Pool: "shop", Upstream: "b:1"}) })
		if !s.Flush(t.Context()) {
			t.Error("the order is stored, and Settle says that it is not")
		}
		if !s.pending() {
			t.Error("the other one is stored already")
		}
	})
}

// stuckStorage is a storage that ignores its context.
type stuckStorage struct {
	*memoryStorage
	answer chan struct{}
}

func (d stuckStorage) List(context.Context, string, bool) ([]string, error) {
	<-d.answer
	return nil, fs.ErrNotExist
}

// TestStorageIgnoringContext: a reload does not wait for a storage that never returns, and
// nobody else uses it until it does.
func TestStorageIgnoringContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := stuckStorage{newMemoryStorage(), make(chan struct{})}
		s := &Syncer{Replica: new(Replica), Storage: d, OnSync: func(error) {}}
		s.Start()
		synctest.Wait()
		start := time.Now()
		s.Stop()
		if waited := time.Since(start); waited > abandonAfter {
			t.Errorf("Stop took %v", waited)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.Sync(ctx, d); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("asked again meanwhile: %v", err)
		}
		close(d.answer)
		synctest.Wait()
		if err := s.Sync(t.Context(), d); err != nil {
			t.Error(err)
		}
	})
}

// TestFlushAfterStop: nothing will be written, so there is nothing to wait for.
func TestFlushAfterStop(t *testing.T) {
	flushesAtOnce := func(t *testing.T, s *Syncer) {
		t.Helper()
		s.Put(Intent{Pool: "shop", Upstream: "a:1"})
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if start := time.Now(); s.Flush(ctx) || time.Since(start) != 0 {
			t.Errorf("settled after %v", time.Since(start))
		}
	}
	synctest.Test(t, func(t *testing.T) {
		s, _ := newSyncer(newMemoryStorage(), time.Second)
		synctest.Wait()
		s.Stop()
		flushesAtOnce(t, s)
		flushesAtOnce(t, &Syncer{Replica: new(Replica)}) // without Start
	})
	synctest.Test(t, func(t *testing.T) { // one that is waiting
		s, _ := newSyncer(newMemoryStorage(), time.Second)
		synctest.Wait()
		s.timer.Stop()
		s.timer = time.AfterFunc(0, func() {}) // a run that Stop prevents
		s.Put(Intent{Pool: "shop", Upstream: "a:1"})
		var wg sync.WaitGroup
		wg.Go(func() { s.Flush(t.Context()) })
		synctest.Wait()
		s.Stop()
		wg.Wait()
	})
}
