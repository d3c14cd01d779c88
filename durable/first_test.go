package durable_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/store/memstore"
)

type Counter struct{ st *durable.State }

func (c *Counter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n, err := c.Add(r.Context(), 1)
	if err != nil {
		http.Error(w, err.Error(), 500)
		return
	}
	io.WriteString(w, strings.Repeat("x", n))
}

func (c *Counter) Add(ctx context.Context, by int) (int, error) {
	var n int
	if _, err := c.st.Storage().Get(ctx, "n", &n); err != nil {
		return 0, err
	}
	n += by
	return n, c.st.Storage().Put(ctx, "n", n)
}

var counterClass = durable.NewClass("Counter", func(ctx context.Context, st *durable.State) (*Counter, error) { return &Counter{st}, nil }, nil)

func TestFirst(t *testing.T) {
	rt, err := durable.Open(memstore.New(nil), &durable.Options{Classes: []durable.Class{counterClass}})
	if err != nil {
		t.Fatal(err)
	}
	defer rt.Close()
	a := rt.Namespace("Counter").Named("a")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				if _, err := durable.Call(t.Context(), a, (*Counter).Add, 1); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	n, err := durable.Call(t.Context(), a, (*Counter).Add, 0)
	if n != 800 || err != nil {
		t.Fatalf("Add = %d, %v", n, err)
	}
	rec := httptest.NewRecorder()
	a.ServeHTTP(rec, httptest.NewRequest("GET", "/", nil))
	t.Log(rec.Code, len(rec.Body.String()), rec.Header())
	resp, err := (&http.Client{Transport: a}).Get("http://do/")
	if err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(resp.Body)
	t.Log(resp.Status, len(b), resp.Header)
}

func BenchmarkCall(b *testing.B) {
	rt, err := durable.Open(memstore.New(nil), &durable.Options{Classes: []durable.Class{counterClass, noopClass}})
	if err != nil {
		b.Fatal(err)
	}
	defer rt.Close()
	a := rt.Namespace("Noop").Named("a")
	ctx := b.Context()
	b.Run("Call", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			durable.Call(ctx, a, (*Noop).Same, 1)
		}
	})
	b.Run("ServeHTTP", func(b *testing.B) {
		b.ReportAllocs()
		r := httptest.NewRequest("GET", "/", nil)
		w := &nullWriter{h: http.Header{}}
		for b.Loop() {
			a.ServeHTTP(w, r)
		}
	})
	c := rt.Namespace("Counter").Named("a")
	b.Run("Inc", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			durable.Call(ctx, c, (*Counter).Add, 1)
		}
	})
}

type nullWriter struct{ h http.Header }

func (w *nullWriter) Header() http.Header         { return w.h }
func (w *nullWriter) Write(p []byte) (int, error) { return len(p), nil }
func (w *nullWriter) WriteHeader(int)             {}

type Noop struct{}

func (*Noop) Same(_ context.Context, n int) (int, error)       { return n, nil }
func (*Noop) ServeHTTP(w http.ResponseWriter, r *http.Request) {}

var noopClass = durable.NewClass("Noop", func(ctx context.Context, st *durable.State) (*Noop, error) { return &Noop{}, nil }, nil)
