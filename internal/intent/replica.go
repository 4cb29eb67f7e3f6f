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

// Replica is this process's copy of the intents in a storage. What an operator orders here
// takes effect at once, and writing it to the storage is retried until it succeeds.
type Replica struct {
	// mu guards the fields below. It is never held during I/O.
	mu sync.Mutex
	// storageBusy is full while the storage is used, which may take long; lockStorage
	// creates it.
	storageBusy chan struct{}
	entries     map[string]entry // by key
	edits       int
	loaded      bool
	// corrupt has the keys whose content is not an intent.
	corrupt []string
}

// entry is what is known under one key: an intent, or that it was removed.
type entry struct {
	Intent
	gone bool
	// pending is whether it is not in the storage yet; edit orders the entries by age.
	pending bool
	edit    int
}

// Put adds an intent.
func (r *Replica) Put(i Intent) { r.edit(entry{Intent: i, pending: true}) }

// Remove removes an intent.
func (r *Replica) Remove(pool, upstream string) {
	r.edit(entry{Intent: Intent{Pool: pool, Upstream: upstream}, gone: true, pending: true})
}

func (r *Replica) edit(e entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.entries == nil {
		r.entries = make(map[string]entry)
	}
	r.edits++
	e.edit = r.edits
	r.entries[keyOf(e.Pool, e.Upstream)] = e
}

// Of returns what is wanted of a pool: the addresses to drain, and its maintenance, nil for
// none.
func (r *Replica) Of(pool string) (drained map[string]bool, m *Intent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.entries {
		switch {
		case e.Pool != pool || e.gone:
		case e.Upstream == "":
			m = &e.Intent
		default:
			if drained == nil {
				drained = make(map[string]bool)
			}
			drained[e.Upstream] = true
		}
	}
	return drained, m
}

// pending reports whether anything is not in the storage yet.
func (r *Replica) pending() bool { return r.pendingUpTo(math.MaxInt) }

// pendingUpTo is pending for edits up to that number.
func (r *Replica) pendingUpTo(edits int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.entries {
		if e.pending && e.edit <= edits {
			return true
		}
	}
	return false
}

// lastEdit returns the number of the latest edit.
func (r *Replica) lastEdit() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.edits
}

// Loaded reports whether the whole storage was ever read.
func (r *Replica) Loaded() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.loaded
}

// Corrupt returns the keys whose content, at the last sync, was not an intent. The intents
// known under them are kept, since nobody removed them.
func (r *Replica) Corrupt() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.corrupt
}

// Sync writes pending entries to the storage and reads those of others. If a key fails, its
// entry stays as it was, and the other keys are synced all the same.
//
// Not all storages respect ctx. One that takes much longer is left running, because a
// reload must not wait for it. Until it returns, nobody else uses it.
func (r *Replica) Sync(ctx context.Context, storage certmagic.Storage) error {
	if err := r.lockStorage(ctx); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		defer r.unlockStorage()
		done <- r.update(ctx, storage)
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

// abandonAfter is how long a storage may take to notice that its context is done.
const abandonAfter = time.Second

func (r *Replica) update(ctx context.Context, storage certmagic.Storage) error {
	writing := r.writePending(ctx, storage)
	r.mu.Lock()
	before := r.edits
	r.mu.Unlock()
	found, reading := read(ctx, storage)
	if found != nil {
		r.merge(found, before)
	}
	return errors.Join(writing, reading)
}

// lockStorage waits until nobody else uses the storage. Unlike a mutex it respects ctx: the
// other one may hang for longer than the caller has time.
func (r *Replica) lockStorage(ctx context.Context) error {
	r.mu.Lock()
	if r.storageBusy == nil {
		r.storageBusy = make(chan struct{}, 1)
	}
	r.mu.Unlock()
	select {
	case r.storageBusy <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for the storage: %w", ctx.Err())
	}
}

func (r *Replica) unlockStorage() { <-r.storageBusy }

// merge takes over what was found in the storage, except where an edit after number before
// is newer, or where the key could not be loaded.
func (r *Replica) merge(found *contents, before int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key, e := range r.entries {
		if e.pending || e.edit > before || slices.Contains(found.unread, key) || slices.Contains(found.corrupt, key) {
			found.entries[key] = e
		}
	}
	r.entries, r.corrupt = found.entries, found.corrupt
	r.loaded = r.loaded || len(found.unread) == 0
}

// writePending writes pending entries to the storage.
func (r *Replica) writePending(ctx context.Context, storage certmagic.Storage) error {
	r.mu.Lock()
	pending := make(map[string]entry)
	for key, e := range r.entries {
		if e.pending {
			pending[key] = e
		}
	}
	r.mu.Unlock()
	var errs []error
	for key, e := range pending {
		if ctx.Err() != nil { // not all storages respect it
			return errors.Join(append(errs, ctx.Err())...)
		}
		if err := e.store(ctx, storage, key); err != nil {
			errs = append(errs, err)
			continue
		}
		r.markStored(key, e)
	}
	return errors.Join(errs...)
}

// markStored records that an entry is in the storage.
func (r *Replica) markStored(key string, e entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.entries[key].edit == e.edit { // else a newer one is pending
		e.pending = false
		r.entries[key] = e
	}
}

func (e entry) store(ctx context.Context, storage certmagic.Storage, key string) error {
	if e.gone {
		if err := storage.Delete(ctx, key); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing %s: %w", key, err)
		}
		return nil
	}
	text, err := json.Marshal(e.Intent)
	if err == nil {
		err = storage.Store(ctx, key, text)
	}
	if err != nil {
		return fmt.Errorf("storing %s: %w", key, err)
	}
	return nil
}

// contents is what was found in a storage: its entries, the keys that could not be loaded,
// and the keys whose content is not an intent.
type contents struct {
	entries         map[string]entry
	unread, corrupt []string
}

// read reads the storage; it returns nil if the keys cannot be listed.
func read(ctx context.Context, storage certmagic.Storage) (*contents, error) {
	keys, err := list(ctx, storage)
	if err != nil {
		return nil, err
	}
	found := &contents{entries: make(map[string]entry, len(keys))}
	var errs []error
	for n, key := range keys {
		if ctx.Err() != nil { // not all storages respect it
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

// load adds the entry under a key, if it is an intent.
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

// parse parses an intent; ok is whether an operator could have ordered it.
func parse(text []byte) (i Intent, ok bool) {
	ok = len(text) <= MaxSize && json.Unmarshal(text, &i) == nil && len(i.Message) <= MaxMessage
	return i, ok
}

// list returns the keys in the folder. It reports none only if the folder does not exist: a
// file storage also returns ErrNotExist, with some or none of the keys, when another Caddy
// removes or replaces a file during the listing.
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
