package pebblestore

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perdure/perdure/store"
)

var benchValue = make([]byte, 100)

// rawDB opens Pebble with our options but without anything of ours in between.
func rawDB(b *testing.B) *pebble.DB {
	s := &Store{fs: &guardFS{FS: vfs.Default}, log: slog.New(slog.DiscardHandler)}
	o := s.options(Options{})
	o.FS = vfs.Default
	db, err := pebble.Open(b.TempDir(), o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	return db
}

func openBench(b *testing.B) *Store {
	s, err := Open(b.TempDir(), nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	return s
}

// share runs b.N operations over n goroutines.
func share(b *testing.B, n int, op func(g int, r *rand.Rand)) {
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for g := range n {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(g)))
			for left.Add(-1) >= 0 {
				op(g, r)
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
}

func benchKey(r *rand.Rand) string { return fmt.Sprintf("key%04d", r.IntN(1000)) }

// BenchmarkCommit compares durable commits of objects of their own, one key of a
// thousand each, with what Pebble does with the same keys.
func BenchmarkCommit(b *testing.B) {
	for _, n := range []int{1, 64, 256} {
		b.Run(fmt.Sprintf("raw/%d", n), func(b *testing.B) {
			db := rawDB(b)
			share(b, n, func(g int, r *rand.Rand) {
				o := store.Object{Namespace: 1, ID: [32]byte{byte(g)}}
				batch := db.NewBatch()
				batch.Set(append(appendObject(nil, tagKey, &o), benchKey(r)...), benchValue, nil)
				if err := batch.Commit(pebble.Sync); err != nil {
					b.Fatal(err)
				}
				batch.Close()
			})
		})
		b.Run(fmt.Sprintf("ours/%d", n), func(b *testing.B) {
			s := openBench(b)
			h := &store.Header{Size: 100}
			share(b, n, func(g int, r *rand.Rand) {
				o := store.Object{Namespace: 1, ID: [32]byte{byte(g)}}
				c := s.Apply(&store.Batch{Object: o, Prev: h, Header: h, Ops: []store.Op{{Key: benchKey(r), Value: benchValue}}})
				if err := c.Wait(); err != nil {
					b.Error(err)
				}
			})
		})
	}
}

// BenchmarkHotObject has 64 callers read and write one key of one object, in turn,
// and wait for durability out of turn.
func BenchmarkHotObject(b *testing.B) {
	o := store.Object{Namespace: 1}
	b.Run("raw", func(b *testing.B) {
		db := rawDB(b)
		key := append(appendObject(nil, tagKey, &o), "n"...)
		var mu sync.Mutex
		share(b, 64, func(g int, r *rand.Rand) {
			mu.Lock()
			if _, closer, err := db.Get(key); err == nil {
				closer.Close()
			}
			batch := db.NewBatch()
			batch.Set(key, benchValue, nil)
			if err := db.ApplyNoSyncWait(batch, pebble.Sync); err != nil {
				b.Error(err)
			}
			mu.Unlock()
			if err := batch.SyncWait(); err != nil {
				b.Error(err)
			}
			batch.Close()
		})
	})
	b.Run("ours", func(b *testing.B) {
		s := openBench(b)
		h := &store.Header{Size: 100}
		var mu sync.Mutex
		share(b, 64, func(g int, r *rand.Rand) {
			mu.Lock()
			if _, err := s.Get(ctx, o, "n"); err != nil {
				b.Error(err)
			}
			c := s.Apply(&store.Batch{Object: o, Prev: h, Header: h, Ops: []store.Op{{Key: "n", Value: benchValue}}})
			mu.Unlock()
			if err := c.Wait(); err != nil {
				b.Error(err)
			}
		})
	})
}

// BenchmarkLoad reads an object of a few keys, whole and header only.
func BenchmarkLoad(b *testing.B) {
	s := openBench(b)
	for i, size := range []int64{100, wholeSize + 1} {
		o := store.Object{Namespace: uint32(i)}
		batch := &store.Batch{Object: o, Header: &store.Header{Size: size}, Ops: []store.Op{{Key: "a"}, {Key: "b"}, {Key: "c"}}}
		if err := s.Apply(batch).Wait(); err != nil {
			b.Fatal(err)
		}
	}
	for i, name := range []string{"whole", "header", "absent"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Load(ctx, store.Object{Namespace: uint32(i)}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("get", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := s.Get(ctx, store.Object{}, "b"); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkDeleteAll writes and deletes 100,000 objects one by one, and reports the
// rate of each tenth, which should stay flat.
func BenchmarkDeleteAll(b *testing.B) {
	for b.Loop() {
		s := openBench(b)
		for tenth := range 10 {
			b.StartTimer()
			start := b.Elapsed()
			var wg sync.WaitGroup
			for g := range 50 {
				wg.Go(func() {
					for i := range 200 {
						o := store.Object{Namespace: 1, ID: [32]byte{byte(tenth), byte(g), byte(i)}}
						h := &store.Header{Size: 10}
						s.Apply(&store.Batch{Object: o, Header: h, Ops: []store.Op{{Key: "a"}, {Key: "b"}, {Key: "c"}}})
						c := s.Apply(&store.Batch{Object: o, Prev: h, DeleteAll: true})
						if err := c.Wait(); err != nil {
							b.Error(err)
						}
						if _, err := s.Get(ctx, store.Object{Namespace: 2}, "k"); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
			b.Logf("objects %6d: %.0f/s", (tenth+1)*10000, 10000/(b.Elapsed()-start).Seconds())
		}
	}
}
