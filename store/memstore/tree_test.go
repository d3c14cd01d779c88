package memstore

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Every tree ever made is compared with its own map at the end: sets and deletes
// that changed a shared node would show in an older one.
func TestTreeIsAMapAndASnapshot(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var now tree[int]
	model := map[string]int{}
	var trees []tree[int]
	var models []map[string]int
	for i := range 2000 {
		key := strconv.Itoa(r.IntN(200))
		if r.IntN(3) == 0 {
			now = now.delete(key)
			delete(model, key)
		} else {
			now = now.set(key, i)
			model[key] = i
		}
		trees, models = append(trees, now), append(models, maps.Clone(model))
	}
	for i, tr := range trees {
		start, end := strconv.Itoa(r.IntN(200)), strconv.Itoa(r.IntN(200))
		if i%5 == 0 {
			end = ""
		}
		var want, up, down []string
		for _, k := range slices.Sorted(maps.Keys(models[i])) {
			if k >= start && (end == "" || k < end) {
				want = append(want, k)
			}
		}
		tr.ascend(start, end, func(k string, v int) bool {
			if v != models[i][k] {
				t.Errorf("tree %d: %q is %d, want %d", i, k, v, models[i][k])
			}
			up = append(up, k)
			return true
		})
		tr.descend(start, end, func(k string, _ int) bool { down = append(down, k); return true })
		slices.Reverse(down)
		if d := cmp.Diff(want, up); d != "" {
			t.Fatalf("tree %d: ascend(%q, %q): %s", i, start, end, d)
		}
		if d := cmp.Diff(want, down); d != "" {
			t.Fatalf("tree %d: descend(%q, %q): %s", i, start, end, d)
		}
		if tr.len() != len(models[i]) {
			t.Errorf("tree %d: len() = %d, want %d", i, tr.len(), len(models[i]))
		}
	}
}

func TestTreeStopsWhenToldTo(t *testing.T) {
	var tr tree[int]
	for i := range 100 {
		tr = tr.set(strconv.Itoa(i), i)
	}
	for _, walk := range []func(string, string, func(string, int) bool){tr.ascend, tr.descend} {
		n := 0
		walk("", "", func(string, int) bool { n++; return n < 7 })
		if n != 7 {
			t.Errorf("called yield %d times, want 7", n)
		}
	}
}
