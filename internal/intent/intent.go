// Package intent keeps what operators want of pools, to drain an upstream or to
// close a pool for maintenance, in Caddy's storage: so it outlives a restart, and
// reaches every Caddy that shares the storage.
package intent

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"slices"
	"time"
)

// Intent is one thing that an operator wants: that an upstream of a pool is
// drained, or that the pool is closed for maintenance.
type Intent struct {
	// Pool is the name of the pool.
	Pool string `json:"pool"`
	// Upstream is the address of the one to drain; empty for maintenance.
	Upstream string `json:"upstream,omitempty"`
	// Since is when the operator said so.
	Since time.Time `json:"since"`
	Maintenance
}

// Maintenance is what visitors of a closed pool are told, and who may pass.
type Maintenance struct {
	// Message is a sentence of the operator's own; empty for none.
	Message string `json:"message,omitempty"`
	// Until is when the maintenance is planned to end; zero if that is not known.
	// It does end only when the operator says so.
	Until time.Time `json:"until,omitzero"`
	// Allow are the clients that are let through.
	Allow []netip.Prefix `json:"allow,omitempty"`
}

// Bounds of what is taken from a storage, in bytes: others may write to it, and every
// visitor of a closed pool is sent the message and looked up in the list.
const (
	MaxSize    = 64 << 10
	MaxMessage = 1000
)

// Admits reports whether a client is let through.
func (m Maintenance) Admits(client netip.Addr) bool {
	return slices.ContainsFunc(m.Allow, func(p netip.Prefix) bool { return p.Contains(client) })
}

// folder is where the intents are in the storage, each under a key of its own, so
// that Caddys that write at the same time do not undo each other's.
const folder = "healthpool/intents"

// keyOf is the key of an intent. It is a digest, because a name may have anything in
// it, and storages differ in what they allow.
func keyOf(pool, upstream string) string {
	sum := sha256.Sum256([]byte(pool + "\x00" + upstream))
	const enough = 16
	return folder + "/" + hex.EncodeToString(sum[:enough]) + ".json"
}
