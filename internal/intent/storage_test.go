package intent

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/certmagic"
)

// memoryStorage is a storage that fails or hangs as a test needs.
type memoryStorage struct {
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

func newMemoryStorage() *memoryStorage { return &memoryStorage{files: make(map[string]string)} }

// ask fails if the storage does.
func (m *memoryStorage) ask(ctx context.Context) error {
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

func (m *memoryStorage) Store(ctx context.Context, key string, value []byte) error {
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

func (m *memoryStorage) Load(ctx context.Context, key string) ([]byte, error) {
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

func (m *memoryStorage) Delete(ctx context.Context, key string) error {
	if err := m.ask(ctx); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.files, key)
	return nil
}

func (m *memoryStorage) List(ctx context.Context, prefix string, _ bool) ([]string, error) {
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
func (m *memoryStorage) Exists(context.Context, string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.files) > 0
}

func (m *memoryStorage) set(fail error, hang bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail, m.hang = fail, hang
}

func (m *memoryStorage) timesAsked() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.asked
}

// sync syncs a replica with a storage, or fails the test.
func (r *Replica) sync(t *testing.T, m *memoryStorage) {
	t.Helper()
	if err := r.Sync(t.Context(), m); err != nil {
		t.Fatal(err)
	}
}

// wants describes what is wanted of a pool.
func (r *Replica) wants(pool string) string {
	drained, m := r.Of(pool)
	s := strings.Join(slices.Sorted(maps.Keys(drained)), " ")
	if m != nil {
		s += " closed: " + m.Message
	}
	return s
}
