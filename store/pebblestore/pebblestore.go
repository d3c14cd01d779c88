// Package pebblestore is the embedded storage engine: one Pebble database in one
// directory for all objects. docs/format.md describes what it writes.
//
// # Durability
//
// A batch is durable when the write-ahead log that holds it has been synced;
// batches that arrive together share a sync. No batch is reported as done before.
//
// # When the disk fails
//
// The first write or sync that fails, in the log or elsewhere, disk full
// included, breaks the store: every waiting and later call returns
// store.ErrBroken, reads too, because what is in memory may not be what is on
// disk. Nothing is written any more. Close the store and open it again: it holds
// all that was acknowledged. A failure in the background (a flush or a
// compaction that can't write, or reads something corrupt) breaks it as well:
// the log still has the data, but it would grow without end, so the honest
// answer is the loud one.
//
// # Memory
//
// About Options.CacheBytes, plus up to five times Options.MemTableBytes while
// writes outrun the disk (usually one or two times), plus the open tables: at
// the defaults below 450 MB, at rest about 20 MB.
package pebblestore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/atomicfs"

	"github.com/perdure/perdure/store"
)

// Options of Open.
type Options struct {
	// FS is the file system; nil: the operating system's.
	FS vfs.FS

	// Logger gets what is worth an operator's attention; nil discards.
	Logger *slog.Logger

	// CacheBytes is the size of the cache of table blocks; 0: 64 MiB.
	CacheBytes int64

	// MemTableBytes is how much is collected in memory before it is written to a
	// table; 0: 64 MiB. Larger means less work in the background and a longer
	// start after a crash.
	MemTableBytes int64
}

// pebbleFormat is the format of Pebble's own files. It is pinned, so that a newer
// Pebble does not change what an older program can open; raising it is a change
// of the format and goes into docs/format.md.
const pebbleFormat = pebble.FormatTableFormatV6

// Store is a store.Store on disk. It is safe for use by several goroutines.
type Store struct {
	dir string
	log *slog.Logger
	fs  *guardFS
	db  *pebble.DB

	// active counts calls under way; closing is one more bit of it.
	active atomic.Int64
	idle   chan struct{} // gets a value when closing and no call is under way

	// outstanding counts batches that were applied and whose Wait has not ended:
	// if it is 0, everything that can be read is durable.
	outstanding atomic.Int64

	// failure is set once, before anybody can see its consequences.
	failure atomic.Pointer[error]
	parked  chan struct{} // closed when one of Pebble's goroutines is lost
	park    sync.Once

	rangeDels atomic.Int64 // range deletions since the last flush they asked for

	metaMu sync.Mutex // makes SwapMeta atomic; Meta waits for it to be durable
}

var _ store.Store = (*Store)(nil)

const closing = 1 << 62

// Open opens the store in a directory, which it creates (mode 0700) if need be.
// Options may be nil.
//
// It returns an error that is store.ErrInUse if the directory is open already,
// in this process or another, and store.ErrNewerFormat if a newer version wrote it.
func Open(dir string, opts *Options) (*Store, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.FS == nil {
		o.FS = vfs.Default
	}
	dir, err := makeDir(o.FS, dir)
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", dir, err)
	}
	s := &Store{
		dir:    dir,
		log:    o.Logger.With("store", dir),
		idle:   make(chan struct{}, 1),
		parked: make(chan struct{}),
	}
	s.fs = &guardFS{FS: o.FS, broken: s.fail}
	if err := s.open(o); err != nil {
		return nil, fmt.Errorf("open store %s: %w", dir, err)
	}
	return s, nil
}

func (s *Store) open(o Options) (err error) {
	if err := s.checkPebbleFormat(o.FS); err != nil {
		return err
	}
	defer func() {
		if err == nil {
			err = s.broken()
		}
		if err != nil {
			s.shut()
		}
	}()
	defer s.rescue(&err)
	if s.db, err = pebble.Open(s.dir, s.options(o)); err != nil {
		if held := s.fs.lockErr(); held != nil {
			if pathErr := new(fs.PathError); !errors.As(held, &pathErr) {
				return fmt.Errorf("%w (%v)", store.ErrInUse, held)
			}
		}
		return err
	}
	return s.checkFormat()
}

func (s *Store) options(o Options) *pebble.Options {
	if o.CacheBytes <= 0 {
		o.CacheBytes = 64 << 20
	}
	if o.MemTableBytes <= 0 {
		o.MemTableBytes = 64 << 20
	}
	p := &pebble.Options{
		FS:                 s.fs,
		Logger:             pebbleLogger{s},
		CacheSize:          o.CacheBytes,
		MemTableSize:       uint64(o.MemTableBytes),
		Comparer:           pebble.DefaultComparer,
		Merger:             pebble.DefaultMerger,
		FormatMajorVersion: pebbleFormat,

		MemTableStopWritesThreshold: 4,
		// Writers stop for tables that wait to be compacted only far beyond what
		// compactions fall behind by: a writer that is stopped there when the disk
		// fails would wait for ever, since no compaction comes to its end any more.
		L0StopWritesThreshold: 1000,
		CompactionConcurrencyRange: func() (int, int) {
			return 1, min(4, max(1, runtime.GOMAXPROCS(0)/2))
		},
		EventListener: &pebble.EventListener{
			BackgroundError: func(err error) {
				if !errors.Is(err, pebble.ErrCancelledCompaction) {
					s.fs.freeze(fmt.Errorf("in the background: %w", err))
				}
			},
			WriteStallBegin: func(info pebble.WriteStallBeginInfo) {
				s.log.Debug("writes wait for the disk", "reason", info.Reason)
			},
			DataCorruption: func(info pebble.DataCorruptionInfo) {
				s.fs.freeze(fmt.Errorf("corrupt file: %w", info.Details))
			},
		},
	}
	for i := range p.Levels {
		p.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	return p
}

// makeDir creates dir and its parents, makes that durable, and returns its path.
func makeDir(fsys vfs.FS, dir string) (string, error) {
	if fsys == vfs.Default {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return dir, err
		}
		dir = abs
	}
	var made []string // the parents of what is missing
	for d := dir; ; d = fsys.PathDir(d) {
		if _, err := fsys.Stat(d); err == nil || !errors.Is(err, fs.ErrNotExist) {
			break
		}
		parent := fsys.PathDir(d)
		if parent == d {
			break
		}
		made = append(made, parent)
	}
	if len(made) > 0 {
		if err := fsys.MkdirAll(dir, 0o700); err != nil {
			return dir, err
		}
	}
	for _, d := range made {
		f, err := fsys.OpenDir(d)
		if err != nil {
			return dir, err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return dir, fmt.Errorf("sync %s: %w", d, err)
		}
	}
	if fsys == vfs.Default {
		// Within a process the lock is per path: a directory must have one only.
		real, err := filepath.EvalSymlinks(dir)
		if err != nil {
			return dir, err // with the name that the caller knows
		}
		dir = real
	}
	return dir, nil
}

