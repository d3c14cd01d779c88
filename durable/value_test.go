package durable_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"net/netip"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perdure/perdure/durable"
)

// roundTrip puts v and gets it into a new variable of its type, which held junk before.
func roundTrip(t *testing.T, o *Obj, ctx context.Context, v any) (got any, err error) {
	t.Helper()
	if err := o.st.Storage().Put(ctx, "v", v); err != nil {
		return nil, err
	}
	if v == nil {
		var a any = 1
		_, err := o.st.Storage().Get(ctx, "v", &a)
		return a, err
	}
	p := reflect.New(reflect.TypeOf(v))
	found, err := o.st.Storage().Get(ctx, "v", p.Interface())
	if err != nil || !found {
		return nil, fmt.Errorf("accepted, but not read back (found %v): %w", found, err)
	}
	return p.Elem().Interface(), nil
}

// same compares as a reader of the value would: times by moment and offset, NaN equal to NaN.
func same(a, b any) string {
	return cmp.Diff(a, b,
		cmp.Comparer(func(x, y time.Time) bool {
			_, ox := x.Zone()
			_, oy := y.Zone()
			return x.Equal(y) && ox == oy
		}),
		cmp.Comparer(func(x, y float64) bool { return math.Float64bits(x) == math.Float64bits(y) || x != x && y != y }),
		cmp.Comparer(func(x, y float32) bool { return math.Float32bits(x) == math.Float32bits(y) || x != x && y != y }),
		cmp.Comparer(func(x, y *big.Int) bool { return x == y || x != nil && y != nil && x.Cmp(y) == 0 }),
		cmp.Comparer(func(x, y big.Int) bool { return x.Cmp(&y) == 0 }),
		cmp.Comparer(func(x, y netip.Addr) bool { return x == y }),
		cmp.Comparer(func(x, y url.URL) bool { return x.String() == y.String() }),
	)
}

type Inner struct {
	S  string
	P  *int
	M  map[string]Inner
	At time.Time
}

type lower struct{ Promoted int }

type Everything struct {
	lower
	Inner
	B    bool
	I    int
	I8   int8
	U64  uint64
	F32  float32
	F64  float64
	Raw  []byte
	Arr  [3]int
	BArr [4]byte
	L    []Inner
	MI   map[int]string
	MB   map[bool]float64
	A    any
	Big  *big.Int
	BigV big.Int
	Addr netip.Addr
	URL  url.URL
	Dur  time.Duration
	Mon  time.Month
	JSON json.RawMessage
	PP   **string
	Tag  int `cbor:"renamed"`
	Skip int `cbor:"-"`
	mine int // unexported: not stored
}

func TestValuesReadBackEqual(t *testing.T) {
	rt := open(t, nil, &durable.Options{Limits: durable.Limits{ValueBytes: 1 << 20}})
	n := 5
	s := "x"
	ps := &s
	zone := time.FixedZone("", -(3*3600 + 30*60))
	huge, _ := new(big.Int).SetString("-123456789012345678901234567890", 10)
	cases := []any{
		nil, true, 0, -1, math.MaxInt64, math.MinInt64, uint64(math.MaxUint64), int8(-128), uint8(255),
		0.1, math.NaN(), math.Copysign(0, -1), math.Inf(1), math.Inf(-1), math.SmallestNonzeroFloat64, float32(0.1), float32(math.Inf(-1)),
		"", "a\x00b", "日本 😀", strings.Repeat("x", 1000), []byte{}, []byte(nil), []byte{0, 255},
		time.Date(2026, 11, 23, 1, 2, 3, 123456789, time.UTC), time.Date(2026, 1, 1, 0, 0, 0, 1, zone), time.Time{}, time.Now(),
		time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC), time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC), time.Unix(-1, 5).UTC(),
		time.Nanosecond, huge, *huge, big.NewInt(7), (*big.Int)(nil),
		[]int{}, []int(nil), []int{1, 2}, [2]string{"a", "b"}, map[string]int{}, map[string]int(nil), map[string]int{"": 1, "b": 2},
		map[int]string{-1: "a", 300: "b"}, map[[2]int]bool{{1, 2}: true}, struct{}{}, &n, (*int)(nil), &ps,
		map[string]any{"a": int64(1), "b": []any{"x", nil, true, 1.5, []byte{1}}, "c": map[string]any{}},
		[]any{int64(-1), int64(math.MaxInt64), math.NaN(), time.Date(2026, 1, 1, 0, 0, 0, 7, zone), "x"},
		json.RawMessage(`{"a": 1.0}`), netip.MustParseAddr("::1"),
		Everything{
			lower: lower{7}, Inner: Inner{S: "s", P: &n, M: map[string]Inner{"x": {S: "y"}}, At: time.Date(2026, 1, 1, 0, 0, 0, 9, zone)},
			B: true, I: -5, I8: 8, U64: 1 << 63, F32: 1.1, F64: -0.0, Raw: []byte("raw"), Arr: [3]int{1, 2, 3}, BArr: [4]byte{1, 2},
			L: []Inner{{S: "l"}, {}}, MI: map[int]string{1: "a"}, MB: map[bool]float64{true: 2}, A: map[string]any{"k": []any{int64(1)}},
			Big: huge, BigV: *huge, Addr: netip.MustParseAddr("10.0.0.1"), URL: url.URL{Scheme: "http", Host: "x", Path: "/y z"},
			Dur: time.Hour, Mon: time.May, JSON: json.RawMessage("1"), PP: &ps, Tag: 3,
		},
		Everything{},
		strings.Repeat("ü", 30000), make([]int, 5000),
	}
	must(t, t.Context(), rt.obj("a"), func(ctx context.Context, o *Obj) error {
		for _, v := range cases {
			got, err := roundTrip(t, o, ctx, v)
			if err != nil {
				t.Errorf("%T %.60v: %v", v, v, err)
			} else if d := cmpValues(v, got); d != "" {
				t.Errorf("%T (-put +got):\n%s", v, d)
			}
		}
		return nil
	})
}

