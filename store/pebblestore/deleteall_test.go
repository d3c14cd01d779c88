package pebblestore

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perdure/perdure/store"
)

func fill(t *testing.T, s *Store, o store.Object, n int) *store.Header {
	t.Helper()
	b := &store.Batch{Object: o, Header: new(store.Header)}
	for i := range n {
		b.Ops = append(b.Ops, store.Op{Key: fmt.Sprintf("%06d", i)})
	}
	if err := s.Apply(b).Wait(); err != nil {
		t.Fatal(err)
	}
	return b.Header
}

// Small objects leave no range deletion behind, which every reader would pay for.
func TestDeleteAllOfSmallObjectsDeletesKeys(t *testing.T) {
	s := openMem(t, vfs.NewMem())
	o := store.Object{Namespace: 1}
	for _, n := range []int{0, 1, maxPointDeletes, maxPointDeletes + 1} {
		h := fill(t, s, o, n)
		batch := s.db.NewBatch()
		ranges, err := s.deleteAll(batch, &o)
		if err != nil {
			t.Fatal(err)
		}
		want := n
		if n > maxPointDeletes {
			want = 1
		}
		if got := int(batch.Count()); got != want || ranges != (n > maxPointDeletes) {
			t.Errorf("DeleteAll of %d keys is %d operations, by range: %v; want %d", n, got, ranges, want)
		}
		batch.Close()
		if err := s.Apply(&store.Batch{Object: o, Prev: h, DeleteAll: true}).Wait(); err != nil {
			t.Fatal(err)
		}
	}
}

// Range deletions do not pile up in memory, however many large objects are deleted.
func TestRangeDeletionsAreFlushed(t *testing.T) {
	s, err := Open("data", &Options{FS: vfs.NewMem()}) // memory enough for all of it
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	object := func(i int) store.Object { return store.Object{Namespace: 1, ID: [32]byte{byte(i)}} }
	var h *store.Header
	for i := range maxRangeDeletes {
		h = fill(t, s, object(i), maxPointDeletes+1)
	}
	if err := s.db.Flush(); err != nil {
		t.Fatal(err)
	}
	flushes := s.db.Metrics().Flush.Count
	for i := range maxRangeDeletes {
		if m := s.db.Metrics(); m.Flush.Count != flushes || m.MemTable.Count != 1 {
			t.Fatalf("a flush after %d range deletions", i)
		}
		if err := s.Apply(&store.Batch{Object: object(i), Prev: h, DeleteAll: true}).Wait(); err != nil {
			t.Fatal(err)
		}
	}
	if m := s.db.Metrics(); m.Flush.Count == flushes && m.MemTable.Count == 1 {
		t.Errorf("%d range deletions are in memory and no flush is under way", maxRangeDeletes)
	}
}
