package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perdure/perdure/store"
)

func testEmpty(t *testing.T, h *Harness) {
	o := object(1, 1)
	if d := cmp.Diff(store.Loaded{Whole: true}, load(t, h.Store, o)); d != "" {
		t.Errorf("Load of nothing: %s", d)
	}
	if got, err := h.Store.Get(ctx, o, "a", "b"); err != nil || len(got) != 2 || got[0] != nil || got[1] != nil {
		t.Errorf("Get of nothing = %v, %v, want two nils", got, err)
	}
	if got := scan(t, h.Store, o, store.Range{}); got != nil {
		t.Errorf("Scan of nothing = %v", got)
	}
	if got := objects(t, h.Store, 1, [32]byte{}); got != nil {
		t.Errorf("Objects of nothing = %v", got)
	}
	if got := names(t, h.Store, 1, "", nil); got != nil {
		t.Errorf("Names of nothing = %v", got)
	}
	if got := alarms(t, h.Store, 10); len(got) != 0 {
		t.Errorf("Alarms of nothing = %v", got)
	}
}

// Any bytes are a key, the empty string too, and any are a value.
func testBytes(t *testing.T, h *Harness) {
	w := &writer{s: h.Store, o: object(1, 1)}
	keys := []string{"", "\x00", "\x00\x00", "a", "a\x00", "a\x00b", "\xc3\x28", "\xff", "\xff\xff"}
	values := []string{"", "v", "\x00", "\xff\xfe", strings.Repeat("x", 100<<10)}
	var ops []store.Op
	var want []entry
	for i, k := range keys {
		v := values[i%len(values)]
		ops = append(ops, put(k, v))
		want = append(want, entry{k, v})
	}
	ops[0].Value = nil // stores an empty value
	must(t, w.apply(nil, ops...))

	if d := cmp.Diff(want, scan(t, h.Store, w.o, store.Range{})); d != "" {
		t.Errorf("Scan: %s", d)
	}
	got, err := h.Store.Get(ctx, w.o, append(keys, "b", "\x01")...)
	if err != nil {
		t.Fatalf("Get = %v", err)
	}
	for i, e := range want {
		if got[i] == nil || string(got[i]) != e.Value {
			t.Errorf("Get(%q) = %.10q (nil: %v), want %.10q", e.Key, got[i], got[i] == nil, e.Value)
		}
	}
	if got[len(keys)] != nil || got[len(keys)+1] != nil {
		t.Errorf("Get of absent keys = %q, want nils", got[len(keys):])
	}
	if got, err := h.Store.Get(ctx, w.o); err != nil || len(got) != 0 {
		t.Errorf("Get() = %v, %v, want nothing", got, err)
	}
}

func testScan(t *testing.T, h *Harness) {
	w := &writer{s: h.Store, o: object(1, 1)}
	must(t, w.apply(nil, put("a", "1"), put("b", "2"), put("ba", "3"), put("c", "4"), put("\xff", "5")))
	must(t, w.apply(nil, put("b", "two"), del("c"), del("never there"), put("d", "6")))
	for _, test := range []struct {
		r    store.Range
		want string
	}{
		{store.Range{}, "a b ba d \xff"},
		{store.Range{Start: "b"}, "b ba d \xff"},
		{store.Range{Start: "b", End: "d"}, "b ba"},
		{store.Range{End: "b"}, "a"},
		{store.Range{Start: "b", End: "b"}, ""},
		{store.Range{Start: "c", End: "b"}, ""},
		{store.Range{Start: "c", End: "b", Reverse: true}, ""},
		{store.Range{Start: "b", End: "b\x00"}, "b"},
		{store.Range{Start: "\xff\xff"}, ""},
		{store.Range{Start: "\xff"}, "\xff"},
		{store.Range{Start: "b", End: "\xff"}, "b ba d"},
		{store.Range{Reverse: true}, "\xff d ba b a"},
		{store.Range{Start: "b", End: "d", Reverse: true}, "ba b"},
		{store.Range{End: "b\x00", Reverse: true}, "b a"},
		{store.Range{Start: "b", Limit: 2}, "b ba"},
		{store.Range{Reverse: true, Limit: 1}, "\xff"},
	} {
		var got []string
		err := h.Store.Scan(ctx, w.o, test.r, func(k, v []byte) bool {
			got = append(got, string(k))
			// Limit is a hint: the caller stops.
			return test.r.Limit == 0 || len(got) < test.r.Limit
		})
		if s := strings.Join(got, " "); err != nil || s != test.want {
			t.Errorf("Scan(%+v) = %q, %v, want %q", test.r, s, err, test.want)
		}
	}
	if got := scan(t, h.Store, w.o, store.Range{Start: "b", End: "c"})[0]; got.Value != "two" {
		t.Errorf("value of b = %q, want the later one", got.Value)
	}
}

