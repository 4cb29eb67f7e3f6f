package intent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
)

// Book has the intents as far as this process knows them. What an operator says here
// counts at once, whether the storage takes it or not; it is offered to the storage
// until that does.
type Replica struct {
	// mu guards what follows, and is never held for long.
	mu sync.Mutex
	// asking is full while the storage is asked, which may take long; made by begin.
	storageBusy chan struct{}
	entries     map[string]entry // by key
	edits       int
	loaded      bool
	// spoilt are the keys under which the storage has no intent, but may have had one.
	corrupt []string
}

// page is what is known under one key: an intent, or that there is none.
type entry struct {
	Intent
	gone bool
	// pending is whether the storage does not know of it yet; edit tells a newer
	// one from an older.
	pending bool
	edit    int
}

// Put notes an intent.
func (b *Replica) Put(i Intent) { b.edit(entry{Intent: i, pending: true}) }

// Remove takes an intent back.
func (b *Replica) Remove(pool, upstream string) {
	b.edit(entry{Intent: Intent{Pool: pool, Upstream: upstream}, gone: true, pending: true})
}

func (b *Replica) edit(p entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.entries == nil {
		b.entries = make(map[string]entry)
	}
	b.edits++
	p.edit = b.edits
	b.entries[keyOf(p.Pool, p.Upstream)] = p
}

// Of is what is wanted of a pool: the addresses to drain, and its maintenance, nil
// for none.
func (b *Replica) Of(pool string) (drained map[string]bool, m *Intent) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.entries {
		switch {
		case p.Pool != pool || p.gone:
		case p.Upstream == "":
			m = &p.Intent
		default:
			if drained == nil {
				drained = make(map[string]bool)
			}
			drained[p.Upstream] = true
		}
	}
	return drained, m
}

// pending reports whether there is anything that the storage does not know of yet.
func (b *Replica) pending() bool { return b.pendingUpTo(math.MaxInt) }

// pendingOf is pending for the first edits.
func (b *Replica) pendingUpTo(edits int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.entries {
		if p.pending && p.edit <= edits {
			return true
		}
	}
	return false
}

// latest is the number of the latest edit.
func (b *Replica) lastEdit() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.edits
}

// Loaded reports whether the storage has ever been read as a whole.
func (b *Replica) Loaded() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.loaded
}

// Spoilt returns the keys under which the storage had no intent at the latest look, but
// something else. What was known under them stands, since nobody took it back.
func (b *Replica) Corrupt() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.corrupt
}

// Sync tells the storage what it does not know of yet, and reads what others have
// told it. What fails for one key stays as it was, and keeps no other from being told
// or heeded.
//
// Not all storages heed ctx. One that goes on much longer is left alone with it: a
// reload must not wait for it. Until it comes back nobody else asks it.
func (b *Replica) Sync(ctx context.Context, storage certmagic.Storage) error {
	if err := b.lockStorage(ctx); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		defer b.unlockStorage()
		done <- b.update(ctx, storage)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	timer := time.NewTimer(abandonAfter)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		return fmt.Errorf("the storage does not answer: %w", ctx.Err())
	}
}

// grace is how long a storage may take to notice that it is not waited for any more.
const abandonAfter = time.Second

func (b *Replica) update(ctx context.Context, storage certmagic.Storage) error {
	writing := b.writePending(ctx, storage)
	b.mu.Lock()
	before := b.edits
	b.mu.Unlock()
	found, reading := read(ctx, storage)
	if found != nil {
		b.merge(found, before)
	}
	return errors.Join(writing, reading)
}

// begin waits until nobody else asks the storage. It heeds ctx, which a mutex would
// not: whoever asks may hang for longer than this one has time.
func (b *Replica) lockStorage(ctx context.Context) error {
	b.mu.Lock()
	if b.storageBusy == nil {
		b.storageBusy = make(chan struct{}, 1)
	}
	b.mu.Unlock()
	select {
	case b.storageBusy <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for the storage: %w", ctx.Err())
	}
}

func (b *Replica) unlockStorage() { <-b.storageBusy }

