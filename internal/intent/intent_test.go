package intent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/certmagic"
)

// memory is a storage that fails or hangs as a test needs.
type memory struct {
	certmagic.Storage

	mu    sync.Mutex
	files map[string]string
	fail  error
	hang  bool
	asked int
	// refused has the keys that cannot be read or written.
	refused map[string]bool
	// shown has, for each call of List, after how many keys one vanishes.
	shown []int
	// loading is called by each Load, if set.
	loading func()
}

var errRefused = errors.New("permission denied")

func newMemory() *memory { return &memory{files: make(map[string]string)} }

// ask fails if the storage does.
func (m *memory) ask(ctx context.Context) error {
	m.mu.Lock()
	hang, err := m.hang, m.fail
	m.asked++
	m.mu.Unlock()
	if hang {
		<-ctx.Done()
		return ctx.Err()
	}
	return err
}

func (m *memory) Store(ctx context.Context, key string, value []byte) error {
	if err := m.ask(ctx); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.refused[key] {
		return errRefused
	}
	m.files[key] = string(value)
	return nil
}

func (m *memory) Load(ctx context.Context, key string) ([]byte, error) {
	if err := m.ask(ctx); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.loading != nil {
		m.loading()
	}
	if m.refused[key] {
		return nil, errRefused
	}
	value, ok := m.files[key]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return []byte(value), nil
}

func (m *memory) Delete(ctx context.Context, key string) error {
	if err := m.ask(ctx); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.files, key)
	return nil
}

func (m *memory) List(ctx context.Context, prefix string, _ bool) ([]string, error) {
	if err := m.ask(ctx); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var keys []string
	for key := range m.files {
		if strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
	}
	if len(m.shown) > 0 {
		keys = keys[:m.shown[0]]
		m.shown = m.shown[1:]
		return keys, fs.ErrNotExist
	}
	if keys == nil {
		return nil, fs.ErrNotExist
	}
	return keys, nil
}

// Exists is only called for the folder.
func (m *memory) Exists(context.Context, string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.files) > 0
}

func (m *memory) set(fail error, hang bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail, m.hang = fail, hang
}

func (m *memory) timesAsked() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.asked
}

// sync syncs a replica with a storage, or fails the test.
func (b *Replica) sync(t *testing.T, m *memory) {
	t.Helper()
	if err := b.Sync(t.Context(), m); err != nil {
		t.Fatal(err)
	}
}

// wants describes what is wanted of a pool.
func (b *Replica) wants(pool string) string {
	drained, m := b.Of(pool)
	s := strings.Join(slices.Sorted(maps.Keys(drained)), " ")
	if m != nil {
		s += " closed: " + m.Message
	}
	return s
}

// TestReplicasShareStorage: an order in one process takes effect in all, whoever last wrote
// about another upstream.
func TestReplicasShareStorage(t *testing.T) {
	m := newMemory()
	var one, two Replica
	one.Put(Intent{Pool: "shop", Upstream: "a:1"})
	two.Put(Intent{Pool: "shop", Upstream: "b:1"})
	two.Put(Intent{Pool: "shop", Maintenance: Maintenance{Message: "Back soon."}})
	two.Put(Intent{Pool: "odd/../name\x00\n", Upstream: "unix//run/\"x\""})
	one.sync(t, m)
	two.sync(t, m)
	one.sync(t, m)
	const want = "a:1 b:1 closed: Back soon."
	if one.wants("shop") != want || two.wants("shop") != want {
		t.Errorf("one wants %q, two %q", one.wants("shop"), two.wants("shop"))
	}
	if got := one.wants("odd/../name\x00\n"); got != `unix//run/"x"` {
		t.Errorf("got %q", got)
	}
	two.Remove("shop", "a:1")
	two.Remove("shop", "")
	two.Remove("shop", "never")
	two.sync(t, m)
	one.sync(t, m)
	if one.wants("shop") != "b:1" || two.wants("shop") != "b:1" {
		t.Errorf("one wants %q, two %q", one.wants("shop"), two.wants("shop"))
	}
	var restarted Replica
	restarted.sync(t, m)
	if restarted.wants("shop") != "b:1" {
		t.Errorf("after a restart: %q", restarted.wants("shop"))
	}
}