// Every range over every short string of a few bytes, against the definition.
func testScanAnyBytes(t *testing.T, h *Harness) {
	w := &writer{s: h.Store, o: object(7, 1)}
	keys := []string{""}
	for _, a := range []string{"\x00", "a", "\xff"} {
		keys = append(keys, a)
		for _, b := range []string{"\x00", "a", "\xff"} {
			keys = append(keys, a+b)
		}
	}
	slices.Sort(keys)
	var ops []store.Op
	for _, k := range keys {
		ops = append(ops, put(k, "v"+k))
	}
	must(t, w.apply(nil, ops...))
	for _, start := range keys {
		for _, end := range keys {
			for _, reverse := range []bool{false, true} {
				r := store.Range{Start: start, End: end, Reverse: reverse}
				var want []entry
				for _, k := range keys {
					if r.Contains(k) {
						want = append(want, entry{k, "v" + k})
					}
				}
				if reverse {
					slices.Reverse(want)
				}
				if d := cmp.Diff(want, scan(t, h.Store, w.o, r)); d != "" {
					t.Fatalf("Scan(%+v): %s", r, d)
				}
			}
		}
	}
}

// yield may call the store, also to change what is being scanned.
func testScanCallsStore(t *testing.T, h *Harness) {
	w := &writer{s: h.Store, o: object(1, 1)}
	must(t, w.apply(func(h *store.Header) { h.Named, h.Name = true, "n" }, put("a", "1"), put("b", "2"), put("c", "3")))
	var got []string
	err := h.Store.Scan(ctx, w.o, store.Range{}, func(k, v []byte) bool {
		got = append(got, string(k))
		if values, err := h.Store.Get(ctx, w.o, string(k)); err != nil || string(values[0]) == "" {
			t.Errorf("Get(%q) within Scan = %q, %v", k, values, err)
		}
		must(t, w.apply(nil, put("a0"+string(k), "new"), put(string(k), "changed")))
		return true
	})
	if err != nil {
		t.Fatalf("Scan = %v", err)
	}
	// Keys added behind the scan's back may be shown or not, the others exactly once.
	got = slices.DeleteFunc(got, func(k string) bool { return strings.HasPrefix(k, "a0") })
	if d := cmp.Diff([]string{"a", "b", "c"}, got); d != "" {
		t.Errorf("Scan: %s", d)
	}
	other := &writer{s: h.Store, o: object(1, 2)}
	err = h.Store.Objects(ctx, 1, [32]byte{}, func([32]byte, *store.Header) bool {
		must(t, other.apply(nil, put("k", "v")))
		return h.Store.Names(ctx, 1, "", nil, func(string, [32]byte) bool {
			must(t, other.apply(nil, put("l", "v")))
			return true
		}) == nil
	})
	if err != nil {
		t.Errorf("Objects = %v", err)
	}
}

// The caller owns what Get and Load return, and the engine what it was given
// once the commit is finished.
func testGetOwnership(t *testing.T, h *Harness) {
	w := &writer{s: h.Store, o: object(1, 1)}
	given := []byte("value")
	must(t, w.apply(nil, store.Op{Key: "k", Value: given}))
	copy(given, "WRONG")
	for range 2 {
		got, err := h.Store.Get(ctx, w.o, "k", "k")
		if err != nil || string(got[0]) != "value" || string(got[1]) != "value" {
			t.Fatalf("Get = %q, %v, want value twice", got, err)
		}
		copy(got[0], "WRONG")
		_ = append(got[0], "MORE"...)
		l := load(t, h.Store, w.o)
		l.Header.Size = 77
		for _, e := range l.Entries {
			copy(e.Value, "WRONG")
		}
	}
}

