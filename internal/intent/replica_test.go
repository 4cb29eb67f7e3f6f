package intent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestReplicasShareStorage: an order in one process takes effect in all, whoever last wrote
// about another upstream.
func TestReplicasShareStorage(t *testing.T) {
	m := newMemoryStorage()
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
	m := newMemoryStorage()
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
	m := newMemoryStorage()
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
		t.Errorf("wants %q, corrupt: %v", b.wants("shop"), b.Corrupt())
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
		m := newMemoryStorage()
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
		m := newMemoryStorage()
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
	m := newMemoryStorage()
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
	m := newMemoryStorage()
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
	m := newMemoryStorage()
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
	m := newMemoryStorage()
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
	m := newMemoryStorage()
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
