package pebblestore

import (
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perdure/perdure/store"
	"github.com/perdure/perdure/store/storetest"
)

func openDir(dir string) (store.Store, error) { return Open(dir, nil) }

func TestMain(m *testing.M) {
	storetest.Child(openDir)
	openerMain()
	os.Exit(m.Run())
}

// small makes flushes, compactions and new logs happen within a short test.
func small(fs vfs.FS) *Options {
	return &Options{FS: fs, MemTableBytes: 256 << 10, CacheBytes: 1 << 20, Logger: slog.New(slog.DiscardHandler)}
}

// openMem opens a store in a file system in memory, to be closed with the test.
func openMem(t *testing.T, fs vfs.FS) *Store {
	t.Helper()
	s, err := Open("data", small(fs))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) *storetest.Harness {
		mem := vfs.NewCrashableMem()
		fs := &testFS{FS: mem}
		return &storetest.Harness{
			Store: openMem(t, fs),
			Reopen: func(t *testing.T) store.Store {
				fs.heal()
				return openMem(t, fs)
			},
			Image: func(keep int, seed uint64) func(*testing.T) store.Store {
				clone := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: keep, RNG: rand.New(rand.NewPCG(seed, 0))})
				return func(t *testing.T) store.Store { return openMem(t, clone) }
			},
			EachStep: fs.eachStep,
			Fail:     fs.failFrom,
		}
	})
}

func TestKill(t *testing.T) {
	storetest.Kill(t, filepath.Join(t.TempDir(), "data"), 20, openDir)
}
