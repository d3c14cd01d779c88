package pgstore

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perdure/perdure/store"
	"github.com/perdure/perdure/store/pgstore/pgtest"
)

// The mapping is a format: it must never change.
func TestShardOf(t *testing.T) {
	for _, test := range []struct {
		o      store.Object
		shards uint32
		want   uint32
	}{
		{store.Object{}, 1024, 758},
		{store.Object{Namespace: 1}, 1024, 756},
		{store.Object{Namespace: 0xffffffff, ID: [32]byte{0: 1, 31: 0xff}}, 1024, 29},
		{store.Object{Namespace: 1}, 1, 0},
		{store.Object{Namespace: 1}, 1000, 556},
	} {
		if got := shardOf(test.o, test.shards); got != test.want {
			t.Errorf("shardOf(%v, %d) = %d, want %d", test.o, test.shards, got, test.want)
		}
	}
}

// A store over two databases behaves as one; if one of them is down, the shards of the
// other go on, also in a process that starts then.
func TestTwoDatabases(t *testing.T) {
	server := pgtest.Shared(t)
	proxy := pgtest.NewProxy(t, server.Addr())
	list := []string{server.Database(t), server.DSN(proxy.Addr, server.NewDatabase(t))}
	opts := Options{Shards: 7, Patience: 50 * time.Millisecond, Lease: 30 * time.Second}
	s := openAlone(t, opts, list...)
	var want []store.Due
	for shard := range uint32(7) {
		for n := range 40 {
			o := s.in(shard, n)
			h := &store.Header{Named: true, Name: fmt.Sprintf("%d/%02d", shard, n), Alarm: store.Alarm{Due: 1 + rand.Int64N(1000)}}
			h.Alarm.Next = h.Alarm.Due
			if err := s.Apply(&store.Batch{Object: o, Header: h, Ops: []store.Op{{Key: "k", Value: []byte("v")}}}).Wait(); err != nil {
				t.Fatal(err)
			}
			want = append(want, store.Due{Object: o, Alarm: h.Alarm})
		}
	}
	if got := s.dbs[1].Shards(); !slices.Equal(got, []uint32{1, 3, 5}) {
		t.Errorf("shards of database 1 = %v, want the odd ones", got)
	}
	ids, names := 0, 0
	var last [32]byte
	must(t, s.Objects(ctx, 1, [32]byte{}, func(id [32]byte, h *store.Header) bool {
		if ids++; slices.Compare(last[:], id[:]) > 0 {
			t.Errorf("Objects out of order")
		}
		last = id
		return true
	}))
	lastName := ""
	must(t, s.Names(ctx, 1, "", nil, func(name string, id [32]byte) bool {
		if names++; name <= lastName {
			t.Errorf("Names: %q after %q", name, lastName)
		}
		lastName = name
		return true
	}))
	// An id of zero bytes is not behind the cursor of zero bytes.
	if zero := 1; ids != len(want)-zero || names != len(want) {
		t.Errorf("%d objects and %d names of %d", ids, names, len(want))
	}
	for _, limit := range []int{1, 10, 60, 140, 300} {
		checkAlarms(t, s, want, nil, limit)
		checkAlarms(t, s, want, []uint32{2, 3, 6}, limit)
	}

	proxy.Cut()
	if err := s.Apply(&store.Batch{Object: s.in(1, 100), Header: testHeader}).Wait(); !errors.Is(err, store.ErrRefused) && !errors.Is(err, store.ErrUnknown) {
		t.Errorf("Wait() of a shard of the database that is down = %v", err)
	}
	wantRefused(t, "the next", s.Apply(&store.Batch{Object: s.in(1, 101), Header: testHeader}))
	if err := s.Apply(&store.Batch{Object: s.in(0, 100), Header: testHeader}).Wait(); err != nil {
		t.Errorf("Wait() of a shard of the other = %v", err)
	}
	if _, err := s.Load(ctx, s.in(1, 0)); err == nil {
		t.Error("Load from the database that is down succeeded")
	}
	if l, err := s.Load(ctx, s.in(2, 0)); err != nil || len(l.Entries) != 1 {
		t.Errorf("Load from the other = %+v, %v", l, err)
	}
	checkAlarms(t, s, want, []uint32{0, 2, 4, 6}, 10)
	if _, err := s.Alarms(ctx, []uint32{1, 3}, 10); err == nil {
		t.Error("Alarms of the database that is down succeeded")
	}
	opts.Standalone = false
	late := open(t, opts, list...)
	if l, err := late.Load(ctx, s.in(2, 0)); err != nil || len(l.Entries) != 1 {
		t.Errorf("Load in a process that started meanwhile = %+v, %v", l, err)
	}
	if _, err := late.dbs[1].Register(ctx, "late", "", nil); err == nil {
		t.Error("Register in the database that is down succeeded")
	}
	proxy.Heal()
	if err := s.Apply(&store.Batch{Object: s.in(1, 100), Header: testHeader}).Wait(); err != nil {
		t.Errorf("Wait() when the database is back = %v", err)
	}
	if l, err := late.Load(ctx, s.in(1, 0)); err != nil || len(l.Entries) != 1 {
		t.Errorf("Load when the database is back = %+v, %v", l, err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// checkAlarms compares Alarms with the definition.
func checkAlarms(t *testing.T, s *Store, all []store.Due, shards []uint32, limit int) {
	t.Helper()
	var want []int64
	for _, d := range all {
		if shards == nil || slices.Contains(shards, s.ShardOf(d.Object)) {
			want = append(want, d.Alarm.Next)
		}
	}
	slices.Sort(want)
	want = want[:min(limit, len(want))]
	got, err := s.Alarms(ctx, shards, limit)
	if err != nil {
		t.Fatalf("Alarms(%v, %d) = %v", shards, limit, err)
	}
	var next []int64
	seen := map[store.Object]bool{}
	for _, d := range got {
		next = append(next, d.Alarm.Next)
		if seen[d.Object] || !slices.Contains(all, d) || shards != nil && !slices.Contains(shards, s.ShardOf(d.Object)) {
			t.Errorf("Alarms(%v, %d): %v is there twice, wrong, or of another shard", shards, limit, d)
		}
		seen[d.Object] = true
	}
	if d := cmp.Diff(want, next); d != "" {
		t.Errorf("Alarms(%v, %d): %s", shards, limit, d)
	}
}

// A small object comes whole, in one round trip.
func TestLoadInOneRoundTrip(t *testing.T) {
	s := newStore(t, Options{})
	o := s.in(1, 0)
	h := &store.Header{Size: 30}
	ops := []store.Op{{Key: "a", Value: []byte("1")}, {Key: "b", Value: []byte("2")}}
	must(t, s.Apply(&store.Batch{Object: o, Header: h, Ops: ops}).Wait())
	load := func() store.Loaded {
		l, err := s.Load(ctx, o)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	load() // prepares the statement
	syncs := 0
	s.proxy.Hook(func(m pgtest.Message) pgtest.Fate {
		if m.Type == 'S' || m.Type == 'Q' {
			syncs++
		}
		return pgtest.Pass
	})
	l := load()
	s.proxy.Heal()
	if syncs != 1 {
		t.Errorf("Load took %d round trips, want 1", syncs)
	}
	if d := cmp.Diff(store.Loaded{Header: h, Whole: true, Entries: ops}, l); d != "" {
		t.Errorf("Load: %s", d)
	}
	large := *h
	large.Size = wholeSize + 1
	must(t, s.Apply(&store.Batch{Object: o, Prev: h, Header: &large}).Wait())
	if l := load(); l.Whole || l.Entries != nil || l.Header.Size != large.Size {
		t.Errorf("Load of a large object = %+v, want the header alone", l)
	}
}

// Whatever the tables held when a statement was planned, keys and objects are found by
// their indexes.
func TestByIndex(t *testing.T) {
	s := newStore(t, Options{})
	for n := range 20 {
		o := s.in(uint32(n%16), n/16)
		h := &store.Header{Size: 1, Named: true, Name: fmt.Sprint(n), Alarm: store.Alarm{Due: 1, Next: 1}}
		must(t, s.Apply(&store.Batch{Object: o, Header: h, Ops: []store.Op{{Key: "a"}, {Key: "b"}}}).Wait())
		must(t, s.Apply(&store.Batch{Object: o, Prev: h, Header: h, Ops: []store.Op{{Key: "a", Delete: true}, {Key: "b"}}}).Wait())
		_, err := s.Load(ctx, o)
		must(t, err)
		_, err = s.Get(ctx, o, "a", "b")
		must(t, err)
		for _, r := range []store.Range{{}, {Start: "a"}, {End: "b"}, {Start: "a", End: "b", Reverse: true}} {
			must(t, s.Scan(ctx, o, r, func(k, v []byte) bool { return true }))
		}
		must(t, s.Objects(ctx, 1, [32]byte{}, func([32]byte, *store.Header) bool { return true }))
		must(t, s.Names(ctx, 1, "1", nil, func(string, [32]byte) bool { return true }))
		_, err = s.Alarms(ctx, nil, 10)
		must(t, err)
		must(t, s.Apply(&store.Batch{Object: o, Prev: h, DeleteAll: true}).Wait())
	}
	must(t, s.Close()) // sessions report what they did when they end
	const tables = `FROM pg_stat_user_tables WHERE schemaname = 'perdure' AND relname IN ('keys', 'objects')`
	s.until("sessions have reported", `SELECT min(n_tup_del) >= 20 `+tables)
	// Each index was built by reading its table once.
	var read, built int
	must(t, s.db.QueryRow(ctx, `SELECT sum(seq_scan) `+tables).Scan(&read))
	must(t, s.db.QueryRow(ctx, `SELECT count(*) FROM pg_indexes WHERE schemaname = 'perdure' AND tablename IN ('keys', 'objects')`).Scan(&built))
	if read != built {
		t.Errorf("tables were read from end to end %d times, want %d", read, built)
	}
}
