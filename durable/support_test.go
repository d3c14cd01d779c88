package durable_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/store"
	"github.com/perdure/perdure/store/memstore"
)

// Obj is an object whose events do what a test gives them to do.
type Obj struct {
	st    *durable.State
	hooks *hooks
	busy  int // events that run; no lock, so that the race detector sees two at once
	n     int
}

type hooks struct {
	start func(ctx context.Context, o *Obj) error
	alarm func(ctx context.Context, o *Obj, info durable.AlarmInfo) error
	opts  durable.ClassOptions
}

type work func(ctx context.Context, o *Obj) error

// The functions on their way to an object: only numbers and requests can be passed to one.
var (
	works    sync.Map
	handlers sync.Map
	lastWork atomic.Int64
)

func (o *Obj) Do(ctx context.Context, id int64) error {
	fn, _ := works.Load(id)
	return fn.(work)(ctx, o)
}

func (o *Obj) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id, _ := strconv.ParseInt(r.Header.Get("Work"), 10, 64)
	fn, _ := handlers.Load(id)
	fn.(func(http.ResponseWriter, *http.Request, *Obj))(w, r, o)
}

func (o *Obj) Alarm(ctx context.Context, info durable.AlarmInfo) error {
	if o.hooks.alarm == nil {
		return nil
	}
	return o.hooks.alarm(ctx, o, info)
}

func (o *Obj) get(ctx context.Context, key string) int {
	var n int
	if _, err := o.st.Storage().Get(ctx, key, &n); err != nil {
		return -1
	}
	return n
}

func (o *Obj) put(ctx context.Context, key string, n int) error {
	return o.st.Storage().Put(ctx, key, n)
}

func (o *Obj) inc(ctx context.Context, key string) error { return o.put(ctx, key, o.get(ctx, key)+1) }

func class(name string, h *hooks) durable.Class {
	if h == nil {
		h = &hooks{}
	}
	return durable.NewClass(name, func(ctx context.Context, st *durable.State) (*Obj, error) {
		o := &Obj{st: st, hooks: h}
		if h.start != nil {
			if err := h.start(ctx, o); err != nil {
				return nil, err
			}
		}
		return o, nil
	}, &h.opts)
}

// do runs fn as an event of the object.
func do(ctx context.Context, s *durable.Stub, fn work) error {
	id := lastWork.Add(1)
	works.Store(id, fn)
	defer works.Delete(id)
	return durable.Exec(ctx, s, (*Obj).Do, id)
}

func must(t testing.TB, ctx context.Context, s *durable.Stub, fn work) {
	t.Helper()
	if err := do(ctx, s, fn); err != nil {
		t.Fatalf("event: %v", err)
	}
}

// request returns a request that runs fn as its handler.
func request(t testing.TB, method string, body io.Reader, fn func(w http.ResponseWriter, r *http.Request, o *Obj)) *http.Request {
	id := lastWork.Add(1)
	handlers.Store(id, fn)
	t.Cleanup(func() { handlers.Delete(id) })
	r := httptest.NewRequest(method, "http://do/", body)
	r.Header.Set("Work", strconv.FormatInt(id, 10))
	return r.WithContext(t.Context())
}

func serve(s *durable.Stub, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// rig is a runtime with one class named Obj, its store and its log.
type rig struct {
	*durable.Runtime
	store *memstore.Store
	log   *logBuffer
}

func open(t testing.TB, h *hooks, opts *durable.Options) *rig {
	return openOn(t, memstore.New(nil), h, opts)
}

func openOn(t testing.TB, s *memstore.Store, h *hooks, opts *durable.Options) *rig {
	t.Helper()
	var o durable.Options
	if opts != nil {
		o = *opts
	}
	log := new(logBuffer)
	o.Logger = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	o.Classes = append([]durable.Class{class("Obj", h)}, o.Classes...)
	rt, err := durable.Open(s, &o)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { rt.Close() })
	return &rig{rt, s, log}
}

func (r *rig) obj(name string) *durable.Stub { return r.Namespace("Obj").Named(name) }

type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) has(text string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Contains(b.buf.String(), text)
}

func (b *logBuffer) count(text string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Count(b.buf.String(), text)
}

// wantErr fails unless err is target.
func wantErr(t testing.TB, what string, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("%s: error %v, want %v", what, err, target)
	}
}

// recordBatches keeps what the engine is given, in order.
func recordBatches(s *memstore.Store) func() []*store.Batch {
	var mu sync.Mutex
	var batches []*store.Batch
	s.FailCommits(func(b *store.Batch) error {
		mu.Lock()
		defer mu.Unlock()
		batches = append(batches, b)
		return nil
	})
	return func() []*store.Batch {
		mu.Lock()
		defer mu.Unlock()
		return append([]*store.Batch(nil), batches...)
	}
}

func keysOf(batches []*store.Batch) []string {
	var out []string
	for _, b := range batches {
		var keys []string
		for _, op := range b.Ops {
			if op.Delete {
				keys = append(keys, "-"+op.Key)
			} else {
				keys = append(keys, op.Key)
			}
		}
		if b.DeleteAll {
			keys = append([]string{"*"}, keys...)
		}
		out = append(out, strings.Join(keys, " "))
	}
	return out
}

// async runs fn on a goroutine and returns where its error will be.
func async(fn func() error) chan error {
	c := make(chan error, 1)
	go func() { c <- fn() }()
	return c
}

// pending reports whether nothing has arrived.
func pending(c chan error) bool { return len(c) == 0 }

// sleep lets time pass in a bubble, and everything that then happens happen.
func sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
