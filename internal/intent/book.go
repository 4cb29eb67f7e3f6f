package intent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"

	"github.com/caddyserver/certmagic"
)

// Book has the intents as far as this process knows them. What an operator says here
// counts at once, whether the storage takes it or not; it is offered to the storage
// until that does.
type Book struct {
	// syncing is held while the storage is asked, which may take long.
	syncing sync.Mutex

	// mu guards what follows, and is never held for long.
	mu     sync.Mutex
	pages  map[string]page // by key
	edits  int
	loaded bool
}

// page is what is known under one key: an intent, or that there is none.
type page struct {
	Intent
	gone bool
	// pending is whether the storage does not know of it yet; edit tells a newer
	// one from an older.
	pending bool
	edit    int
}

// Put notes an intent.
func (b *Book) Put(i Intent) { b.edit(page{Intent: i, pending: true}) }

// Remove takes an intent back.
func (b *Book) Remove(pool, upstream string) {
	b.edit(page{Intent: Intent{Pool: pool, Upstream: upstream}, gone: true, pending: true})
}

func (b *Book) edit(p page) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pages == nil {
		b.pages = make(map[string]page)
	}
	b.edits++
	p.edit = b.edits
	b.pages[keyOf(p.Pool, p.Upstream)] = p
}

// Of is what is wanted of a pool: the addresses to drain, and its maintenance, nil
// for none.
func (b *Book) Of(pool string) (drained map[string]bool, m *Intent) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.pages {
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

// Pending reports whether there is anything that the storage does not know of yet.
func (b *Book) Pending() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.pages {
		if p.pending {
			return true
		}
	}
	return false
}

// Loaded reports whether the storage has ever been read.
func (b *Book) Loaded() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.loaded
}

// Sync tells the storage what it does not know of yet, and reads what others have
// told it. If that fails, everything stays as it was.
func (b *Book) Sync(ctx context.Context, storage certmagic.Storage) error {
	b.syncing.Lock()
	defer b.syncing.Unlock()
	if err := b.write(ctx, storage); err != nil {
		return err
	}
	b.mu.Lock()
	before := b.edits
	b.mu.Unlock()
	stored, err := read(ctx, storage)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for key, p := range b.pages {
		if p.pending || p.edit > before { // newer than what was read
			stored[key] = p
		}
	}
	b.pages, b.loaded = stored, true
	return nil
}

// write tells the storage what it does not know of yet.
func (b *Book) write(ctx context.Context, storage certmagic.Storage) error {
	b.mu.Lock()
	pending := make(map[string]page)
	for key, p := range b.pages {
		if p.pending {
			pending[key] = p
		}
	}
	b.mu.Unlock()
	for key, p := range pending {
		if err := p.store(ctx, storage, key); err != nil {
			return err
		}
		b.mu.Lock()
		if b.pages[key].edit == p.edit { // else there is a newer one to tell of
			p.pending = false
			b.pages[key] = p
		}
		b.mu.Unlock()
	}
	return nil
}

func (p page) store(ctx context.Context, storage certmagic.Storage, key string) error {
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

// read reads what is in the storage. What is no intent is left out: an unreadable one
// must not keep all others from being heeded.
func read(ctx context.Context, storage certmagic.Storage) (map[string]page, error) {
	keys, err := storage.List(ctx, folder, false)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("listing %s: %w", folder, err)
	}
	pages := make(map[string]page, len(keys))
	for _, key := range keys {
		if !strings.HasSuffix(key, ".json") {
			continue
		}
		text, err := storage.Load(ctx, key)
		if errors.Is(err, fs.ErrNotExist) {
			continue // another Caddy has just removed it
		}
		if err != nil {
			return nil, fmt.Errorf("loading %s: %w", key, err)
		}
		var i Intent
		if json.Unmarshal(text, &i) == nil && keyOf(i.Pool, i.Upstream) == key {
			pages[key] = page{Intent: i}
		}
	}
	return pages, nil
}
