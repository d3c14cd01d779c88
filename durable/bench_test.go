package durable_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/store/memstore"
)

// Bench is an object that does as little as possible.
type Bench struct{ st *durable.State }

func (*Bench) Same(_ context.Context, n int) (int, error)   { return n, nil }
func (*Bench) ServeHTTP(http.ResponseWriter, *http.Request) {}
func (b *Bench) Get(ctx context.Context) (n int, err error) {
	_, err = b.st.Storage().Get(ctx, "n", &n)
	return
}
func (b *Bench) Put(ctx context.Context, n int) error { return b.st.Storage().Put(ctx, "n", n) }
func (b *Bench) Wait(ctx context.Context) error {
	return b.st.Await(ctx, func(context.Context) error { return nil })
}
func (b *Bench) Inc(ctx context.Context, by int) (int, error) {
	n, err := b.Get(ctx)
	if err != nil {
		return 0, err
	}
	return n + by, b.Put(ctx, n+by)
}

// Idle has no state.
type Idle struct{}

func openBench(b testing.TB, opts durable.Options) *durable.Runtime {
	opts.Classes = []durable.Class{
		durable.NewClass("Bench", func(_ context.Context, st *durable.State) (*Bench, error) { return &Bench{st}, nil }, nil),
		durable.NewClass("Idle", func(context.Context, *durable.State) (Idle, error) { return Idle{}, nil }, nil),
	}
	rt, err := durable.Open(memstore.New(nil), &opts)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { rt.Close() })
	return rt
}

func benchErr(b *testing.B, err error) {
	if err != nil {
		b.Fatal(err)
	}
}

func BenchmarkCall(b *testing.B) {
	a := openBench(b, durable.Options{}).Namespace("Bench").Named("a")
	b.ReportAllocs()
	for b.Loop() {
		_, err := durable.Call(b.Context(), a, (*Bench).Same, 1)
		benchErr(b, err)
	}
}

func BenchmarkServeHTTP(b *testing.B) {
	a := openBench(b, durable.Options{}).Namespace("Bench").Named("a")
	r := httptest.NewRequest("GET", "/", nil)
	w := &nullWriter{h: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		a.ServeHTTP(w, r)
	}
}

type nullWriter struct{ h http.Header }

func (w *nullWriter) Header() http.Header         { return w.h }
func (w *nullWriter) Write(p []byte) (int, error) { return len(p), nil }
func (w *nullWriter) WriteHeader(int)             {}

func BenchmarkGet(b *testing.B) {
	a := openBench(b, durable.Options{}).Namespace("Bench").Named("a")
	benchErr(b, durable.Exec(b.Context(), a, (*Bench).Put, 1))
	b.ReportAllocs()
	for b.Loop() {
		_, err := durable.Call0(b.Context(), a, (*Bench).Get)
		benchErr(b, err)
	}
}

func BenchmarkInc(b *testing.B) {
	a := openBench(b, durable.Options{}).Namespace("Bench").Named("a")
	b.ReportAllocs()
	for b.Loop() {
		_, err := durable.Call(b.Context(), a, (*Bench).Inc, 1)
		benchErr(b, err)
	}
}

func BenchmarkIncContended(b *testing.B) {
	a := openBench(b, durable.Options{}).Namespace("Bench").Named("a")
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := durable.Call(b.Context(), a, (*Bench).Inc, 1); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkAwait(b *testing.B) {
	a := openBench(b, durable.Options{}).Namespace("Bench").Named("a")
	b.ReportAllocs()
	for b.Loop() {
		benchErr(b, durable.Exec0(b.Context(), a, (*Bench).Wait))
	}
}

// BenchmarkActivation makes an object and its instance, without data.
func BenchmarkActivation(b *testing.B) {
	n := openBench(b, durable.Options{}).Namespace("Bench")
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		_, err := durable.Call(b.Context(), n.Named(strconv.Itoa(i)), (*Bench).Same, 1)
		benchErr(b, err)
	}
}

// An idle object in memory costs less than 500 bytes beyond its own state.
func TestIdleObjectsAreSmall(t *testing.T) {
	const objects = 100_000
	rt := openBench(t, durable.Options{IdleTimeout: time.Hour})
	n := rt.Namespace("Idle")
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for range objects {
		s, err := n.Get(n.NewID())
		if err != nil {
			t.Fatal(err)
		}
		if err := durable.Exec0(t.Context(), s, Idle.Nop); err != nil {
			t.Fatal(err)
		}
	}
	each := float64(heap()-before) / objects
	t.Logf("%.0f bytes for each of %d idle objects", each, objects)
	if each > 500 {
		t.Errorf("%.0f bytes, want at most 500", each)
	}
	runtime.KeepAlive(rt)
}

func (Idle) Nop(context.Context) error { return nil }