// take takes over what was found in the storage, but for what was said after so many
// edits, and what could not be loaded.
func (b *Replica) merge(found *contents, before int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for key, p := range b.entries {
		if p.pending || p.edit > before || slices.Contains(found.unread, key) || slices.Contains(found.corrupt, key) {
			found.entries[key] = p
		}
	}
	b.entries, b.corrupt = found.entries, found.corrupt
	b.loaded = b.loaded || len(found.unread) == 0
}

// write tells the storage what it does not know of yet.
func (b *Replica) writePending(ctx context.Context, storage certmagic.Storage) error {
	b.mu.Lock()
	pending := make(map[string]entry)
	for key, p := range b.entries {
		if p.pending {
			pending[key] = p
		}
	}
	b.mu.Unlock()
	var errs []error
	for key, p := range pending {
		if ctx.Err() != nil { // not all storages heed it
			return errors.Join(append(errs, ctx.Err())...)
		}
		if err := p.store(ctx, storage, key); err != nil {
			errs = append(errs, err)
			continue
		}
		b.markStored(key, p)
	}
	return errors.Join(errs...)
}

// stored notes that the storage knows of a page.
func (b *Replica) markStored(key string, p entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.entries[key].edit == p.edit { // else there is a newer one to tell of
		p.pending = false
		b.entries[key] = p
	}
}

func (p entry) store(ctx context.Context, storage certmagic.Storage, key string) error {
	if p.gone {
		if err := storage.Delete(ctx, key); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing %s: %w", key, err)
		}
		return nil
	}
	text, err := json.Marshal(p.Intent)
	if err == nil {
		err = storage.Store(ctx, key, text)
	}
	if err != nil {
		return fmt.Errorf("storing %s: %w", key, err)
	}
	return nil
}

// contents is what is in a storage: its pages, the keys of those that could not be
// loaded, and of those that are no intents.
type contents struct {
	entries         map[string]entry
	unread, corrupt []string
}

// read reads what is in the storage; nil if it cannot say what there is.
func read(ctx context.Context, storage certmagic.Storage) (*contents, error) {
	keys, err := list(ctx, storage)
	if err != nil {
		return nil, err
	}
	found := &contents{entries: make(map[string]entry, len(keys))}
	var errs []error
	for n, key := range keys {
		if ctx.Err() != nil { // not all storages heed it
			found.unread = append(found.unread, keys[n:]...)
			errs = append(errs, ctx.Err())
			break
		}
		if err := found.load(ctx, storage, key); err != nil {
			found.unread = append(found.unread, key)
			errs = append(errs, fmt.Errorf("loading %s: %w", key, err))
		}
	}
	return found, errors.Join(errs...)
}

// load adds what is under a key, if that is an intent.
func (c *contents) load(ctx context.Context, storage certmagic.Storage, key string) error {
	if !strings.HasSuffix(key, ".json") {
		return nil
	}
	text, err := storage.Load(ctx, key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // another Caddy has just removed it
	}
	if err != nil {
		return err
	}
	i, ok := parse(text)
	switch {
	case !ok:
		c.corrupt = append(c.corrupt, key)
	case keyOf(i.Pool, i.Upstream) == key:
		c.entries[key] = entry{Intent: i}
	}
	return nil
}

// parse reads an intent, if it is one that an operator can have ordered.
func parse(text []byte) (i Intent, ok bool) {
	ok = len(text) <= MaxSize && json.Unmarshal(text, &i) == nil && len(i.Message) <= MaxMessage
	return i, ok
}

// list returns the keys in the folder. That there is nothing is believed only where
// the folder is missing: a storage of files says so too, with some of the keys or none,
// when another Caddy removes or replaces a file while it lists them.
func list(ctx context.Context, storage certmagic.Storage) ([]string, error) {
	const tries = 3
	var keys []string
	var err error
	for range tries {
		keys, err = storage.List(ctx, folder, false)
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
		// Exists is false, too, for a storage that had no time to look.
		if len(keys) == 0 && !storage.Exists(ctx, folder) && ctx.Err() == nil {
			return nil, nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("listing %s: %w", folder, err)
	}
	return keys, nil
}
