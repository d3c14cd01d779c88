package durable_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/store"
	"github.com/perdure/perdure/store/memstore"
)

// with opens s with classes of the given names and runs fn.
func with(t *testing.T, s *memstore.Store, classes []string, fn func(rt *durable.Runtime)) *memstore.Store {
	t.Helper()
	var opts durable.Options
	for _, name := range classes {
		opts.Classes = append(opts.Classes, class(name, nil))
	}
	image := s.Image()
	rt, err := durable.Open(image, &opts)
	if err != nil {
		t.Fatalf("Open with %q: %v", classes, err)
	}
	fn(rt)
	image = image.Image()
	if err := rt.Close(); err != nil {
		t.Fatal(err)
	}
	return image
}

func countObjects(t *testing.T, n *durable.Namespace) (count int) {
	t.Helper()
	for _, err := range n.Objects(t.Context(), durable.ID{}) {
		if err != nil {
			t.Fatal(err)
		}
		count++
	}
	return count
}

func migrate(t *testing.T, s *memstore.Store, m durable.Migration) {
	t.Helper()
	if err := durable.Migrate(s, m); err != nil {
		t.Fatalf("Migrate: %v", err)
	}
}

func TestMigrate(t *testing.T) {
	s := memstore.New(nil)
	migrate(t, s, durable.Migration{Create: []durable.ClassKey{{Name: "A"}, {Name: "B", UniqueKey: "seed-SessionStore"}}, Applied: []string{"v1"}})
	var idA, idB string
	s = with(t, s, []string{"A", "B"}, func(rt *durable.Runtime) {
		for _, name := range []string{"A", "B"} {
			for i := range 3 {
				must(t, t.Context(), rt.Namespace(name).Named(fmt.Sprint(i)), func(ctx context.Context, o *Obj) error { return o.put(ctx, name, i) })
			}
		}
		idA, idB = rt.Namespace("A").IDFromName("x").String(), rt.Namespace("B").IDFromName("x").String()
		if want := "d5aa96df7487d8cb6c1d2c85baa2016d521221dd27ef3774f9c55e3894b8f528"; idB != want {
			t.Errorf("the unique key does not count: id %v, want %v", idB, want)
		}
	})
	// Both change names at once: what was B is A now. Ids and data stay with the objects.
	migrate(t, s, durable.Migration{Rename: map[string]string{"A": "C", "B": "A"}, Applied: []string{"v1", "v2"}})
	s = with(t, s, []string{"A", "C"}, func(rt *durable.Runtime) {
		for name, old := range map[string]string{"A": "B", "C": "A"} {
			must(t, t.Context(), rt.Namespace(name).Named("2"), func(ctx context.Context, o *Obj) error {
				if n := o.get(ctx, old); n != 2 {
					t.Errorf("class %s: %d, want the 2 of %s", name, n, old)
				}
				return nil
			})
			if n := countObjects(t, rt.Namespace(name)); n != 3 {
				t.Errorf("class %s: %d objects, want 3", name, n)
			}
		}
		if got := rt.Namespace("C").IDFromName("x").String(); got != idA {
			t.Errorf("renamed: id %v, want %v", got, idA)
		}
		if got := rt.Namespace("A").IDFromName("x").String(); got != idB {
			t.Errorf("renamed: id %v, want %v", got, idB)
		}
	})
	migrate(t, s, durable.Migration{Delete: []string{"C"}, Applied: []string{"v1", "v2", "v3"}})
	applied, classes, err := durable.AppliedMigrations(s)
	if d := cmp.Diff([][]string{{"v1", "v2", "v3"}, {"A"}}, [][]string{applied, classes}); d != "" || err != nil {
		t.Errorf("AppliedMigrations: %v (-want +got):\n%s", err, d)
	}
	with(t, s, []string{"A", "C"}, func(rt *durable.Runtime) { // a class of that name begins empty
		if a, c := countObjects(t, rt.Namespace("A")), countObjects(t, rt.Namespace("C")); a != 3 || c != 0 {
			t.Errorf("%d and %d objects, want 3 and 0", a, c)
		}
	})
}

func TestMigrateRefuses(t *testing.T) {
	s := memstore.New(nil)
	migrate(t, s, durable.Migration{Create: []durable.ClassKey{{Name: "A"}, {Name: "B"}}})
	for what, m := range map[string]durable.Migration{
		"unknown class deleted": {Delete: []string{"X"}},
		"unknown class renamed": {Rename: map[string]string{"X": "Y"}},
		"name taken":            {Rename: map[string]string{"A": "B"}},
		"created twice":         {Create: []durable.ClassKey{{Name: "A"}}},
		"two of a name":         {Rename: map[string]string{"A": "C", "B": "C"}},
		"deleted and renamed":   {Delete: []string{"A"}, Rename: map[string]string{"A": "C"}},
	} {
		if err := durable.Migrate(s, m); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
	if _, classes, _ := durable.AppliedMigrations(s); len(classes) != 2 {
		t.Errorf("classes %q, want A and B", classes)
	}
}

// A crash at any batch of a deletion: repeating it finishes it, and until then the class cannot be used.
func TestMigrateAfterACrash(t *testing.T) {
	s := memstore.New(nil)
	s = with(t, s, []string{"A", "B"}, func(rt *durable.Runtime) {
		for i := range 5 {
			must(t, t.Context(), rt.Namespace("A").Named(fmt.Sprint(i)), func(ctx context.Context, o *Obj) error { return o.put(ctx, "n", i) })
		}
		must(t, t.Context(), rt.Namespace("B").Named("b"), func(ctx context.Context, o *Obj) error { return o.put(ctx, "n", 1) })
	})
	m := durable.Migration{Delete: []string{"A"}, Applied: []string{"v1"}}
	for k := range 5 {
		crashed := s.Image()
		n := 0
		crashed.FailCommits(func(*store.Batch) error {
			if n++; n > k {
				return errors.New("power lost")
			}
			return nil
		})
		if err := durable.Migrate(crashed, m); !errors.Is(err, store.ErrBroken) {
			t.Errorf("crash at batch %d: %v, want ErrBroken", k, err)
		}
		after := crashed.Crash()
		if rt, err := durable.Open(after.Image(), &durable.Options{Classes: []durable.Class{class("A", nil)}}); err == nil {
			t.Error("a class that is half deleted was opened")
			rt.Close()
		}
		migrate(t, after, m)
		with(t, after, []string{"A", "B"}, func(rt *durable.Runtime) {
			if a, b := countObjects(t, rt.Namespace("A")), countObjects(t, rt.Namespace("B")); a != 0 || b != 1 {
				t.Errorf("crash at batch %d: %d and %d objects, want 0 and 1", k, a, b)
			}
		})
	}
}