// Objects whose numbers are neighbours, or prefixes of each other's keys, do not
// see each other.
func testNeighbours(t *testing.T, h *Harness) {
	ff := object(1)
	for i := range ff.ID {
		ff.ID[i] = 0xff
	}
	max := ff
	max.Namespace = 0xffffffff
	all := []store.Object{object(0), object(0, 1), object(1), object(1, 1), object(1, 1, 0), object(1, 255), object(1, 1, 255), ff, object(2), object(256), max}
	writers := map[store.Object]*writer{}
	for i, o := range all {
		w := &writer{s: h.Store, o: o}
		writers[o] = w
		must(t, w.apply(func(h *store.Header) { h.Size = int64(i) + 1 }, put("", fmt.Sprint(i)), put("\xff\xff", fmt.Sprint(i))))
	}
	check := func(o store.Object, i int) {
		t.Helper()
		v := fmt.Sprint(i)
		want := []entry{{"", v}, {"\xff\xff", v}}
		if d := cmp.Diff(want, scan(t, h.Store, o, store.Range{})); d != "" {
			t.Errorf("Scan(%v): %s", o, d)
		}
		slices.Reverse(want)
		if d := cmp.Diff(want, scan(t, h.Store, o, store.Range{Reverse: true})); d != "" {
			t.Errorf("reverse Scan(%v): %s", o, d)
		}
		if got := load(t, h.Store, o).Header; got == nil || got.Size != int64(i)+1 {
			t.Errorf("Load(%v) = %+v, want size %d", o, got, i+1)
		}
	}
	for i, o := range all {
		check(o, i)
	}
	for i, o := range all {
		if i%2 == 0 {
			must(t, writers[o].batch(&store.Batch{DeleteAll: true}, nil))
		}
	}
	for i, o := range all {
		if i%2 == 1 {
			check(o, i)
		} else if got := scan(t, h.Store, o, store.Range{}); got != nil {
			t.Errorf("Scan(%v) after DeleteAll = %v", o, got)
		}
	}
	if d := cmp.Diff([]store.Object{object(1, 1), object(1, 255), ff}, objects(t, h.Store, 1, [32]byte{})); d != "" {
		t.Errorf("Objects(1): %s", d)
	}
}

// The header is what the last batch said, and the indexes follow it.
func testHeaderIndexes(t *testing.T, h *Harness) {
	w := &writer{s: h.Store, o: object(1, 1)}
	check := func(what string, name []string, alarm store.Alarm) {
		t.Helper()
		if d := cmp.Diff(w.h, load(t, h.Store, w.o).Header); d != "" {
			t.Errorf("%s: header: %s", what, d)
		}
		if d := cmp.Diff(name, names(t, h.Store, 1, "", nil)); d != "" {
			t.Errorf("%s: Names: %s", what, d)
		}
		var want, got []store.Due
		if alarm != (store.Alarm{}) {
			want = []store.Due{{Object: w.o, Alarm: alarm}}
		}
		got = append(got, alarms(t, h.Store, 10)...)
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: Alarms: %s", what, d)
		}
		err := h.Store.Objects(ctx, 1, [32]byte{}, func(id [32]byte, got *store.Header) bool {
			if d := cmp.Diff(w.h, got); d != "" {
				t.Errorf("%s: Objects: %s", what, d)
			}
			return true
		})
		if err != nil {
			t.Errorf("%s: Objects = %v", what, err)
		}
	}
	alarm := func(due int64, retries int, next int64) store.Alarm {
		return store.Alarm{Due: due, Retries: retries, Next: next}
	}
	must(t, w.apply(nil, put("k", "v")))
	check("unnamed", nil, store.Alarm{})
	must(t, w.apply(func(h *store.Header) { h.Size = 1 << 40 }))
	check("size", nil, store.Alarm{})
	name := "n\x00\xffname"
	must(t, w.apply(func(h *store.Header) { h.Named, h.Name = true, name }))
	check("named", []string{name}, store.Alarm{})
	must(t, w.apply(func(h *store.Header) { h.Alarm = alarm(1000, 0, 1000) }))
	check("alarm", []string{name}, alarm(1000, 0, 1000))
	must(t, w.apply(func(h *store.Header) { h.Alarm = alarm(1000, 3, 9000) }))
	check("retry", []string{name}, alarm(1000, 3, 9000))
	must(t, w.apply(func(h *store.Header) { h.Alarm.Retries = 4 }))
	check("retry at the same time", []string{name}, alarm(1000, 4, 9000))
	must(t, w.apply(nil, put("k", "w")))
	check("untouched", []string{name}, alarm(1000, 4, 9000))
	must(t, w.apply(func(h *store.Header) { h.Alarm = store.Alarm{} }))
	check("no alarm", []string{name}, store.Alarm{})
	must(t, w.apply(func(h *store.Header) { h.Name = "other" }))
	check("renamed", []string{"other"}, store.Alarm{})
	must(t, w.apply(func(h *store.Header) { h.Name = "" }))
	check("empty name", []string{""}, store.Alarm{})
	must(t, w.apply(func(h *store.Header) { h.Name = strings.Repeat("\xff", store.MaxName) }))
	check("longest name", []string{strings.Repeat("\xff", store.MaxName)}, store.Alarm{})
	must(t, w.apply(func(h *store.Header) { h.Alarm = alarm(7, 0, 7) }))
	must(t, w.batch(&store.Batch{DeleteAll: true}, func(h *store.Header) { h.Size = 0 }))
	check("DeleteAll that keeps the header", []string{w.h.Name}, alarm(7, 0, 7))
	must(t, w.batch(&store.Batch{DeleteAll: true}, nil))
	check("gone", nil, store.Alarm{})
	must(t, w.apply(func(h *store.Header) { h.Named, h.Name = true, "again" }))
	check("made again", []string{"again"}, store.Alarm{})
}

