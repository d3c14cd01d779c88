package pebblestore

import (
	"io"
	"os"
	"sync"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perdure/perdure/store/storetest"
)

// testFS is a file system whose changes are seen, and can be made to fail.
type testFS struct {
	vfs.FS

	mu   sync.Mutex
	step func()                      // guarded by mu, called with it
	fail func(op, name string) error // guarded by mu; op is write, sync, create, ...
	gate func(op, name string)       // guarded by mu, called without it; may block
}

func (f *testFS) change(op, name string) error {
	f.mu.Lock()
	gate := f.gate
	f.mu.Unlock()
	if gate != nil {
		gate(op, name)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.step != nil {
		f.step()
	}
	if f.fail != nil {
		return f.fail(op, name)
	}
	return nil
}

func (f *testFS) eachStep(step func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.step = step
}

// failFrom makes the k-th operation of a kind fail and all that follow.
func (f *testFS) failFrom(kind storetest.Fault, k int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	f.fail = func(op, _ string) error {
		var err error
		switch {
		case kind == storetest.WriteError && op == "write":
			err = syscall.EIO
		case kind == storetest.SyncError && op == "sync":
			err = syscall.EIO
		case kind == storetest.DiskFull && (op == "write" || op == "create"):
			err = syscall.ENOSPC
		default:
			return nil
		}
		if n++; n > k {
			return &os.PathError{Op: op, Path: "injected", Err: err}
		}
		return nil
	}
}

func (f *testFS) heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = nil
}

func (f *testFS) open(op, name string, open func() (vfs.File, error)) (vfs.File, error) {
	if err := f.change(op, name); err != nil {
		return nil, err
	}
	file, err := open()
	if err != nil {
		return nil, err
	}
	return &testFile{file, f, name}, nil
}

func (f *testFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return f.open("create", name, func() (vfs.File, error) { return f.FS.Create(name, c) })
}

func (f *testFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return f.open("create", name, func() (vfs.File, error) { return f.FS.OpenReadWrite(name, c, opts...) })
}

// ReuseForWrite goes in two steps: MemFS's own takes a lock twice, which deadlocks
// with a crash image that is asked for in between.
func (f *testFS) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return f.open("rename", newname, func() (vfs.File, error) {
		if err := f.FS.Rename(oldname, newname); err != nil {
			return nil, err
		}
		return f.FS.OpenReadWrite(newname, c)
	})
}

func (f *testFS) OpenDir(name string) (vfs.File, error) {
	file, err := f.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &testFile{file, f, name}, nil
}

func (f *testFS) Link(oldname, newname string) error {
	if err := f.change("create", newname); err != nil {
		return err
	}
	return f.FS.Link(oldname, newname)
}

func (f *testFS) Rename(oldname, newname string) error {
	if err := f.change("rename", newname); err != nil {
		return err
	}
	return f.FS.Rename(oldname, newname)
}

func (f *testFS) Remove(name string) error {
	if err := f.change("remove", name); err != nil {
		return err
	}
	return f.FS.Remove(name)
}

func (f *testFS) Lock(name string) (io.Closer, error) { return f.FS.Lock(name) }

func (f *testFS) Unwrap() vfs.FS { return f.FS }

type testFile struct {
	vfs.File
	fs   *testFS
	name string
}

func (f *testFile) Write(p []byte) (int, error) {
	if err := f.fs.change("write", f.name); err != nil {
		// Half of it, as a disk that is full does.
		n, _ := f.File.Write(p[:len(p)/2])
		return n, err
	}
	return f.File.Write(p)
}

func (f *testFile) Sync() error {
	if err := f.fs.change("sync", f.name); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f *testFile) SyncData() error {
	if err := f.fs.change("sync", f.name); err != nil {
		return err
	}
	return f.File.SyncData()
}

func (f *testFile) SyncTo(n int64) (bool, error) {
	if err := f.fs.change("sync", f.name); err != nil {
		return false, err
	}
	return f.File.SyncTo(n)
}