// TestFailedWritesAreRetried: an order takes effect at once, and is stored as soon as that
// works.
func TestFailedWritesAreRetried(t *testing.T) {
	m := newMemory()
	var b Replica
	b.Put(Intent{Pool: "shop", Upstream: "a:1"})
	m.set(errors.New("disk full"), false)
	if err := b.Sync(t.Context(), m); err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("got %v", err)
	}
	if b.wants("shop") != "a:1" || !b.pending() {
		t.Errorf("wants %q, pending %v", b.wants("shop"), b.pending())
	}
	m.set(nil, false)
	b.sync(t, m)
	if b.wants("shop") != "a:1" || b.pending() || len(m.files) != 1 {
		t.Errorf("wants %q, pending %v, stored %v", b.wants("shop"), b.pending(), m.files)
	}
	m.set(errors.New("gone"), false)
	_ = b.Sync(t.Context(), m)
	if b.wants("shop") != "a:1" {
		t.Errorf("a storage that cannot be read has changed something: %q", b.wants("shop"))
	}
}

// TestCorruptEntriesAreIgnored: they change nothing, not even the intent known under the
// same key, and other entries take effect.
func TestCorruptEntriesAreIgnored(t *testing.T) {
	m := newMemory()
	var b, other Replica
	b.Put(Intent{Pool: "shop", Upstream: "a:1"})
	b.sync(t, m)
	m.files[folder+"/moved.json"] = `{"pool":"shop","upstream":"b:1"}`
	m.files[folder+"/x.lock"] = ""
	b.sync(t, m)
	if b.wants("shop") != "a:1" {
		t.Errorf("wants %q", b.wants("shop"))
	}
	other.Put(Intent{Pool: "shop", Upstream: "c:1"})
	other.sync(t, m)
	m.files[folder+"/broken.json"] = "{"
	m.files[keyOf("shop", "a:1")] = `{"pool":"sho`
	b.sync(t, m)
	if b.wants("shop") != "a:1 c:1" || len(b.Corrupt()) != 2 {
		t.Errorf("wants %q, spoilt: %v", b.wants("shop"), b.Corrupt())
	}
}