func testDeleteAll(t *testing.T, h *Harness) {
	w := &writer{s: h.Store, o: object(1, 1)}
	must(t, w.batch(&store.Batch{DeleteAll: true}, nil)) // of nothing
	must(t, w.apply(nil, put("a", "1"), put("b", "2")))
	must(t, w.batch(&store.Batch{DeleteAll: true, Ops: []store.Op{put("b", "3"), put("c", "4")}}, nil))
	if d := cmp.Diff([]entry{{"b", "3"}, {"c", "4"}}, scan(t, h.Store, w.o, store.Range{})); d != "" {
		t.Errorf("Scan after DeleteAll with Ops: %s", d)
	}
	w.apply(nil, put("d", "5")) // not waited for: DeleteAll deletes it all the same
	must(t, w.batch(&store.Batch{DeleteAll: true}, nil))
	if d := cmp.Diff(store.Loaded{Whole: true}, load(t, h.Store, w.o)); d != "" {
		t.Errorf("Load after DeleteAll: %s", d)
	}
	if got := objects(t, h.Store, 1, [32]byte{}); got != nil {
		t.Errorf("Objects after DeleteAll = %v", got)
	}
	must(t, w.apply(nil, put("e", "6")))
	if d := cmp.Diff([]entry{{"e", "6"}}, scan(t, h.Store, w.o, store.Range{})); d != "" {
		t.Errorf("Scan after re-creation: %s", d)
	}
}

// Large objects may be deleted by other means than small ones.
func testDeleteAllMany(t *testing.T, h *Harness) {
	before, after := &writer{s: h.Store, o: object(1, 1)}, &writer{s: h.Store, o: object(1, 3)}
	must(t, before.apply(nil, put("\xff", "1")))
	must(t, after.apply(nil, put("", "1")))
	for _, n := range []int{100, 4096, 4097, 20000} {
		w := &writer{s: h.Store, o: object(1, 2)}
		var ops []store.Op
		for i := range n {
			ops = append(ops, put(fmt.Sprintf("%06d", i), "v"))
		}
		w.apply(nil, ops...)
		must(t, w.batch(&store.Batch{DeleteAll: true, Ops: []store.Op{put("000001", "new"), put("z", "new")}}, nil))
		want := []entry{{"000001", "new"}, {"z", "new"}}
		if d := cmp.Diff(want, scan(t, h.Store, w.o, store.Range{})); d != "" {
			t.Errorf("Scan after DeleteAll of %d keys: %s", n, d)
		}
		must(t, w.batch(&store.Batch{DeleteAll: true}, nil))
	}
	for _, w := range []*writer{before, after} {
		if got := scan(t, h.Store, w.o, store.Range{}); len(got) != 1 {
			t.Errorf("Scan of a neighbour = %v, want its key", got)
		}
	}
}

