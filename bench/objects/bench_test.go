package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"github.com/perdure/perdure/calendar/sessions"
	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/store/pebblestore"
)

func open(tb testing.TB) *durable.Runtime {
	tb.Helper()
	st, err := pebblestore.Open(tb.TempDir(), nil)
	if err != nil {
		tb.Fatal(err)
	}
	rt, err := durable.Open(st, &durable.Options{Classes: []durable.Class{
		durable.NewClass("Object", func(_ context.Context, st *durable.State) (*Object, error) { return &Object{st}, nil }, nil),
		sessions.Class(),
	}})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { rt.Close() })
	return rt
}

// serve answers one request in process and fails the test unless it went well.
func serve(tb testing.TB, h http.Handler, method, path string) string {
	tb.Helper()
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest(method, path, nil))
	if rec.Code != http.StatusOK {
		tb.Fatalf("%s %s = %d %s", method, path, rec.Code, rec.Body)
	}
	return rec.Body.String()
}

func TestOperations(t *testing.T) {
	h := Handler(open(t))
	for _, c := range [][2]string{
		{"/noop/a", "ok"}, {"/inc/a", "1"}, {"/inc/a", "2"}, {"/get/a", "2"}, {"/get/b", "0"},
		{"/fill/a?n=30", "30"}, {"/list/a", "30"}, {"/list/a?limit=7", "7"}, {"/bare", "ok"},
	} {
		if got := serve(t, h, "GET", c[0]); got != c[1] {
			t.Errorf("GET %s = %q, want %q", c[0], got, c[1])
		}
	}
}

// concurrently calls f b.N times from the given number of goroutines.
func concurrently(b *testing.B, callers int, f func(caller int) error) {
	b.Helper()
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	b.ResetTimer()
	for g := range callers {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := f(g); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
}

// BenchmarkCommit compares durable increments with raw Pebble: own objects with
// one Commit(Sync) each, and one hot key pipelined with ApplyNoSyncWait and SyncWait.
func BenchmarkCommit(b *testing.B) {
	for _, callers := range []int{1, 64, 256} {
		b.Run(fmt.Sprintf("raw/own/%d", callers), func(b *testing.B) {
			db := openRaw(b)
			concurrently(b, callers, func(g int) error {
				key := fmt.Appendf(nil, "object %32d/n", g)
				if err := rawIncrement(db, key, nil); err != nil {
					return err
				}
				return nil
			})
		})
		b.Run(fmt.Sprintf("objects/own/%d", callers), func(b *testing.B) {
			objects := open(b).Namespace("Object")
			stubs := make([]*durable.Stub, callers)
			for g := range stubs {
				stubs[g] = objects.Named(fmt.Sprint(g))
			}
			concurrently(b, callers, func(g int) error {
				_, err := durable.Call0(b.Context(), stubs[g], (*Object).Inc)
				return err
			})
		})
	}
	for _, callers := range []int{1, 64, 256} {
		b.Run(fmt.Sprintf("raw/hot/%d", callers), func(b *testing.B) {
			db := openRaw(b)
			var token sync.Mutex
			concurrently(b, callers, func(int) error { return rawIncrement(db, []byte("object/n"), &token) })
		})
		b.Run(fmt.Sprintf("objects/hot/%d", callers), func(b *testing.B) {
			stub := open(b).Namespace("Object").Named("hot")
			concurrently(b, callers, func(int) error {
				_, err := durable.Call0(b.Context(), stub, (*Object).Inc)
				return err
			})
		})
	}
}

func openRaw(b *testing.B) *pebble.DB {
	db, err := pebble.Open(b.TempDir(), &pebble.Options{MemTableSize: 64 << 20, Logger: quiet{}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	return db
}

type quiet struct{}

func (quiet) Infof(string, ...any)              {}
func (quiet) Errorf(string, ...any)             {}
func (quiet) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// rawIncrement reads and writes a key; with a token it pipelines: the next may
// begin once the batch is applied.
func rawIncrement(db *pebble.DB, key []byte, token *sync.Mutex) error {
	if token != nil {
		token.Lock()
	}
	value := make([]byte, 4)
	if old, closer, err := db.Get(key); err == nil {
		copy(value, old)
		closer.Close()
	}
	value[0]++
	batch := db.NewBatch()
	batch.Set(key, value, nil)
	if token == nil {
		defer batch.Close()
		return batch.Commit(pebble.Sync)
	}
	err := db.ApplyNoSyncWait(batch, pebble.Sync)
	token.Unlock()
	if err != nil {
		return err
	}
	defer batch.Close()
	return batch.SyncWait()
}

// BenchmarkActivation is the first event of an object that is not in memory.
func BenchmarkActivation(b *testing.B) {
	objects := open(b).Namespace("Object")
	i := 0
	for b.Loop() {
		i++
		if _, err := durable.Call0(b.Context(), objects.Named(fmt.Sprint(i)), (*Object).Nothing); err != nil {
			b.Fatal(err)
		}
	}
}

// Nothing does nothing.
func (o *Object) Nothing(context.Context) (int, error) { return 0, nil }

// BenchmarkHTTP compares /noop with a bare handler over real connections.
func BenchmarkHTTP(b *testing.B) {
	srv := httptest.NewServer(Handler(open(b)))
	defer srv.Close()
	for _, path := range []string{"/bare", "/noop/a", "/get/a", "/inc/a"} {
		b.Run(path[1:], func(b *testing.B) {
			concurrently(b, 16, newClient(b, srv.Listener.Addr().String(), path))
		})
	}
}

// newClient returns a function that sends one request over the caller's own
// connection; it is much cheaper than net/http's client.
func newClient(b *testing.B, addr, path string) func(int) error {
	conns := make([]net.Conn, 16)
	for i := range conns {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { c.Close() })
		conns[i] = c
	}
	request := fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", path)
	return func(g int) error {
		buf := make([]byte, 1024)
		if _, err := conns[g].Write(request); err != nil {
			return err
		}
		n, err := conns[g].Read(buf)
		if err == nil && string(buf[:15]) != "HTTP/1.1 200 OK" {
			err = fmt.Errorf("%s: %s", path, buf[:n])
		}
		return err
	}
}