// TestStorageLimits: who can write to the storage can close a pool, but cannot flood its
// visitors, nor write elsewhere through a pool's name.
func TestStorageLimits(t *testing.T) {
	const evil = "../../../../etc/passwd"
	for name, tt := range map[string]struct {
		i      Intent
		closed bool
	}{
		"as ordered":           {Intent{Maintenance: Maintenance{Message: strings.Repeat("x", MaxMessage)}}, true},
		"long message":         {Intent{Maintenance: Maintenance{Message: strings.Repeat("x", MaxMessage+1)}}, false},
		"many are let in":      {Intent{Maintenance: Maintenance{Allow: make([]netip.Prefix, MaxSize/2)}}, false},
		"from the future":      {Intent{Since: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)}, true},
		"till the end of time": {Intent{Maintenance: Maintenance{Until: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)}}, true},
	} {
		m := newMemory()
		var other, b Replica
		tt.i.Pool = evil
		other.Put(tt.i)
		_ = other.Sync(t.Context(), m) // both report what they ignore
		_ = b.Sync(t.Context(), m)
		if _, closed := b.Of(evil); (closed != nil) != tt.closed {
			t.Errorf("%s: closed is %v", name, closed != nil)
		}
		for key := range m.files {
			if rest, ok := strings.CutPrefix(key, folder+"/"); !ok || strings.ContainsAny(rest, `/\`) || strings.Contains(rest, "..") {
				t.Errorf("%s: there is a file %s", name, key)
			}
		}
	}
}

// TestFilesVanishDuringList: that does not mean that nothing is wanted.
func TestFilesVanishDuringList(t *testing.T) {
	for _, tt := range []struct {
		shown []int
		fails bool
	}{
		{[]int{1}, false},
		{[]int{0}, false},
		{[]int{1, 0}, false},
		{slices.Repeat([]int{1}, 100), true},
		{slices.Repeat([]int{0}, 100), true},
	} {
		m := newMemory()
		var b, other Replica
		b.Put(Intent{Pool: "shop", Upstream: "a:1"})
		b.Put(Intent{Pool: "shop"})
		b.sync(t, m)
		other.Put(Intent{Pool: "shop", Upstream: "b:1"})
		other.sync(t, m)
		m.shown = tt.shown
		want := "a:1 b:1 closed: "
		if tt.fails {
			want = "a:1 closed: "
		}
		if err := b.Sync(t.Context(), m); tt.fails != errors.Is(err, fs.ErrNotExist) || b.wants("shop") != want {
			t.Errorf("%v: wants %q, want %q, %v", tt.shown, b.wants("shop"), want, err)
		}
	}
}

// TestPartialRead: an entry that cannot be loaded stays as it is known, and the others take
// effect.
func TestPartialRead(t *testing.T) {
	m := newMemory()
	var b, other, fresh Replica
	b.Put(Intent{Pool: "shop", Upstream: "known:1"})
	b.Put(Intent{Pool: "shop", Upstream: "removed:1"})
	b.sync(t, m)
	other.Put(Intent{Pool: "shop", Upstream: "new:1"})
	other.Remove("shop", "removed:1")
	other.sync(t, m)
	known := keyOf("shop", "known:1")
	m.refused = map[string]bool{known: true}
	err := b.Sync(t.Context(), m)
	if !errors.Is(err, errRefused) || !strings.Contains(err.Error(), "loading "+known) || b.wants("shop") != "known:1 new:1" {
		t.Errorf("wants %q, %v", b.wants("shop"), err)
	}
	if err := fresh.Sync(t.Context(), m); err == nil || fresh.Loaded() || fresh.wants("shop") != "new:1" {
		t.Errorf("a fresh one wants %q, %v", fresh.wants("shop"), err)
	}
	m.refused = nil
	fresh.sync(t, m)
	if !fresh.Loaded() || fresh.wants("shop") != "known:1 new:1" {
		t.Errorf("in the end, loaded %v, wants %q", fresh.Loaded(), fresh.wants("shop"))
	}
}

// TestPartialWrite: an entry that cannot be stored stays pending, and the others are stored
// and read.
func TestPartialWrite(t *testing.T) {
	m := newMemory()
	var b, other Replica
	other.Put(Intent{Pool: "shop", Upstream: "new:1"})
	other.sync(t, m)
	refused := keyOf("shop", "refused:1")
	m.refused = map[string]bool{refused: true}
	b.Put(Intent{Pool: "shop", Upstream: "refused:1"})
	const others = 10
	for i := range others {
		b.Put(Intent{Pool: "blog", Upstream: fmt.Sprint(i)})
	}
	err := b.Sync(t.Context(), m)
	if !errors.Is(err, errRefused) || !strings.Contains(err.Error(), "storing "+refused) {
		t.Errorf("got %v", err)
	}
	if b.wants("shop") != "new:1 refused:1" || !b.pending() || len(m.files) != 1+others {
		t.Errorf("wants %q, pending %v, stored %d", b.wants("shop"), b.pending(), len(m.files))
	}
	m.refused = nil
	b.sync(t, m)
	if b.pending() || len(m.files) != 2+others {
		t.Errorf("in the end, pending %v, stored %d", b.pending(), len(m.files))
	}
}

// TestTimeoutKeepsEntries: if a storage ignores the timeout, the entries that were not read
// are kept.
func TestTimeoutKeepsEntries(t *testing.T) {
	m := newMemory()
	var b Replica
	b.Put(Intent{Pool: "shop", Upstream: "a:1"})
	b.Put(Intent{Pool: "shop", Upstream: "b:1"})
	b.Put(Intent{Pool: "shop", Upstream: "c:1"})
	b.sync(t, m)
	ctx, cancel := context.WithCancel(t.Context())
	loads := 0
	m.loading = func() { loads++; cancel() }
	if err := b.Sync(ctx, m); !errors.Is(err, context.Canceled) || loads != 1 || b.wants("shop") != "a:1 b:1 c:1" {
		t.Errorf("wants %q after %d loads, %v", b.wants("shop"), loads, err)
	}
}

// TestSyncTimesOutWhileWaiting: another sync that hangs costs no more than the caller's
// timeout.
func TestSyncTimesOutWhileWaiting(t *testing.T) {
	m := newMemory()
	m.set(nil, true)
	var b Replica
	var wg sync.WaitGroup
	defer wg.Wait()
	hanging, release := context.WithCancel(t.Context())
	defer release()
	wg.Go(func() { _ = b.Sync(hanging, m) })
	for m.timesAsked() == 0 {
		time.Sleep(time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	done := make(chan error, 1)
	wg.Go(func() { done <- b.Sync(ctx, m) })
	select {
	case err := <-done:
		if !errors.Is(err, context.DeadlineExceeded) || m.timesAsked() != 1 {
			t.Errorf("asked %d times, got %v", m.timesAsked(), err)
		}
	case <-time.After(5 * time.Second):
		t.Error("it waits for the one that hangs")
	}
	m.set(nil, false)
	release()
	b.sync(t, m)
}

// TestOrdersDuringSync: they are not lost.
func TestOrdersDuringSync(t *testing.T) {
	m := newMemory()
	var b Replica
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() { b.Put(Intent{Pool: "shop", Upstream: fmt.Sprintf("u%02d", i)}) })
		wg.Go(func() { _ = b.Sync(context.Background(), m) })
	}
	wg.Wait()
	b.sync(t, m)
	if drained, _ := b.Of("shop"); len(drained) != 20 || len(m.files) != 20 {
		t.Errorf("%d are drained, %d stored", len(drained), len(m.files))
	}
}

func newSyncer(m *memory, interval time.Duration) (*Syncer, *[]error) {
	var errs []error
	s := &Syncer{Replica: new(Replica), Storage: m, Interval: interval, OnSync: func(err error) { errs = append(errs, err) }}
	s.Start()
	return s, &errs
}

// TestSyncer: the storage is synced at each interval, and at once if there is something to
// write.
func TestSyncer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
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
			m := newMemory()
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

// slow is a storage that takes time to store.
type slow struct{ *memory }

func (s slow) Store(ctx context.Context, key string, value []byte) error {
	time.Sleep(time.Second)
	return s.memory.Store(ctx, key, value)
}

// TestFlushDuringOtherSyncs: however many syncs end that began before the order, only the
// next one tells whether it is stored.
func TestFlushDuringOtherSyncs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ending := make(chan struct{})
		s := &Syncer{Replica: new(Replica), Storage: slow{newMemory()}, OnSync: func(error) { <-ending }}
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
		s := &Syncer{Replica: new(Replica), Storage: slow{newMemory()}, OnSync: func(error) {}}
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

// deaf is a storage that ignores its context.
type deaf struct {
	*memory
	answer chan struct{}
}

func (d deaf) List(context.Context, string, bool) ([]string, error) {
	<-d.answer
	return nil, fs.ErrNotExist
}

// TestStorageIgnoringContext: a reload does not wait for a storage that never returns, and
// nobody else uses it until it does.
func TestStorageIgnoringContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := deaf{newMemory(), make(chan struct{})}
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
		s, _ := newSyncer(newMemory(), time.Second)
		synctest.Wait()
		s.Stop()
		flushesAtOnce(t, s)
		flushesAtOnce(t, &Syncer{Replica: new(Replica)}) // without Start
	})
	synctest.Test(t, func(t *testing.T) { // one that is waiting
		s, _ := newSyncer(newMemory(), time.Second)
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

// TestAdmits: an address is let through in whatever form it is written.
func TestAdmits(t *testing.T) {
	m := Maintenance{Allow: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}}
	for address, want := range map[string]bool{"10.1.2.3": true, "11.0.0.1": false, "2001:db8::7": true, "::1": false} {
		if got := m.Admits(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
	if (Maintenance{}).Admits(netip.MustParseAddr("127.0.0.1")) {
		t.Error("somebody is let through by nobody's word")
	}
}