func cmpValues(a, b any) string {
	if e, ok := a.(Everything); ok {
		f := b.(Everything)
		if e.lower != f.lower {
			return "promoted fields differ"
		}
		x, y := map[string]any{}, map[string]any{}
		for i, field := range reflect.VisibleFields(reflect.TypeOf(e)) {
			if i > 0 && len(field.Index) == 1 && field.IsExported() {
				x[field.Name] = reflect.ValueOf(e).FieldByIndex(field.Index).Interface()
				y[field.Name] = reflect.ValueOf(f).FieldByIndex(field.Index).Interface()
			}
		}
		return same(x, y)
	}
	return same(a, b)
}

// Numbers in an any keep their value: integers come back as int64, or big.Int beyond.
func TestNumbersInAny(t *testing.T) {
	rt := open(t, nil, nil)
	must(t, t.Context(), rt.obj("a"), func(ctx context.Context, o *Obj) error {
		big63 := *new(big.Int).SetUint64(1 << 63)
		for _, tt := range []struct{ put, want any }{
			{int(5), int64(5)}, {uint8(5), int64(5)}, {int64(-5), int64(-5)}, {uint64(1 << 63), big63}, {float32(0.5), 0.5},
			{[]string{"a"}, []any{"a"}}, {struct{ X int }{1}, map[string]any{"X": int64(1)}},
		} {
			if err := o.st.Storage().Put(ctx, "v", tt.put); err != nil {
				return err
			}
			var got any
			if _, err := o.st.Storage().Get(ctx, "v", &got); err != nil {
				return err
			}
			if d := same(tt.want, got); d != "" {
				t.Errorf("%T in an any (-want +got):\n%s", tt.put, d)
			}
		}
		return nil
	})
}

type Node struct {
	Next *Node
	L    []Node
}

type selfPointer *selfPointer

type textOnly struct{ s string }

func (x textOnly) MarshalText() ([]byte, error) { return []byte(x.s), nil }

func TestValuesThatCannotBeReadBack(t *testing.T) {
	cycle := &Node{}
	cycle.Next = cycle
	inList := Node{L: make([]Node, 1)}
	inList.L[0].L = inList.L
	inMap := map[string]any{}
	inMap["me"] = inMap
	var self selfPointer
	self = &self
	deep := &Node{}
	for range 100 {
		deep = &Node{Next: deep}
	}
	var deepAny any = 1
	for range 100 {
		deepAny = []any{deepAny}
	}
	long := 1 << 21
	rt := open(t, nil, &durable.Options{Limits: durable.Limits{ValueBytes: 64 << 20}})
	batches := recordBatches(rt.store)
	must(t, t.Context(), rt.obj("a"), func(ctx context.Context, o *Obj) error {
		for _, v := range []any{
			make(chan int), func() {}, struct{ F func() }{}, complex(1, 2),
			"\xff", []string{"ok", "\xff"}, map[string]int{"\xff": 1}, struct{ S any }{"\xff"},
			map[string]any{"x": map[int]int{1: 2}}, []any{map[any]any{"a": 1, 1: 2}},
			map[any]string{int8(1): "a", int64(1): "b"},
			cycle, inList, inMap, self, deep, deepAny,
			struct{ E error }{errBoom}, errBoom, &sync.Mutex{}, struct{ hidden int }{1}, struct{ T textOnly }{textOnly{"x"}},
			struct{ R fmt.Stringer }{time.Second},
			time.Date(2026, 1, 1, 0, 0, 0, 0, time.FixedZone("LMT", 3208)), []any{time.Date(2026, 1, 1, 0, 0, 0, 0, time.FixedZone("", 1))},
			time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC),
			make([]bool, long),
		} {
			if err := o.st.Storage().Put(ctx, "v", v); !errors.Is(err, durable.ErrEncode) {
				t.Errorf("Put of %T: %v, want ErrEncode", v, err)
			}
			wantErr(t, "PutMany", o.st.Storage().PutMany(ctx, map[string]any{"ok": 1, "v": v}), durable.ErrEncode)
		}
		return nil
	})
	if got := keysOf(batches()); len(got) > 0 {
		t.Errorf("something was written: %q", got)
	}
}

