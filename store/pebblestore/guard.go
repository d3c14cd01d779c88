package pebblestore

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// guardFS stands between Pebble and the disk, because Pebble cannot live with a
// disk that fails: it panics with its locks held, or unlocks a mutex twice,
// which ends the process, or retries for ever (all seen in v2.1.7, commitWrite,
// rotateWAL and flush). And it goes on showing what it could not write.
//
// Invariants:
//
//  1. The first failure of anything that changes the disk calls broken before
//     Pebble learns the outcome. Whoever asks Pebble first and for the failure
//     second is therefore never told of a success that was none.
//  2. From then on nothing reaches the disk any more: it stays as if the power
//     had failed at that moment, and a later Open, in this process or another,
//     finds it so. Pebble is told that everything succeeded, so that nobody is
//     left waiting inside it.
//  3. A pretended success never comes before a real write that relies on it:
//     each operation looks at frozen when it begins, and what relies on an
//     operation begins after its end.
type guardFS struct {
	vfs.FS
	broken func(error) // called once, with the first failure

	frozen atomic.Bool
	// writing is held for reading by each operation that changes the disk, so
	// that quiesce can wait for the last one.
	writing sync.RWMutex

	mu   sync.Mutex
	lock io.Closer // of the directory; guarded by mu
	held error     // why it could not be taken; guarded by mu
}

var errFrozen = errors.New("the store is broken")

// change runs an operation that changes the disk, or pretends to.
func (g *guardFS) change(op func() error) error {
	if g.frozen.Load() {
		return nil
	}
	g.writing.RLock()
	defer g.writing.RUnlock()
	if g.frozen.Load() {
		return nil
	}
	if err := op(); err != nil {
		g.freeze(err)
	}
	return nil
}

func (g *guardFS) freeze(err error) {
	// broken comes first: it must be known before anything is pretended.
	g.broken(err)
	g.frozen.Store(true)
}

// quiesce returns when nothing of ours reaches the disk any more. It is frozen.
func (g *guardFS) quiesce() {
	g.writing.Lock()
	defer g.writing.Unlock()
}

// file opens something for writing, or something that swallows what is written.
func (g *guardFS) file(open func() (vfs.File, error)) (vfs.File, error) {
	var f vfs.File
	if err := g.change(func() (err error) {
		f, err = open()
		return err
	}); err != nil {
		return nil, err
	}
	if f == nil {
		return nowhere{}, nil
	}
	return &guardFile{File: f, fs: g}, nil
}

func (g *guardFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return g.file(func() (vfs.File, error) { return g.FS.Create(name, c) })
}

func (g *guardFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return g.file(func() (vfs.File, error) { return g.FS.OpenReadWrite(name, c, opts...) })
}

func (g *guardFS) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return g.file(func() (vfs.File, error) { return g.FS.ReuseForWrite(oldname, newname, c) })
}

// OpenDir opens a directory for syncing.
func (g *guardFS) OpenDir(name string) (vfs.File, error) {
	return g.file(func() (vfs.File, error) { return g.FS.OpenDir(name) })
}

// Open hides that a table does not exist, which Pebble takes for fatal, in whatever
// goroutine, while others wait for that goroutine; it may also be our doing. Pebble's
// compactions try again at once when they fail: they are slowed down.
func (g *guardFS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := g.FS.Open(name, opts...)
	if errors.Is(err, fs.ErrNotExist) && strings.HasSuffix(name, ".sst") {
		g.freeze(err)
	}
	if err != nil && g.frozen.Load() {
		if !ours() {
			time.Sleep(100 * time.Millisecond)
		}
		return nil, errFrozen
	}
	return f, err
}

func (g *guardFS) Link(oldname, newname string) error {
	return g.change(func() error { return g.FS.Link(oldname, newname) })
}

func (g *guardFS) Rename(oldname, newname string) error {
	return g.change(func() error { return g.FS.Rename(oldname, newname) })
}

