package storetest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perdure/perdure/store"
)

// model is what a store should hold: plain maps.
type model struct {
	headers map[store.Object]store.Header
	keys    map[store.Object]map[string]string
}

// testHistory makes random batches, compares everything that can be read with a
// plain map as it goes, and reopens the store or lets the power fail now and then.
func testHistory(t *testing.T, h *Harness) {
	r := random(t)
	s := h.Store
	m := model{map[store.Object]store.Header{}, map[store.Object]map[string]string{}}
	var writers []*writer
	for namespace := range uint32(2) {
		for id := range byte(4) {
			writers = append(writers, &writer{s: s, o: object(namespace, id+1)})
		}
	}
	for step := range 1500 {
		w := writers[r.IntN(len(writers))]
		m.change(r, w)
		if r.IntN(4) == 0 {
			must(t, w.last)
			m.checkObject(t, r, s, w.o)
		}
		if step%100 == 99 {
			for _, w := range writers {
				if w.last != nil {
					must(t, w.last)
				}
			}
			switch r.IntN(3) {
			case 0:
				if h.Reopen != nil {
					if err := s.Close(); err != nil {
						t.Fatalf("Close() = %v", err)
					}
					s = h.Reopen(t)
					for _, w := range writers {
						w.s, w.last = s, nil
					}
				}
			case 1:
				if h.Image != nil {
					m.checkAll(t, h.Image(r.IntN(101), r.Uint64())(t))
				}
			}
			m.checkAll(t, s)
		}
		if t.Failed() {
			t.Fatalf("stopped at step %d", step)
		}
	}
}

func randomKey(r *rand.Rand) string {
	k := ""
	for range r.IntN(3) {
		k += string([]byte{[]byte{0, 'a', 'b', 0xff}[r.IntN(4)]})
	}
	return k
}

// change applies a random batch to w and the model.
func (m *model) change(r *rand.Rand, w *writer) {
	b := &store.Batch{}
	if r.IntN(10) == 0 {
		b.DeleteAll = true
		delete(m.keys, w.o)
		if r.IntN(2) == 0 {
			delete(m.headers, w.o)
			w.batch(b, nil)
			return
		}
	}
	if m.keys[w.o] == nil {
		m.keys[w.o] = map[string]string{}
	}
	ops := map[string]store.Op{}
	for range r.IntN(6) {
		k := randomKey(r)
		if r.IntN(3) == 0 {
			ops[k] = del(k)
			delete(m.keys[w.o], k)
		} else {
			v := fmt.Sprint(r.IntN(1000))
			ops[k] = put(k, v)
			m.keys[w.o][k] = v
		}
	}
	for _, k := range slices.Sorted(maps.Keys(ops)) {
		b.Ops = append(b.Ops, ops[k])
	}
	w.batch(b, func(h *store.Header) {
		switch r.IntN(6) {
		case 0:
			h.Size = r.Int64N(1 << 50)
		case 1:
			h.Named, h.Name = true, fmt.Sprintf("n%d/%x", r.IntN(3), w.o.ID[31]) // unique in its namespace
		case 2:
			h.Alarm = store.Alarm{Due: 1 + r.Int64N(1000), Retries: r.IntN(3)}
			h.Alarm.Next = h.Alarm.Due + int64(h.Alarm.Retries)*2000
		case 3:
			h.Alarm = store.Alarm{}
		}
	})
	m.headers[w.o] = *w.h
}

func (m *model) entries(o store.Object, r store.Range) []entry {
	var want []entry
	for _, k := range slices.Sorted(maps.Keys(m.keys[o])) {
		if r.Contains(k) {
			want = append(want, entry{k, m.keys[o][k]})
		}
	}
	if r.Reverse {
		slices.Reverse(want)
	}
	return want
}

func (m *model) checkObject(t *testing.T, r *rand.Rand, s store.Store, o store.Object) {
	t.Helper()
	q := store.Range{Start: randomKey(r), End: randomKey(r), Reverse: r.IntN(2) == 0}
	if d := cmp.Diff(m.entries(o, q), scan(t, s, o, q)); d != "" {
		t.Errorf("Scan(%v, %+v): %s", o, q, d)
	}
	keys := []string{randomKey(r), randomKey(r), randomKey(r)}
	got, err := s.Get(ctx, o, keys...)
	if err != nil {
		t.Fatalf("Get = %v", err)
	}
	for i, k := range keys {
		want, ok := m.keys[o][k]
		if (got[i] != nil) != ok || string(got[i]) != want {
			t.Errorf("Get(%q) = %q, want %q (%v)", k, got[i], want, ok)
		}
	}
}

func (m *model) checkAll(t *testing.T, s store.Store) {
	t.Helper()
	var due []store.Due
	for namespace := range uint32(3) {
		var wantObjects []store.Object
		var wantNames []string
		for id := range byte(10) {
			o := object(namespace, id)
			l := load(t, s, o)
			if d := cmp.Diff(m.entries(o, store.Range{}), scan(t, s, o, store.Range{})); d != "" {
				t.Errorf("Scan(%v): %s", o, d)
			}
			want, ok := m.headers[o]
			if !ok {
				if l.Header != nil || !l.Whole || l.Entries != nil {
					t.Errorf("Load(%v) of nothing = %+v", o, l)
				}
				continue
			}
			if l.Header == nil || *l.Header != want {
				t.Errorf("Load(%v) = %+v, want %+v", o, l.Header, want)
			}
			if l.Whole {
				var got []entry
				for _, op := range l.Entries {
					got = append(got, entry{op.Key, string(op.Value)})
				}
				if d := cmp.Diff(m.entries(o, store.Range{}), got); d != "" {
					t.Errorf("Load(%v) whole: %s", o, d)
				}
			}
			wantObjects = append(wantObjects, o)
			if want.Named {
				wantNames = append(wantNames, want.Name)
			}
			if want.Alarm != (store.Alarm{}) {
				due = append(due, store.Due{Object: o, Alarm: want.Alarm})
			}
		}
		slices.Sort(wantNames)
		if d := cmp.Diff(wantObjects, objects(t, s, namespace, [32]byte{})); d != "" {
			t.Errorf("Objects(%d): %s", namespace, d)
		}
		if d := cmp.Diff(wantNames, names(t, s, namespace, "", nil)); d != "" {
			t.Errorf("Names(%d): %s", namespace, d)
		}
	}
	// The order among alarms of the same time is the engine's.
	byTime := func(a, b store.Due) int {
		if a.Alarm.Next != b.Alarm.Next {
			return int(a.Alarm.Next - b.Alarm.Next)
		}
		return slices.Compare([]byte(a.Object.String()), []byte(b.Object.String()))
	}
	got := alarms(t, s, 100)
	if !slices.IsSortedFunc(got, func(a, b store.Due) int { return int(a.Alarm.Next - b.Alarm.Next) }) {
		t.Errorf("Alarms are out of order: %v", got)
	}
	slices.SortFunc(due, byTime)
	slices.SortFunc(got, byTime)
	if d := cmp.Diff(due, append([]store.Due(nil), got...)); d != "" {
		t.Errorf("Alarms: %s", d)
	}
}