func testObjects(t *testing.T, h *Harness) {
	var all []store.Object
	for i := range 20 {
		o := object(5, byte(i*10), 0)
		all = append(all, o)
		w := &writer{s: h.Store, o: o}
		must(t, w.apply(nil, put("k", "v"), put("l", "v")))
	}
	var got []store.Object
	after, pages := [32]byte{}, 0
	// The page's last id is the next page's cursor, which is exclusive; the zero
	// id is one as well, so that the object of that id is not shown.
	for n := -1; n != len(got); pages++ {
		n = len(got)
		err := h.Store.Objects(ctx, 5, after, func(id [32]byte, h *store.Header) bool {
			got = append(got, store.Object{Namespace: 5, ID: id})
			after = id
			return len(got) < n+6
		})
		if err != nil {
			t.Fatalf("Objects = %v", err)
		}
	}
	if d := cmp.Diff(all[1:], got); d != "" {
		t.Errorf("Objects by pages: %s", d)
	}
	if pages != 5 {
		t.Errorf("Objects was called %d times, want 5", pages)
	}
}

func testNames(t *testing.T, h *Harness) {
	all := []string{"", "\x00", "a", "a\x00", "a/", "a/1", "a/2", "a0", "b", "\xff", "\xff\xff"}
	for i, n := range all {
		w := &writer{s: h.Store, o: object(1, byte(100-i))}
		must(t, w.apply(func(h *store.Header) { h.Named, h.Name = true, n }))
	}
	for _, namespace := range []uint32{0, 2} {
		w := &writer{s: h.Store, o: object(namespace, 1)}
		must(t, w.apply(func(h *store.Header) { h.Named, h.Name = true, "elsewhere" }))
	}
	must(t, (&writer{s: h.Store, o: object(1, 200)}).apply(nil, put("without", "a name")))
	for _, prefix := range append(all, "a/3", "zz") {
		for _, after := range append([]string{"nil", "a/11", "z"}, all...) {
			cursor := &after
			if after == "nil" {
				cursor = nil
			}
			var want []string
			for _, n := range all {
				if strings.HasPrefix(n, prefix) && (cursor == nil || n > after) {
					want = append(want, n)
				}
			}
			if d := cmp.Diff(want, names(t, h.Store, 1, prefix, cursor)); d != "" {
				t.Errorf("Names(%q, after %q): %s", prefix, after, d)
			}
		}
	}
	calls := 0
	err := h.Store.Names(ctx, 1, "a", nil, func(name string, id [32]byte) bool {
		if want := object(1, byte(100-slices.Index(all, name))).ID; id != want {
			t.Errorf("Names: %q is %x, want %x", name, id, want)
		}
		calls++
		return calls < 2
	})
	if err != nil || calls != 2 {
		t.Errorf("Names = %v after %d calls, want 2", err, calls)
	}
}

func testAlarms(t *testing.T, h *Harness) {
	var want []store.Due
	for i, next := range []int64{1700000000000, 5, 255, 256, -3, 1 << 40, 7, 1 << 60} {
		w := &writer{s: h.Store, o: object(uint32(i%3), byte(i))}
		a := store.Alarm{Due: next - 1, Retries: i, Next: next}
		must(t, w.apply(func(h *store.Header) { h.Alarm = a }, put("k", "v")))
		want = append(want, store.Due{Object: w.o, Alarm: a})
	}
	slices.SortFunc(want, func(a, b store.Due) int { return int(min(1, max(-1, a.Alarm.Next-b.Alarm.Next))) })
	for _, limit := range []int{1, 3, len(want), 100} {
		if d := cmp.Diff(want[:min(limit, len(want))], alarms(t, h.Store, limit)); d != "" {
			t.Errorf("Alarms(%d): %s", limit, d)
		}
	}
	if got := alarms(t, h.Store, 0); len(got) != 0 {
		t.Errorf("Alarms(0) = %v, want none", got)
	}
	// Many at the same time: each once.
	seen := map[store.Object]bool{}
	for i := range 50 {
		w := &writer{s: h.Store, o: object(9, byte(i))}
		must(t, w.apply(func(h *store.Header) { h.Alarm = store.Alarm{Due: -50, Next: -50} }))
	}
	for _, d := range alarms(t, h.Store, 50) {
		if d.Object.Namespace != 9 || seen[d.Object] {
			t.Errorf("Alarms: %v is wrong or there twice", d)
		}
		seen[d.Object] = true
	}
	if len(seen) != 50 {
		t.Errorf("Alarms: %d of 50 at the same time", len(seen))
	}
}

