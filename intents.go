package healthpool

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/healthpool/caddy-healthpool/internal/intent"
)

// intents applies what operators want, drains and maintenance, to the pools of an app.
type intents struct {
	intent.Syncer
	app  *App
	name string // of the storage

	// mu keeps an older state from being applied after a newer one.
	mu      sync.Mutex
	failed  bool
	corrupt []string // keys that were logged already
}

// replicas holds the replica of each storage, across reloads.
var replicas = caddy.NewUsagePool()

// newIntents reads the storage if this process has not yet: a drained upstream must not get
// requests before the first sync.
func newIntents(a *App, storage certmagic.Storage) *intents {
	if storage == nil { // provisioned outside of a whole config
		storage = caddy.DefaultStorage
	}
	name := storageName(storage)
	replica, _ := replicas.LoadOrStore(name, new(intent.Replica))
	i := &intents{app: a, name: name}
	i.Syncer = intent.Syncer{
		Replica: replica.(*intent.Replica), Storage: storage, Interval: time.Duration(*a.SyncInterval), OnSync: i.onSync,
	}
	if !i.Loaded() {
		const timeout = 2 * time.Second
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		i.reportSync(i.Sync(ctx, storage))
	}
	return i
}

// storageName identifies a storage across reloads. One without a String method goes by its
// type: its fields may be secret, or differ on each load.
func storageName(storage certmagic.Storage) string {
	if named, ok := storage.(fmt.Stringer); ok {
		return named.String()
	}
	return fmt.Sprintf("%T", storage)
}

// release releases the replica. i is nil if the app was not fully provisioned.
func (i *intents) release() {
	if i != nil {
		_, _ = replicas.Delete(i.name)
	}
}

func (i *intents) onSync(err error) {
	i.mu.Lock()
	i.reportSync(err)
	i.mu.Unlock()
	i.apply()
}

// reportSync logs when the storage begins to fail, when it works again, and which of its
// entries are corrupt.
func (i *intents) reportSync(err error) {
	switch failed := err != nil; {
	case failed && !i.failed:
		i.app.logger.Warn("storage fails; drains and maintenance stay as they are known here, and are stored as soon as that works", zap.Error(err))
	case !failed && i.failed:
		i.app.logger.Info("storage works again; drains and maintenance are in step with it")
	}
	i.failed = err != nil
	corrupt := i.Corrupt()
	for _, key := range corrupt {
		if !slices.Contains(i.corrupt, key) {
			i.app.logger.Warn("what is in the storage is no drain and no maintenance; what is known of it here stands", zap.String("key", key))
		}
	}
	i.corrupt = corrupt
}

// apply applies the current intents to all pools.
func (i *intents) apply() {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, p := range i.app.pools {
		p.Apply(i.Of(p.Name))
	}
}

// Order records or, if on is false, withdraws what an operator wants, and applies it at
// once. It reports whether the storage has accepted it; if not, storing is retried.
func (a *App) Order(ctx context.Context, order intent.Intent, on bool) (stored bool) {
	if on {
		a.intents.Put(order)
	} else {
		a.intents.Remove(order.Pool, order.Upstream)
	}
	a.intents.apply()
	return a.intents.Flush(ctx)
}

// Drained reports whether an upstream of a pool is drained, even if it is not in the
// pool now.
func (a *App) Drained(poolName, address string) bool {
	drained, _ := a.intents.Of(poolName)
	return drained[address]
}