func (g *guardFS) MkdirAll(dir string, perm os.FileMode) error {
	return g.change(func() error { return g.FS.MkdirAll(dir, perm) })
}

// Remove may fail without harm: what is left over is removed at the next Open.
func (g *guardFS) Remove(name string) error {
	return g.remove(func() error { return g.FS.Remove(name) })
}

func (g *guardFS) RemoveAll(name string) error {
	return g.remove(func() error { return g.FS.RemoveAll(name) })
}

func (g *guardFS) remove(op func() error) (err error) {
	g.change(func() error {
		err = op()
		return nil
	})
	return err
}

// GetDiskUsage never fails otherwise: Pebble reports it as it reports real harm.
func (g *guardFS) GetDiskUsage(path string) (vfs.DiskUsage, error) {
	u, err := g.FS.GetDiskUsage(path)
	if err != nil {
		return u, vfs.ErrUnsupported
	}
	return u, nil
}

// Lock remembers the lock, so that unlock can let go of it when Pebble can't.
func (g *guardFS) Lock(name string) (io.Closer, error) {
	c, err := g.FS.Lock(name)
	g.mu.Lock()
	defer g.mu.Unlock()
	if err != nil {
		g.held = err
		return nil, err
	}
	g.lock = c
	return unlocker{g}, nil
}

type unlocker struct{ g *guardFS }

func (u unlocker) Close() error { return u.g.unlock() }

func (g *guardFS) unlock() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.lock == nil {
		return nil
	}
	err := g.lock.Close()
	g.lock = nil
	return err
}

func (g *guardFS) lockErr() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.held
}

func (g *guardFS) Unwrap() vfs.FS { return g.FS }

// guardFile is a file that is being written.
type guardFile struct {
	vfs.File
	fs *guardFS
}

func (f *guardFile) Write(p []byte) (int, error) {
	n := len(p)
	return n, f.fs.change(func() error {
		_, err := f.File.Write(p)
		return err
	})
}

func (f *guardFile) WriteAt(p []byte, off int64) (int, error) {
	return len(p), f.fs.change(func() error {
		_, err := f.File.WriteAt(p, off)
		return err
	})
}

// Preallocate is a favour to the file system; if it fails, the write that needs
// the space will tell.
func (f *guardFile) Preallocate(off, n int64) error {
	return f.fs.change(func() error {
		_ = f.File.Preallocate(off, n)
		return nil
	})
}

func (f *guardFile) Sync() error     { return f.fs.change(f.File.Sync) }
func (f *guardFile) SyncData() error { return f.fs.change(f.File.SyncData) }

func (f *guardFile) SyncTo(n int64) (full bool, err error) {
	err = f.fs.change(func() (err error) {
		full, err = f.File.SyncTo(n)
		return err
	})
	return full, err
}

// Close closes the descriptor even if frozen; its errors matter only before.
func (f *guardFile) Close() error {
	err := f.File.Close()
	if err != nil && !f.fs.frozen.Load() {
		f.fs.freeze(err)
	}
	return nil
}

// nowhere is a file that was created after the disk failed.
type nowhere struct{ vfs.FileInfo }

func (nowhere) Close() error                           { return nil }
func (nowhere) Read([]byte) (int, error)               { return 0, errFrozen }
func (nowhere) ReadAt([]byte, int64) (int, error)      { return 0, errFrozen }
func (nowhere) Write(p []byte) (int, error)            { return len(p), nil }
func (nowhere) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
func (nowhere) Preallocate(int64, int64) error         { return nil }
func (nowhere) Stat() (vfs.FileInfo, error)            { return nowhere{}, nil }
func (nowhere) Size() int64                            { return 0 }
func (nowhere) Sync() error                            { return nil }
func (nowhere) SyncTo(int64) (bool, error)             { return false, nil }
func (nowhere) SyncData() error                        { return nil }
func (nowhere) Prefetch(int64, int64) error            { return nil }
func (nowhere) Fd() uintptr                            { return vfs.InvalidFd }