func testMeta(t *testing.T, h *Harness) {
	s := h.Store
	for _, step := range []struct {
		key, old, value string // "-" is nil
		want            bool
	}{
		{"k", "x", "y", false},
		{"k", "", "y", false},
		{"k", "-", "1", true},
		{"k", "-", "2", false},
		{"k", "1", "2", true},
		{"k\x00", "-", "other", true},
		{"", "-", "empty key", true},
		{"k", "1", "3", false},
		{"k", "2", "", true},
		{"k", "-", "4", false},
		{"k", "", "-", true},
		{"k", "-", "-", true},
		{"k", "-", "5", true},
	} {
		bytes := func(v string) []byte {
			if v == "-" {
				return nil
			}
			return []byte(v)
		}
		before, err := s.Meta(ctx, step.key)
		if err != nil {
			t.Fatalf("Meta(%q) = %v", step.key, err)
		}
		got, err := s.SwapMeta(ctx, step.key, bytes(step.old), bytes(step.value))
		if err != nil || got != step.want {
			t.Errorf("SwapMeta(%q, %q, %q) = %v, %v, want %v", step.key, step.old, step.value, got, err, step.want)
		}
		want := before
		if step.want {
			want = bytes(step.value)
		}
		after, err := s.Meta(ctx, step.key)
		if err != nil || (after == nil) != (want == nil) || string(after) != string(want) {
			t.Errorf("Meta(%q) = %q, %v, want %q", step.key, after, err, want)
		}
	}
	if h.Image == nil {
		return
	}
	s = h.Image(0, 0)(t)
	for key, want := range map[string]string{"k": "5", "k\x00": "other", "": "empty key"} {
		if got, err := s.Meta(ctx, key); err != nil || string(got) != want {
			t.Errorf("Meta(%q) after a power failure = %q, %v, want %q", key, got, err, want)
		}
	}
}

func testSwapMetaConcurrently(t *testing.T, h *Harness) {
	const goroutines, each = 8, 20
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for done := 0; done < each; {
				old, err := h.Store.Meta(ctx, "n")
				if err != nil {
					t.Errorf("Meta = %v", err)
					return
				}
				ok, err := h.Store.SwapMeta(ctx, "n", old, []byte(string(old)+"x"))
				if err != nil {
					t.Errorf("SwapMeta = %v", err)
					return
				}
				if ok {
					done++
				}
			}
		})
	}
	wg.Wait()
	if got, err := h.Store.Meta(ctx, "n"); err != nil || len(got) != goroutines*each {
		t.Errorf("after %d swaps that succeeded the record is %d long (%v)", goroutines*each, len(got), err)
	}
}

func testWaitByMany(t *testing.T, h *Harness) {
	w := &writer{s: h.Store, o: object(1, 1)}
	for i := range 20 {
		c := w.apply(nil, put("k", fmt.Sprint(i)))
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 2 {
					if err := c.Wait(); err != nil {
						t.Errorf("Wait() = %v", err)
					}
				}
			})
		}
		wg.Wait()
	}
}