// Whatever is put, of random type and content, reads back equal or is refused.
func TestRandomValues(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	rt := open(t, nil, nil)
	must(t, t.Context(), rt.obj("a"), func(ctx context.Context, o *Obj) error {
		refused := 0
		for range 2000 {
			typ := randomType(r, 3)
			v := reflect.New(typ).Elem()
			fill(r, v, 3)
			got, err := roundTrip(t, o, ctx, v.Interface())
			if errors.Is(err, durable.ErrEncode) {
				refused++
				continue
			}
			if err != nil {
				t.Fatalf("%v %#v: %v", typ, v, err)
			}
			if d := same(v.Interface(), got); d != "" {
				t.Fatalf("%v (-put +got):\n%s", typ, d)
			}
		}
		if refused > 500 {
			t.Errorf("%d of 2000 were refused", refused)
		}
		return nil
	})
}

var leafTypes = []reflect.Type{
	reflect.TypeFor[bool](), reflect.TypeFor[int](), reflect.TypeFor[int16](), reflect.TypeFor[uint64](), reflect.TypeFor[float64](),
	reflect.TypeFor[float32](), reflect.TypeFor[string](), reflect.TypeFor[[]byte](), reflect.TypeFor[time.Time](), reflect.TypeFor[any](),
	reflect.TypeFor[*big.Int](), reflect.TypeFor[netip.Addr](), reflect.TypeFor[time.Duration](), reflect.TypeFor[Node](),
}

func randomType(r *rand.Rand, depth int) reflect.Type {
	if depth == 0 {
		return leafTypes[r.IntN(len(leafTypes))]
	}
	switch r.IntN(7) {
	case 0:
		return reflect.SliceOf(randomType(r, depth-1))
	case 1:
		return reflect.MapOf(leafTypes[[]int{1, 2, 3, 6}[r.IntN(4)]], randomType(r, depth-1))
	case 2:
		return reflect.PointerTo(randomType(r, depth-1))
	case 3:
		return reflect.ArrayOf(r.IntN(4), randomType(r, depth-1))
	case 4, 5:
		fields := make([]reflect.StructField, 1+r.IntN(4))
		for i := range fields {
			fields[i] = reflect.StructField{Name: string(rune('A' + i)), Type: randomType(r, depth-1)}
		}
		return reflect.StructOf(fields)
	}
	return randomType(r, 0)
}

func fill(r *rand.Rand, v reflect.Value, depth int) {
	switch v.Interface().(type) {
	case time.Time:
		zone := time.FixedZone("", (r.IntN(24*60)-12*60)*60)
		v.Set(reflect.ValueOf(time.Unix(r.Int64N(1<<35)-1<<34, r.Int64N(1e9)).In(zone)))
		return
	case *big.Int:
		if r.IntN(4) > 0 {
			b := new(big.Int).Lsh(big.NewInt(r.Int64()-1<<62), uint(r.IntN(100)))
			v.Set(reflect.ValueOf(b))
		}
		return
	case netip.Addr:
		v.Set(reflect.ValueOf(netip.AddrFrom4([4]byte{byte(r.Uint32()), 1, 2, 3})))
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Int, reflect.Int16, reflect.Int64:
		v.SetInt(int64(r.Uint64() >> r.IntN(64)))
	case reflect.Uint64:
		v.SetUint(r.Uint64() >> r.IntN(64))
	case reflect.Float64, reflect.Float32:
		v.SetFloat([]float64{0, math.Copysign(0, -1), math.NaN(), math.Inf(1), r.NormFloat64(), float64(r.IntN(100))}[r.IntN(6)])
	case reflect.String:
		v.SetString([]string{"", "a", "ü\x00", strings.Repeat("z", r.IntN(300))}[r.IntN(4)])
	case reflect.Slice:
		if n := r.IntN(4); n > 0 || r.IntN(2) == 0 {
			v.Set(reflect.MakeSlice(v.Type(), n, n))
			for i := range n {
				if v.Type().Elem().Kind() == reflect.Uint8 {
					v.Index(i).SetUint(uint64(r.IntN(256)))
				} else {
					fill(r, v.Index(i), depth-1)
				}
			}
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(r, v.Index(i), depth-1)
		}
	case reflect.Map:
		if n := r.IntN(4); n > 0 || r.IntN(2) == 0 {
			v.Set(reflect.MakeMap(v.Type()))
			for range n {
				k, e := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
				fill(r, k, depth-1)
				fill(r, e, depth-1)
				v.SetMapIndex(k, e)
			}
		}
	case reflect.Pointer:
		if r.IntN(3) > 0 && depth > -3 {
			v.Set(reflect.New(v.Type().Elem()))
			fill(r, v.Elem(), depth-1)
			switch v.Elem().Kind() {
			case reflect.Pointer, reflect.Map, reflect.Slice, reflect.Interface:
				if v.Elem().IsNil() {
					v.SetZero() // a pointer to nil and nil are both null
				}
			}
		}
	case reflect.Struct:
		if depth > -3 {
			for i := range v.NumField() {
				fill(r, v.Field(i), depth-1)
			}
		}
	case reflect.Interface:
		values := []any{nil, true, int64(r.IntN(100) - 50), 1.5, "x", []byte("b"), []any{int64(1)}, map[string]any{"k": nil},
			time.Date(2026, 1, 1, 0, 0, 0, 5, time.UTC)}
		if x := values[r.IntN(len(values))]; x != nil {
			v.Set(reflect.ValueOf(x))
		}
	}
}

