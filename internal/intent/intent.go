// Package intent stores what operators want of pools, to drain an upstream or to close a
// pool for maintenance, in Caddy's storage, so that it survives a restart and reaches every
// Caddy that shares the storage.
package intent

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"slices"
	"time"
)

// Intent is what an operator wants: that an upstream of a pool is drained, or that the pool
// is in maintenance.
type Intent struct {
	// Pool is the name of the pool.
	Pool string `json:"pool"`
	// Upstream is the address to drain; empty for maintenance.
	Upstream string `json:"upstream,omitempty"`
	// Since is when the operator gave the order.
	Since time.Time `json:"since"`
	Maintenance
}

// Maintenance is what visitors are told during maintenance, and who is let through.
type Maintenance struct {
	// Message is the operator's own sentence; empty for none.
	Message string `json:"message,omitempty"`
	// Until is the planned end; zero if unknown. Maintenance ends only when the operator
	// ends it.
	Until time.Time `json:"until,omitzero"`
	// Allow has the clients that are let through.
	Allow []netip.Prefix `json:"allow,omitempty"`
}

// Limits for what is read from the storage, in bytes: others may write to it, and during
// maintenance every visitor is sent the message and looked up in the list.
const (
	MaxSize    = 64 << 10
	MaxMessage = 1000
)

// Admits reports whether a client is let through.
func (m Maintenance) Admits(client netip.Addr) bool {
	return slices.ContainsFunc(m.Allow, func(p netip.Prefix) bool { return p.Contains(client) })
}

// folder has the intents in the storage, each under its own key, so that Caddys that write
// at the same time do not overwrite each other's.
const folder = "healthpool/intents"

// keyOf returns the key of an intent. It is a digest, because names may contain anything,
// and storages differ in what they allow in keys.
func keyOf(pool, upstream string) string {
	sum := sha256.Sum256([]byte(pool + "\x00" + upstream))
	const enough = 16
	return folder + "/" + hex.EncodeToString(sum[:enough]) + ".json"
}
