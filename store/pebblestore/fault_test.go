package pebblestore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perdure/perdure/store"
)

// load commits from many goroutines, without pause, until something fails, and
// returns the error of each.
func load(s *Store, goroutines int) []error {
	errs := make([]error, goroutines)
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			o := store.Object{Namespace: 1, ID: [32]byte{byte(g)}}
			var prev *store.Header
			value := make([]byte, 2000)
			for i := 0; errs[g] == nil; i++ {
				h := &store.Header{Size: int64(i)}
				op := store.Op{Key: fmt.Sprint(i % 500), Value: value}
				errs[g] = s.Apply(&store.Batch{Object: o, Prev: prev, Header: h, Ops: []store.Op{op}}).Wait()
				prev = h
			}
		})
	}
	wg.Wait()
	return errs
}

func wantBroken(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, store.ErrBroken) {
		t.Errorf("%s = %v, want ErrBroken", what, err)
	}
}

// Whichever file cannot be written, everybody is told, nobody is left waiting,
// nothing is written any more, and the directory can be opened again.
func TestEachFileFails(t *testing.T) {
	for _, test := range []struct{ file, op string }{
		{".log", "write"}, {".log", "sync"}, {".log", "rename"},
		{".sst", "create"}, {".sst", "write"}, {".sst", "sync"},
		{"MANIFEST", "write"}, {"MANIFEST", "sync"},
	} {
		t.Run(test.file+" "+test.op, func(t *testing.T) { testFileFails(t, test.file, test.op) })
	}
}

func testFileFails(t *testing.T, file, op string) {
	fs := &testFS{FS: vfs.NewCrashableMem()}
	opts := small(fs)
	s, err := Open("data", opts)
	if err != nil {
		t.Fatal(err)
	}
	var hit, after atomic.Int64
	fs.mu.Lock()
	fs.fail = func(o, name string) error {
		if hit.Load() > 0 {
			after.Add(1)
		}
		if o == op && strings.Contains(name, file) {
			hit.Add(1)
			return syscall.ENOSPC
		}
		return nil
	}
	fs.mu.Unlock()
	for _, err := range load(s, 16) {
		wantBroken(t, "Wait()", err)
	}
	_, err = s.Get(ctx, store.Object{Namespace: 1}, "0")
	wantBroken(t, "Get", err)
	wantBroken(t, "Close()", s.Close())
	before := after.Load()
	if n := hit.Load(); n != 1 {
		t.Errorf("the disk failed %d times, but should not have been touched again", n)
	}
	fs.heal()
	s, err = Open("data", opts)
	if err != nil {
		t.Fatalf("Open after the failure = %v", err)
	}
	defer s.Close()
	if n := after.Load(); n != before {
		t.Errorf("the old store changed the disk after Close")
	}
	if _, err := s.Get(ctx, store.Object{Namespace: 1}, "0"); err != nil {
		t.Errorf("Get after the failure = %v", err)
	}
}

// stalls is a log handler that tells when writers begin to wait.
type stalls struct {
	slog.Handler
	begun chan struct{}
	once  *sync.Once
}

func (h stalls) Enabled(context.Context, slog.Level) bool { return true }
func (h stalls) WithAttrs([]slog.Attr) slog.Handler       { return h }

func (h stalls) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "writes wait for the disk" {
		h.once.Do(func() { close(h.begun) })
	}
	return nil
}