// What was in the variable before does not mix with what is read.
func TestGetReplacesTheVariable(t *testing.T) {
	rt := open(t, nil, nil)
	must(t, t.Context(), rt.obj("a"), func(ctx context.Context, o *Obj) error {
		st := o.st.Storage()
		st.Put(ctx, "m", map[string]int{"new": 1})
		st.Put(ctx, "i", Inner{S: "new"})
		m := map[string]int{"old": 1}
		i := Inner{S: "old", P: new(int), M: map[string]Inner{"old": {}}}
		if _, err := st.Get(ctx, "m", &m); err != nil {
			return err
		}
		if _, err := st.Get(ctx, "i", &i); err != nil {
			return err
		}
		if len(m) != 1 || m["new"] != 1 || i.P != nil || i.M != nil || i.S != "new" {
			t.Errorf("Get mixed: %v, %+v", m, i)
		}
		if found, err := st.Get(ctx, "missing", &i); found || err != nil || i.S != "new" {
			t.Errorf("Get of a missing key: %v, %v, and the variable is %+v", found, err, i)
		}
		return nil
	})
}

func TestDecodeErrors(t *testing.T) {
	rt := open(t, nil, nil)
	must(t, t.Context(), rt.obj("a"), func(ctx context.Context, o *Obj) error {
		st := o.st.Storage()
		st.Put(ctx, "s", "text")
		_, err := st.Get(ctx, "s", new(int))
		wantErr(t, "Get into another type", err, durable.ErrDecode)
		_, err = st.Get(ctx, "s", 5)
		wantErr(t, "Get into no pointer", err, durable.ErrDecode)
		_, err = st.Get(ctx, "s", nil)
		wantErr(t, "Get into nil", err, durable.ErrDecode)
		_, err = st.Get(ctx, "none", 5)
		wantErr(t, "Get of no value into no pointer", err, durable.ErrDecode)
		_, err = st.Get(ctx, "none", (*int)(nil))
		wantErr(t, "Get of no value into a nil pointer", err, durable.ErrDecode)
		for _, raw := range []string{"", "x", "\x02\x00", "\x01"} {
			st.PutRaw(ctx, "raw", []byte(raw))
			var v any
			_, err := st.Get(ctx, "raw", &v)
			wantErr(t, fmt.Sprintf("Get of raw %q", raw), err, durable.ErrDecode)
			if b, found, err := st.GetRaw(ctx, "raw"); string(b) != raw || !found || err != nil {
				t.Errorf("GetRaw = %q, %v, %v, want %q", b, found, err, raw)
			}
		}
		return nil
	})
}

// Storage and callers share no memory.
func TestValuesAreCopied(t *testing.T) {
	rt := open(t, nil, nil)
	must(t, t.Context(), rt.obj("a"), func(ctx context.Context, o *Obj) error {
		st := o.st.Storage()
		b := []byte("abc")
		st.PutRaw(ctx, "raw", b)
		b[0] = 'x'
		got, _, _ := st.GetRaw(ctx, "raw")
		got[1] = 'x'
		many, _ := st.GetMany(ctx, []string{"raw"})
		many["raw"].Raw()[2] = 'x'
		for e := range st.List(ctx, durable.ListOptions{}) {
			e.Raw()[0] = 'x'
		}
		if got, _, _ := st.GetRaw(ctx, "raw"); string(got) != "abc" {
			t.Errorf("stored %q, want abc", got)
		}
		return nil
	})
}
