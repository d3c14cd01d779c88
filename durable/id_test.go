package durable_test

import (
	"context"
	"strings"
	"testing"

	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/store/memstore"
)

// What workerd makes of unique key and name; see ID.
var idVectors = []struct{ uniqueKey, name, id string }{
	{"seed-SessionStore", "%", "b70d415cfc17f2f48e1c3458c6245bf64ffd88681312954a20ae2a3e1b4297a2"},
	{"seed-SessionStore", "A", "e62d47fcd9f90e6bc9e6cb286b93b296c9b8e48abf318556f95335dd9739dde4"},
	{"seed-SessionStore", "a", "e49d45bc4667c329a23cd51aaf7e2f89f00fd14f8f67c455cecb5adb9de7203d"},
	{"seed-SessionStore", "a/b", "e792af4dabd1e975c0b522e0cd9d44ddaefb49d2ca1ef1a644cfcee87c5377bd"},
	{"seed-SessionStore", "routes", "2ffd5f7a3372036ba87e7c50b502fef84dff1e5cb5db40f3ccade1ebde5a30dd"},
	{"seed-SessionStore", "x", "d5aa96df7487d8cb6c1d2c85baa2016d521221dd27ef3774f9c55e3894b8f528"},
	{"seed-SessionStore", "ü 日本", "ad87a0ac342fc8b56c6df3e1a4febfaf23ab6ccac4968490fef9fd2968be308e"},
	{"seed-CalendarCache", "e", "9d79f9f2cec89532426158adbb718a910670446e27d59b6279ed5fb0d836a9bb"},
	{"seed-CalendarCache", "h", "41d673c60f71e353cdceb068b0d364b1af9df73ab034361f705cabd899275078"},
	{"seed-CalendarCache", "u", "089b9e5b84876efd4e9da0a7e1973369d01b9ed4c53929555bcf767c7c28ed6d"},
}

func TestIDVectors(t *testing.T) {
	s := memstore.New(nil)
	for _, v := range idVectors {
		c := class(v.uniqueKey, &hooks{opts: durable.ClassOptions{UniqueKey: v.uniqueKey}})
		rt, err := durable.Open(s.Image(), &durable.Options{Classes: []durable.Class{c}})
		if err != nil {
			t.Fatal(err)
		}
		n := rt.Namespace(v.uniqueKey)
		id := n.IDFromName(v.name)
		if id.String() != v.id {
			t.Errorf("IDFromName(%q) with key %q = %v, want %v", v.name, v.uniqueKey, id, v.id)
		}
		if n.Named(v.name).ID() != id {
			t.Errorf("Named(%q).ID() differs from IDFromName", v.name)
		}
		for _, text := range []string{v.id, strings.ToUpper(v.id)} {
			if got, err := n.ParseID(text); got != id || err != nil {
				t.Errorf("ParseID(%q) = %v, %v, want %v", text, got, err, id)
			}
		}
		rt.Close()
	}
}

func TestIDs(t *testing.T) {
	rt := open(t, nil, &durable.Options{Classes: []durable.Class{class("Other", nil)}})
	n := rt.Namespace("Obj")
	for _, text := range []string{"", "xyz", strings.Repeat("g", 64), strings.Repeat("0", 64), strings.Repeat("0", 63), strings.Repeat("0", 66)} {
		_, err := n.ParseID(text)
		wantErr(t, text, err, durable.ErrInvalidID)
	}
	seen := make(map[durable.ID]bool)
	for range 1000 {
		id := n.NewID()
		if seen[id] {
			t.Fatalf("NewID returned %v twice", id)
		}
		seen[id] = true
		if got, err := n.ParseID(id.String()); got != id || err != nil {
			t.Fatalf("ParseID(%v) = %v, %v", id, got, err)
		}
	}
	if n.IDFromName("a") == rt.Namespace("Other").IDFromName("a") {
		t.Error("two classes share an id")
	}
}