// Writers that wait for memory to be flushed, because the disk is slow, are told
// when the disk fails at last.
func TestFailureWhileWritersAreStalled(t *testing.T) {
	begun, release := make(chan struct{}), make(chan struct{})
	fs := &testFS{FS: vfs.NewCrashableMem()}
	opts := small(fs)
	opts.Logger = slog.New(stalls{slog.DiscardHandler, begun, new(sync.Once)})
	s, err := Open("data", opts)
	if err != nil {
		t.Fatal(err)
	}
	fs.mu.Lock()
	fs.gate = func(op, name string) {
		if strings.HasSuffix(name, ".sst") {
			<-release
		}
	}
	fs.fail = func(op, name string) error {
		if strings.HasSuffix(name, ".sst") {
			return syscall.EIO
		}
		return nil
	}
	fs.mu.Unlock()
	done := make(chan []error)
	go func() { done <- load(s, 16) }()
	<-begun
	close(release)
	for _, err := range <-done {
		wantBroken(t, "Wait()", err)
	}
	wantBroken(t, "Close()", s.Close())
}

// What Pebble calls fatal in one of its own goroutines breaks the store, but
// neither ends the process nor keeps Close from ending.
func TestFatalInBackground(t *testing.T) {
	s := openMem(t, vfs.NewCrashableMem())
	go pebbleLogger{s}.Fatalf("the world has ended: %d", 42)
	<-s.parked
	_, err := s.Get(ctx, store.Object{}, "k")
	wantBroken(t, "Get", err)
	if !strings.Contains(err.Error(), "the world has ended: 42") {
		t.Errorf("Get = %q, want Pebble's reason in it", err)
	}
	wantBroken(t, "Close()", s.Close())
	if err := s.Close(); err != nil {
		t.Errorf("second Close() = %v", err)
	}
}

// If Pebble can't be closed because one of its goroutines is stuck, the directory is
// free all the same.
func TestCloseWhenPebbleIsStuck(t *testing.T) {
	mem := vfs.NewCrashableMem()
	stuck, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	s := openMem(t, &hanging{FS: mem, stuck: stuck, release: release})
	for i := range 8 { // enough tables to be compacted
		fill(t, s, store.Object{Namespace: 1}, 2+i%2)
		if err := s.db.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	<-stuck
	go pebbleLogger{s}.Fatalf("stuck")
	<-s.parked
	wantBroken(t, "Close()", s.Close())
	s = openMem(t, mem)
	if got, err := s.Get(ctx, store.Object{Namespace: 1}, "000000"); err != nil || got[0] == nil {
		t.Errorf("Get after Open = %q, %v, want the value", got, err)
	}
}

// hanging is a file system that hangs when a table is opened.
type hanging struct {
	vfs.FS
	once           sync.Once
	stuck, release chan struct{}
}

func (h *hanging) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	if strings.HasSuffix(name, ".sst") {
		h.once.Do(func() { close(h.stuck) })
		<-h.release
	}
	return h.FS.Open(name, opts...)
}

// In a goroutine that came in through a method, the call returns.
func TestFatalInCall(t *testing.T) {
	s := openMem(t, vfs.NewCrashableMem())
	err := s.read(ctx, func() error {
		pebbleLogger{s}.Fatalf("the world has ended: %d", 42)
		return nil
	})
	wantBroken(t, "a read", err)
	wantBroken(t, "Close()", s.Close())
}

// A table that has vanished is fatal to Pebble.
func TestVanishedTable(t *testing.T) {
	fs := &vanishing{FS: vfs.NewCrashableMem()}
	s := openMem(t, fs)
	fill(t, s, store.Object{Namespace: 1}, 1)
	fs.gone.Store(true)
	if err := s.db.Flush(); err != nil {
		t.Fatal(err)
	}
	_, err := s.Get(ctx, store.Object{Namespace: 1}, "000000")
	wantBroken(t, "Get", err)
	_, err = s.Load(ctx, store.Object{Namespace: 1})
	wantBroken(t, "Load", err)
	wantBroken(t, "Close()", s.Close())
}

// vanishing is a file system that can't find tables.
type vanishing struct {
	vfs.FS
	gone atomic.Bool
}

func (v *vanishing) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	if v.gone.Load() && strings.HasSuffix(name, ".sst") {
		name += ".vanished"
	}
	return v.FS.Open(name, opts...)
}
