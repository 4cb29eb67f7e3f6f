package e2e

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/certmagic"
)

func init() { caddy.RegisterModule(new(faultyStorage)) }

// faultyStorage is a storage of files whose fault is what another file says, so that a test may change it for a Caddy
// that is a process of its own. Only the plugin's own keys suffer from it.
type faultyStorage struct {
	certmagic.FileStorage
	Root string `json:"root"`
}

// setFault has a faulty storage of that root have a fault, or none.
func setFault(t *testing.T, root, fault string) {
	t.Helper()
	if err := os.WriteFile(faultFile(root), []byte(fault), 0o600); err != nil {
		t.Fatal(err)
	}
}

func faultFile(root string) string { return filepath.Join(root, "fault") }

// CaddyModule returns the Caddy module information.
func (*faultyStorage) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.storage.faulty", New: func() caddy.Module { return new(faultyStorage) }}
}

func (s *faultyStorage) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if !d.Args(&s.Root) {
		return d.ArgErr()
	}
	return nil
}

func (s *faultyStorage) CertMagicStorage() (certmagic.Storage, error) {
	s.Path = filepath.Join(s.Root, "files")
	return s, nil
}

var errFaulty = errors.New("the storage is on fire")

// suffer is what every use of a key comes to; nil is that it goes on.
func (s *faultyStorage) suffer(ctx context.Context, key string, writes bool) error {
	switch fault := s.fault(key); {
	case fault == "hangs":
		<-ctx.Done()
		return ctx.Err()
	case fault == "slow":
		time.Sleep(300 * time.Millisecond)
	case fault == "fails", fault == "read-only" && writes:
		return errFaulty
	case fault == "lost" && !writes:
		return fs.ErrNotExist
	}
	return nil
}

func (s *faultyStorage) fault(key string) string {
	text, err := os.ReadFile(faultFile(s.Root))
	if err != nil || !strings.HasPrefix(key, "healthpool") {
		return ""
	}
	return string(text)
}

func (s *faultyStorage) Store(ctx context.Context, key string, value []byte) error {
	if err := s.suffer(ctx, key, true); err != nil {
		return err
	}
	return s.FileStorage.Store(ctx, key, value)
}

func (s *faultyStorage) Load(ctx context.Context, key string) ([]byte, error) {
	if err := s.suffer(ctx, key, false); err != nil {
		return nil, err
	}
	value, err := s.FileStorage.Load(ctx, key)
	if s.fault(key) == "corrupt" {
		value = value[:len(value)/2]
	}
	return value, err
}

func (s *faultyStorage) Delete(ctx context.Context, key string) error {
	if err := s.suffer(ctx, key, true); err != nil {
		return err
	}
	return s.FileStorage.Delete(ctx, key)
}

func (s *faultyStorage) Exists(ctx context.Context, key string) bool {
	return s.suffer(ctx, key, false) == nil && s.FileStorage.Exists(ctx, key)
}

func (s *faultyStorage) List(ctx context.Context, path string, recursive bool) ([]string, error) {
	if err := s.suffer(ctx, path, false); err != nil {
		return nil, err
	}
	return s.FileStorage.List(ctx, path, recursive)
}