// The name is known to the object where it was ever reached by name, after a crash too.
func TestNames(t *testing.T) {
	rt := open(t, nil, nil)
	long := strings.Repeat("n", 1025)
	for _, name := range []string{"", "a", "ü", "a\x00b", long} {
		must(t, t.Context(), rt.obj(name), func(ctx context.Context, o *Obj) error {
			if got, known := o.st.Name(); known != (name != long) || known && got != name {
				t.Errorf("Name() = %q, %v, want %q", got, known, name)
			}
			if o.st.ID() != rt.Namespace("Obj").IDFromName(name) {
				t.Errorf("ID() of %q is another one", name)
			}
			return o.put(ctx, "n", 1)
		})
	}
	after := openOn(t, rt.store.Crash(), nil, nil)
	n := after.Namespace("Obj")
	byID, err := n.Get(n.IDFromName("ü"))
	if err != nil {
		t.Fatal(err)
	}
	must(t, t.Context(), byID, func(_ context.Context, o *Obj) error {
		if got, known := o.st.Name(); got != "ü" || !known {
			t.Errorf("Name() = %q, %v, want ü", got, known)
		}
		return nil
	})
	unnamed, _ := n.Get(n.NewID())
	must(t, t.Context(), unnamed, func(_ context.Context, o *Obj) error {
		if got, known := o.st.Name(); known {
			t.Errorf("Name() = %q of an object without one", got)
		}
		return nil
	})
	var names []string
	for o, err := range n.Names(t.Context(), "", nil) {
		if err != nil {
			t.Fatal(err)
		}
		if o.ID != n.IDFromName(o.Name) {
			t.Errorf("Names: %q has another id", o.Name)
		}
		names = append(names, o.Name)
	}
	if got := strings.Join(names, ","); got != ",a,a\x00b,ü" {
		t.Errorf("Names() = %q", got)
	}
	objects := 0
	var last durable.ID
	for o, err := range n.Objects(t.Context(), durable.ID{}) {
		if err != nil {
			t.Fatal(err)
		}
		if o.ID.String() <= last.String() && objects > 0 {
			t.Error("Objects is not in order")
		}
		last = o.ID
		objects++
	}
	if objects != 5 {
		t.Errorf("%d objects, want 5", objects)
	}
	for range n.Objects(t.Context(), last) {
		t.Error("an object after the last")
	}
}

func TestBindings(t *testing.T) {
	rt := open(t, nil, &durable.Options{Bindings: map[string]string{"OBJ": "Obj"}, Vars: map[string]string{"A": "1"}})
	if rt.Namespace("OBJ").IDFromName("x") != rt.Namespace("Obj").IDFromName("x") {
		t.Error("a binding is another namespace than its class")
	}
	if rt.Namespace("nothing") != nil {
		t.Error("a namespace without a class")
	}
	must(t, t.Context(), rt.obj("a"), func(_ context.Context, o *Obj) error {
		if o.st.Namespace("OBJ") == nil || o.st.Namespace("nothing") != nil {
			t.Error("State.Namespace does not know the bindings")
		}
		if o.st.Var("A") != "1" || o.st.Var("B") != "" {
			t.Error("State.Var does not know the vars")
		}
		return nil
	})
	for what, opts := range map[string]*durable.Options{
		"binding without class":  {Bindings: map[string]string{"X": "Nothing"}},
		"two classes of a name":  {Classes: []durable.Class{class("A", nil), class("A", nil)}},
		"binding named as class": {Classes: []durable.Class{class("A", nil), class("B", nil)}, Bindings: map[string]string{"A": "B"}},
		"zero class":             {Classes: []durable.Class{{}}},
		"class without name":     {Classes: []durable.Class{class("", nil)}},
	} {
		if rt, err := durable.Open(memstore.New(nil), opts); err == nil {
			t.Errorf("%s: Open succeeded", what)
			rt.Close()
		}
	}
}