// When a batch's Wait returns nil, the earlier ones of the object are durable too,
// and the last value wins whether or not anybody waited in between.
func testPipelined(t *testing.T, h *Harness) {
	w := &writer{s: h.Store, o: object(1, 1)}
	const n = 500
	for i := range n {
		w.apply(nil, put("k", fmt.Sprint(i)), put(fmt.Sprintf("k%03d", i), "v"))
	}
	must(t, w.last)
	check := func(s store.Store) {
		t.Helper()
		got := scan(t, s, w.o, store.Range{})
		if len(got) != n+1 || got[0] != (entry{"k", fmt.Sprint(n - 1)}) {
			t.Errorf("Scan: %d keys, first %v; want %d, k = %d", len(got), got[0], n+1, n-1)
		}
	}
	check(h.Store)
	if h.Image != nil {
		check(h.Image(0, 1)(t))
	}
	// A batch that changes nothing waits for those before it all the same.
	for i := range 50 {
		w.apply(nil, put("last", fmt.Sprint(i)))
		must(t, w.batch(&store.Batch{}, func(*store.Header) {}))
		if h.Image == nil {
			continue
		}
		if got := scan(t, h.Image(0, 1)(t), w.o, store.Range{Start: "last"}); len(got) != 1 || got[0].Value != fmt.Sprint(i) {
			t.Fatalf("after an empty batch, a power failure leaves %v, want last = %d", got, i)
		}
	}
}

// If a batch is refused, so are those that name it as After; the object goes on
// from the state before, and other objects do not notice.
func testRefused(t *testing.T, h *Harness) {
	if h.Refuse == nil {
		t.Skip("the engine refuses no batch")
	}
	w, other := &writer{s: h.Store, o: object(1, 1)}, &writer{s: h.Store, o: object(1, 2)}
	must(t, w.apply(nil, put("k", "0")))
	before := w.h
	h.Refuse(w.o)
	var chain []store.Commit
	for i := range 3 {
		chain = append(chain, w.apply(func(h *store.Header) { h.Size++ }, put("k", "lost"), put(fmt.Sprint(i), "lost")))
	}
	must(t, other.apply(nil, put("k", "kept")))
	for i, c := range chain {
		if err := c.Wait(); !errors.Is(err, store.ErrRefused) {
			t.Errorf("Wait() of batch %d = %v, want ErrRefused", i, err)
		}
	}
	if d := cmp.Diff([]entry{{"k", "0"}}, scan(t, h.Store, w.o, store.Range{})); d != "" {
		t.Errorf("Scan after a refusal: %s", d)
	}
	w.h, w.last = before, nil
	must(t, w.apply(nil, put("k", "1")))
	if d := cmp.Diff([]entry{{"k", "1"}}, scan(t, h.Store, w.o, store.Range{})); d != "" {
		t.Errorf("Scan after the next batch: %s", d)
	}
}

// calls are all methods, for tests of how they fail.
func calls(s store.Store, c context.Context) map[string]func() error {
	o := object(1, 1)
	return map[string]func() error{
		"Load": func() error { _, err := s.Load(c, o); return err },
		"Get":  func() error { _, err := s.Get(c, o, "k"); return err },
		"Scan": func() error {
			return s.Scan(c, o, store.Range{}, func(k, v []byte) bool { return true })
		},
		"Objects": func() error {
			return s.Objects(c, 1, [32]byte{}, func([32]byte, *store.Header) bool { return true })
		},
		"Names": func() error {
			return s.Names(c, 1, "", nil, func(string, [32]byte) bool { return true })
		},
		"Alarms":   func() error { _, err := s.Alarms(c, nil, 10); return err },
		"Meta":     func() error { _, err := s.Meta(c, "k"); return err },
		"SwapMeta": func() error { _, err := s.SwapMeta(c, "k", nil, []byte("v")); return err },
	}
}

// apply is Apply and Wait.
func apply(s store.Store) error {
	return s.Apply(&store.Batch{Object: object(3, 3), Header: new(store.Header), Ops: []store.Op{put("k", "v")}}).Wait()
}

// A read whose context has ended says so. Nothing else comes of it.
func testContext(t *testing.T, h *Harness) {
	ended, cancel := context.WithCancel(ctx)
	cancel()
	for name, call := range calls(h.Store, ended) {
		if err := call(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s with a context that has ended = %v, want context.Canceled", name, err)
		}
	}
	for name, call := range calls(h.Store, ctx) {
		if err := call(); err != nil {
			t.Errorf("%s afterwards = %v", name, err)
		}
	}
}

