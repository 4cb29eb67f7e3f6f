package intent

import (
	"net/netip"
	"testing"
	"time"
)

// FuzzReplica checks that, whatever others write to the storage, the replica applies
// nothing that could not have been ordered, and keeps accepting orders.
func FuzzReplica(f *testing.F) {
	for _, text := range []string{
		`{"pool":"shop","since":"2026-11-22T18:00:00Z","message":"moving","until":"2026-11-22T19:00:00Z","allow":["10.0.0.0/8"]}`,
		`{"pool":"shop","upstream":"app:1"}`, `{"pool":"other"}`, `{"POOL":"shop","pool":null}`, `{"pool":"shop","allow":["::/0","x"]}`,
		`{"pool":"shop","allow":[""]}`, `{"pool":"shop","until":"0000-01-01T00:00:00Z"}`, `{"pool":"shop"}{}`, `[]`, `null`, `"shop"`, ``, "\xff",
	} {
		f.Add(text, false)
		f.Add(text, true)
	}
	f.Fuzz(func(t *testing.T, text string, drain bool) {
		const pool, upstream = "shop", "app:1"
		key := keyOf(pool, "")
		if drain {
			key = keyOf(pool, upstream)
		}
		m, b := newMemoryStorage(), new(Replica)
		m.files[key] = text
		_ = b.Sync(t.Context(), m) // returns an error if the content is corrupt
		drained, closed := b.Of(pool)
		if drain && closed != nil || !drain && drained != nil || len(drained) > 1 {
			t.Fatalf("%q is another order: %v %v", text, drained, closed)
		}
		if closed != nil {
			if len(text) > MaxSize || len(closed.Message) > MaxMessage {
				t.Errorf("%d bytes take effect, with a message of %d", len(text), len(closed.Message))
			}
			closed.Admits(netip.MustParseAddr("10.0.0.1"))
		}
		b.checkOrders(t, m, pool, upstream)
	})
}

// checkOrders checks that orders take effect, and can be removed.
func (r *Replica) checkOrders(t *testing.T, m *memoryStorage, pool, upstream string) {
	t.Helper()
	r.Put(Intent{Pool: pool, Since: time.Unix(1, 0), Maintenance: Maintenance{Message: "now"}})
	_ = r.Sync(t.Context(), m)
	if _, now := r.Of(pool); now == nil || now.Message != "now" {
		t.Errorf("an order has no effect: %v", now)
	}
	r.Remove(pool, "")
	r.Remove(pool, upstream)
	r.sync(t, m)
	if len(m.files) != 0 {
		t.Errorf("an order cannot be taken back: %v", m.files)
	}
}
