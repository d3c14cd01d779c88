package durable_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perdure/perdure/durable"
)

func wantOverloaded(t *testing.T, what string, err error) {
	t.Helper()
	var e *durable.Error
	if !errors.Is(err, durable.ErrOverloaded) || !errors.As(err, &e) || !e.Overloaded || !e.Retryable || e.Reset {
		t.Errorf("%s: %#v, want ErrOverloaded, Overloaded and Retryable", what, err)
	}
}

func TestQueueIsBoundedByCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := open(t, nil, &durable.Options{Limits: durable.Limits{QueueEvents: 3}})
		a := rt.obj("a")
		hold := make(chan bool)
		nop := func(context.Context, *Obj) error { return nil }
		var wg sync.WaitGroup
		wg.Go(func() {
			must(t, t.Context(), a, func(ctx context.Context, o *Obj) error {
				// An event that comes back from an opening is never refused.
				return o.st.Await(ctx, func(context.Context) error { <-hold; return nil })
			})
		})
		synctest.Wait()
		wg.Go(func() { must(t, t.Context(), a, func(context.Context, *Obj) error { <-hold; return nil }) })
		wg.Go(func() { must(t, t.Context(), a, nop) })
		synctest.Wait()
		wantOverloaded(t, "one too many", do(t.Context(), a, nop))
		w := serve(a, request(t, "GET", nil, func(http.ResponseWriter, *http.Request, *Obj) {}))
		if w.Code != 503 || w.Header().Get("Retry-After") == "" {
			t.Errorf("status %d, Retry-After %q, want 503 with one", w.Code, w.Header().Get("Retry-After"))
		}
		if err := do(t.Context(), rt.obj("b"), nop); err != nil {
			t.Errorf("another object: %v", err)
		}
		close(hold)
		wg.Wait()
		must(t, t.Context(), a, nop)
	})
}

func TestEventsThatWaitForDurabilityCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := open(t, nil, &durable.Options{Limits: durable.Limits{QueueEvents: 3}})
		hold := rt.store.Hold()
		put := func(ctx context.Context, o *Obj) error { return o.inc(ctx, "n") }
		for range 3 {
			go do(t.Context(), rt.obj("a"), put)
		}
		synctest.Wait()
		wantOverloaded(t, "one too many", do(t.Context(), rt.obj("a"), put))
		hold.Release()
		synctest.Wait()
		must(t, t.Context(), rt.obj("a"), put)
	})
}

func TestWaitUntilCounts(t *testing.T) {
	rt := open(t, nil, &durable.Options{Limits: durable.Limits{QueueEvents: 2}})
	must(t, t.Context(), rt.obj("a"), func(ctx context.Context, o *Obj) error {
		nop := func(context.Context) error { return nil }
		if err := o.st.WaitUntil(ctx, nop); err != nil {
			return err
		}
		wantOverloaded(t, "second", o.st.WaitUntil(ctx, nop))
		return nil
	})
}

func TestQueueIsBoundedByBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := open(t, nil, &durable.Options{Limits: durable.Limits{QueueBytes: 100}})
		a := rt.obj("a")
		hold := make(chan bool)
		post := func(n int, fn func(http.ResponseWriter, *http.Request, *Obj)) int {
			return serve(a, request(t, "POST", bytes.NewReader(make([]byte, n)), fn)).Code
		}
		first := make(chan int, 1)
		go func() { first <- post(60, func(http.ResponseWriter, *http.Request, *Obj) { <-hold }) }()
		synctest.Wait()
		if code := post(41, nil); code != 503 {
			t.Errorf("status %d, want 503", code)
		}
		second := make(chan int, 1)
		go func() { second <- post(40, func(http.ResponseWriter, *http.Request, *Obj) {}) }()
		synctest.Wait()
		close(hold)
		if x, y := <-first, <-second; x != 200 || y != 200 {
			t.Errorf("status %d, %d, want 200", x, y)
		}
		if code := post(100, func(http.ResponseWriter, *http.Request, *Obj) {}); code != 200 {
			t.Errorf("status %d: the bytes of finished events still count", code)
		}
	})
}

func TestQueueIsBoundedByAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := open(t, nil, nil)
		hold := make(chan bool)
		go do(t.Context(), rt.obj("a"), func(context.Context, *Obj) error { <-hold; return nil })
		synctest.Wait()
		began := time.Now()
		wantOverloaded(t, "old", do(t.Context(), rt.obj("a"), func(context.Context, *Obj) error { t.Error("it ran"); return nil }))
		if d := time.Since(began); d != 30*time.Second {
			t.Errorf("after %v, want 30s", d)
		}
		close(hold)
		synctest.Wait()
		must(t, t.Context(), rt.obj("a"), func(context.Context, *Obj) error { return nil })
	})
}

func TestCallDepth(t *testing.T) {
	rt := open(t, nil, &durable.Options{Limits: durable.Limits{CallDepth: 5}})
	depth := 0
	var down work
	down = func(ctx context.Context, o *Obj) error {
		depth++
		return do(ctx, o.st.Namespace("Obj").Named(string(rune('a'+depth))), down)
	}
	err := do(t.Context(), rt.obj("a"), down)
	wantErr(t, "chain", err, durable.ErrCallTooDeep)
	if depth != 5 {
		t.Errorf("%d events, want 5", depth)
	}
}