func testClose(t *testing.T, h *Harness) {
	w := &writer{s: h.Store, o: object(1, 1)}
	c := w.apply(nil, put("k", "v"))
	if err := h.Store.Close(); err != nil {
		t.Fatalf("Close() = %v", err)
	}
	if err := c.Wait(); err != nil {
		t.Errorf("Wait() of a batch applied before Close = %v", err)
	}
	for name, call := range calls(h.Store, ctx) {
		if err := call(); !errors.Is(err, store.ErrClosed) {
			t.Errorf("%s after Close = %v, want ErrClosed", name, err)
		}
	}
	if err := apply(h.Store); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Wait() of a batch applied after Close = %v, want ErrClosed", err)
	}
	if err := h.Store.Close(); err != nil {
		t.Errorf("second Close() = %v", err)
	}
	if h.Reopen == nil {
		return
	}
	s := h.Reopen(t)
	if d := cmp.Diff([]entry{{"k", "v"}}, scan(t, s, w.o, store.Range{})); d != "" {
		t.Errorf("Scan after Reopen: %s", d)
	}
}

// Close waits for a scan under way; calls within it that come too late fail.
func testCloseWaits(t *testing.T, h *Harness) {
	w := &writer{s: h.Store, o: object(1, 1)}
	must(t, w.apply(nil, put("a", "1"), put("b", "2")))
	closed := make(chan error, 1)
	var got []string
	err := h.Store.Scan(ctx, w.o, store.Range{}, func(k, v []byte) bool {
		if len(got) == 0 {
			go func() { closed <- h.Store.Close() }()
			for apply(h.Store) == nil { // until Close has begun
				h.Store.Apply(&store.Batch{Object: object(3, 3), Prev: new(store.Header), DeleteAll: true}).Wait()
			}
		}
		got = append(got, string(k))
		return true
	})
	// Scan may end with ErrClosed, but may not crash or show something else.
	if err != nil && !errors.Is(err, store.ErrClosed) || err == nil && len(got) != 2 {
		t.Errorf("Scan while Close waits = %v, %q", err, got)
	}
	if err := <-closed; err != nil {
		t.Errorf("Close() = %v", err)
	}
}

// Many goroutines use many objects at once; each object's batches stay in order.
func testConcurrent(t *testing.T, h *Harness) {
	const goroutines, each = 16, 100
	stop := make(chan struct{})
	var readers, writers sync.WaitGroup
	readers.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			last := int64(-1 << 62)
			for _, d := range alarms(t, h.Store, 100) {
				if d.Alarm.Next < last {
					t.Errorf("Alarms out of order: %d after %d", d.Alarm.Next, last)
				}
				last = d.Alarm.Next
			}
			if n := len(objects(t, h.Store, 4, [32]byte{})); n > goroutines {
				t.Errorf("Objects shows %d, want at most %d", n, goroutines)
			}
			names(t, h.Store, 4, "w", nil)
		}
	})
	for g := range goroutines {
		writers.Go(func() {
			w := &writer{s: h.Store, o: object(4, byte(g+1))}
			for i := range each {
				v := fmt.Sprint(i)
				c := w.apply(func(h *store.Header) {
					h.Named, h.Name, h.Size = true, fmt.Sprintf("w%d", g), int64(i)
					h.Alarm = store.Alarm{Due: int64(i + 1), Next: int64(i + 1)}
				}, put("a", v), put("b", v))
				if i%3 == 0 {
					if err := c.Wait(); err != nil {
						t.Errorf("Wait() = %v", err)
						return
					}
					got, err := h.Store.Get(ctx, w.o, "a", "b")
					if err != nil || string(got[0]) != v || string(got[1]) != v {
						t.Errorf("Get = %q, %v, want %s twice", got, err, v)
						return
					}
				}
			}
			if err := w.last.Wait(); err != nil {
				t.Errorf("Wait() = %v", err)
			}
		})
	}
	writers.Wait()
	close(stop)
	readers.Wait()
	for g := range goroutines {
		o := object(4, byte(g+1))
		v := fmt.Sprint(each - 1)
		if d := cmp.Diff([]entry{{"a", v}, {"b", v}}, scan(t, h.Store, o, store.Range{})); d != "" {
			t.Errorf("Scan(%v): %s", o, d)
		}
	}
	if got := len(alarms(t, h.Store, 100)); got != goroutines {
		t.Errorf("%d alarms, want %d", got, goroutines)
	}
}
