// Package storetest is the contract of package store in executable form. An
// engine's tests call [Run], and [Kill] if it survives its process.
//
// The random tests print their seed; PERDURE_SEED sets it.
package storetest

import (
	"context"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/perdure/perdure/store"
)

// Harness is an engine under test. Store is open; whoever opens a store sees to
// its end with t.Cleanup. Abilities that an engine lacks are nil.
type Harness struct {
	Store store.Store

	// Reopen opens the data again after Store was closed, faults removed.
	Reopen func(t *testing.T) store.Store

	// Image returns a function that opens a copy of what a power failure at the
	// moment of the call to Image might have left. About keep percent of what was
	// not synced is in it, chosen by seed. Store is not affected.
	Image func(keep int, seed uint64) func(t *testing.T) store.Store

	// EachStep has f called before each change of the disk, one call at a time. f
	// may call Image. Engines without steps are imaged after each batch.
	EachStep func(f func())

	// Fail makes the engine's k-th operation (from 0) of a kind fail, counted from
	// now, and all of that kind after it.
	Fail func(kind Fault, k int)

	// Heal takes the faults away from a store that is open. An engine has it if its disk
	// is elsewhere, so that a failure does not break it: batches then end as refused or
	// unknown, and the store goes on. Nil: a failure breaks the store.
	Heal func()

	// Refuse makes the engine refuse the next batch of an object.
	Refuse func(o store.Object)
}

// Fault is a way for a disk to fail.
type Fault string

// The faults.
const (
	WriteError Fault = "write error"
	SyncError  Fault = "sync error"
	DiskFull   Fault = "disk full"
)

// Run tests an engine. open is called for each test and opens an empty store.
func Run(t *testing.T, open func(t *testing.T) *Harness) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, h *Harness)
	}{
		{"Empty", testEmpty},
		{"Bytes", testBytes},
		{"Scan", testScan},
		{"ScanAnyBytes", testScanAnyBytes},
		{"ScanCallsStore", testScanCallsStore},
		{"GetOwnership", testGetOwnership},
		{"Neighbours", testNeighbours},
		{"HeaderIndexes", testHeaderIndexes},
		{"DeleteAll", testDeleteAll},
		{"DeleteAllMany", testDeleteAllMany},
		{"Objects", testObjects},
		{"Names", testNames},
		{"Alarms", testAlarms},
		{"Meta", testMeta},
		{"SwapMetaConcurrently", testSwapMetaConcurrently},
		{"WaitByMany", testWaitByMany},
		{"Pipelined", testPipelined},
		{"Refused", testRefused},
		{"Context", testContext},
		{"Close", testClose},
		{"CloseWaits", testCloseWaits},
		{"Concurrent", testConcurrent},
		{"History", testHistory},
		{"Images", testImages},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
	t.Run("Faults", func(t *testing.T) { testFaults(t, open) })
}

var ctx = context.Background()

// random returns a source of randomness whose seed is logged.
func random(t *testing.T) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if v := os.Getenv("PERDURE_SEED"); v != "" {
		var err error
		if seed, err = strconv.ParseUint(v, 10, 64); err != nil {
			t.Fatalf("PERDURE_SEED: %v", err)
		}
	}
	t.Logf("PERDURE_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// object makes an id that ends in the bytes given.
func object(namespace uint32, id ...byte) store.Object {
	o := store.Object{Namespace: namespace}
	copy(o.ID[32-len(id):], id)
	return o
}

// writer applies batches to one object as package durable does: one at a time,
// each naming the one before it.
type writer struct {
	s    store.Store
	o    store.Object
	h    *store.Header
	last store.Commit
}

func put(key, value string) store.Op { return store.Op{Key: key, Value: []byte(value)} }
func del(key string) store.Op        { return store.Op{Key: key, Delete: true} }

// apply changes the header by edit (nil: not at all) and the keys by ops.
func (w *writer) apply(edit func(*store.Header), ops ...store.Op) store.Commit {
	return w.batch(&store.Batch{Ops: ops}, edit)
}

// batch completes b and applies it. A nil header stays nil if edit is nil and b
// has no ops.
func (w *writer) batch(b *store.Batch, edit func(*store.Header)) store.Commit {
	slices.SortFunc(b.Ops, func(a, b store.Op) int { return strings.Compare(a.Key, b.Key) })
	b.Object, b.Prev, b.After = w.o, w.h, w.last
	if edit != nil || len(b.Ops) > 0 {
		h := new(store.Header)
		if w.h != nil {
			*h = *w.h
		}
		if edit != nil {
			edit(h)
		}
		b.Header = h
	}
	w.h = b.Header
	w.last = w.s.Apply(b)
	return w.last
}

// must waits for a commit that has to succeed.
func must(t *testing.T, c store.Commit) {
	t.Helper()
	if err := c.Wait(); err != nil {
		t.Fatalf("Wait() = %v", err)
	}
}

// entry is a key and its value.
type entry struct{ Key, Value string }

func scan(t *testing.T, s store.Store, o store.Object, r store.Range) []entry {
	t.Helper()
	var got []entry
	err := s.Scan(ctx, o, r, func(k, v []byte) bool {
		got = append(got, entry{string(k), string(v)})
		return true
	})
	if err != nil {
		t.Fatalf("Scan(%v, %+v) = %v", o, r, err)
	}
	return got
}

func load(t *testing.T, s store.Store, o store.Object) store.Loaded {
	t.Helper()
	l, err := s.Load(ctx, o)
	if err != nil {
		t.Fatalf("Load(%v) = %v", o, err)
	}
	return l
}

func objects(t *testing.T, s store.Store, namespace uint32, after [32]byte) []store.Object {
	t.Helper()
	var got []store.Object
	err := s.Objects(ctx, namespace, after, func(id [32]byte, h *store.Header) bool {
		got = append(got, store.Object{Namespace: namespace, ID: id})
		return true
	})
	if err != nil {
		t.Fatalf("Objects(%d) = %v", namespace, err)
	}
	return got
}

func names(t *testing.T, s store.Store, namespace uint32, prefix string, after *string) []string {
	t.Helper()
	var got []string
	err := s.Names(ctx, namespace, prefix, after, func(name string, id [32]byte) bool {
		got = append(got, name)
		return true
	})
	if err != nil {
		t.Fatalf("Names(%d, %q) = %v", namespace, prefix, err)
	}
	return got
}

func alarms(t *testing.T, s store.Store, limit int) []store.Due {
	t.Helper()
	got, err := s.Alarms(ctx, nil, limit)
	if err != nil {
		t.Fatalf("Alarms(%d) = %v", limit, err)
	}
	return got
}