// checkPebbleFormat refuses a directory before Pebble touches it: Pebble itself
// would open, and keep, any newer format that it happens to know.
func (s *Store) checkPebbleFormat(fsys vfs.FS) error {
	marker, value, err := atomicfs.LocateMarker(fsys, s.dir, "format-version")
	if err != nil {
		return err
	}
	defer marker.Close()
	if value == "" {
		return nil // a new one
	}
	v, err := strconv.ParseUint(value, 10, 64)
	if err != nil {
		return fmt.Errorf("format version %q: %w", value, err)
	}
	if v > uint64(pebbleFormat) {
		return fmt.Errorf("%w: its Pebble files have format %d, this program knows %d", store.ErrNewerFormat, v, uint64(pebbleFormat))
	}
	return nil
}

// checkFormat reads the format record, or writes it to a new database.
func (s *Store) checkFormat() error {
	v, closer, err := s.db.Get([]byte{tagFormat})
	switch {
	case err == nil:
		defer closer.Close()
		if len(v) != 4 {
			return fmt.Errorf("format record: %w", errRecord)
		}
		if got := binary.BigEndian.Uint32(v); got > formatVersion {
			return fmt.Errorf("%w: it has format %d, this program knows %d", store.ErrNewerFormat, got, formatVersion)
		}
		return nil
	case !errors.Is(err, pebble.ErrNotFound):
		return err
	}
	iter, err := s.db.NewIter(nil)
	if err != nil {
		return err
	}
	some := iter.First()
	if err := iter.Close(); err != nil {
		return err
	}
	if some {
		return errors.New("a Pebble database, but not one of this program's stores")
	}
	return s.db.Set([]byte{tagFormat}, binary.BigEndian.AppendUint32(nil, formatVersion), pebble.Sync)
}

// Close implements store.Store. It waits for calls under way, so it is not called
// from within a yield. The first Close of a broken store returns store.ErrBroken; it
// releases the directory, and, as a rule, the memory.
func (s *Store) Close() error {
	old := s.active.Or(closing)
	if old&closing != 0 {
		return nil
	}
	if old != 0 {
		<-s.idle
	}
	err := s.shut()
	if broken := s.broken(); broken != nil {
		return fmt.Errorf("close store %s: %w", s.dir, broken)
	}
	if err != nil {
		return fmt.Errorf("close store %s: %w", s.dir, err)
	}
	return nil
}

// shut closes the database, when no call is under way, and releases the directory.
//
// A healthy database's Close ends. After a failure it might wait for a goroutine
// that is parked in pebbleLogger.Fatalf: then the database is left behind, with its
// memory, but the directory is free, and guardFS sees to it that nothing is
// written there any more.
func (s *Store) shut() error {
	if s.db == nil {
		if s.broken() != nil {
			s.fs.quiesce()
		}
		return s.fs.unlock()
	}
	if s.broken() == nil {
		return s.db.Close()
	}
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		defer func() { _ = recover() }() // Pebble's, about the state that it is in
		_ = s.db.Close()
	}()
	select {
	case <-closed:
	case <-s.parked:
	}
	s.fs.quiesce()
	return s.fs.unlock()
}

// enter begins a call; if it returns nil, leave ends it.
func (s *Store) enter(ctx context.Context) error {
	if s.active.Add(1)&closing != 0 {
		s.leave()
		return store.ErrClosed
	}
	err := s.broken()
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		s.leave()
	}
	return err
}

func (s *Store) leave() {
	if s.active.Add(-1) == closing {
		select {
		case s.idle <- struct{}{}:
		default:
		}
	}
}

// fail breaks the store. It may be called with Pebble's locks held.
func (s *Store) fail(cause error) {
	err := fmt.Errorf("%w: %w", store.ErrBroken, cause)
	if s.failure.CompareAndSwap(nil, &err) {
		s.log.Error("store is broken", "err", cause)
	}
}

// broken returns an error that is store.ErrBroken, or nil.
func (s *Store) broken() error {
	if p := s.failure.Load(); p != nil {
		return *p
	}
	return nil
}

// outcome is what a read returns that ended with err: whatever it has seen, a
// failure that happened meanwhile comes first.
func (s *Store) outcome(err error) error {
	if broken := s.broken(); broken != nil {
		return broken
	}
	return err
}
