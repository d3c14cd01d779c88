package durable_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perdure/perdure/durable"
)

// Promise 7.
func TestAnEventWhoseCallerLeftIsNotRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := open(t, nil, nil)
		a := rt.obj("a")
		never := func(context.Context, *Obj) error { t.Error("it ran"); return nil }
		notRun := func(what string, err error) {
			t.Helper()
			wantErr(t, what, err, context.Canceled)
			var e *durable.Error
			if !errors.As(err, &e) || !e.Retryable || e.Remote {
				t.Errorf("%s: %#v, want Retryable, not Remote", what, err)
			}
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		notRun("gone before the call", do(gone, a, never))

		hold := make(chan bool)
		go do(t.Context(), a, func(context.Context, *Obj) error { <-hold; return nil })
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		queued := async(func() error { return do(ctx, a, never) })
		synctest.Wait()
		cancel()
		notRun("gone while queued", <-queued)

		close(hold)
	})
}

func TestAnEventWhoseCallerLeavesDuringTheConstructorIsNotRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := open(t, &hooks{start: func(ctx context.Context, o *Obj) error {
			time.Sleep(10 * time.Second)
			if ctx.Err() != nil {
				t.Error("the caller's cancellation reached the constructor")
			}
			return o.put(ctx, "made", 1)
		}}, nil)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		err := do(ctx, rt.obj("a"), func(context.Context, *Obj) error { t.Error("it ran"); return nil })
		wantErr(t, "call", err, context.DeadlineExceeded)
		must(t, t.Context(), rt.obj("a"), func(ctx context.Context, o *Obj) error {
			if o.get(ctx, "made") != 1 {
				t.Error("the constructor's writes are lost")
			}
			return nil
		})
	})
}

func TestRunningEventsIgnoreCancellationExceptOutside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := open(t, nil, nil)
		ctx, cancel := context.WithCancel(t.Context())
		err := do(ctx, rt.obj("a"), func(ctx context.Context, o *Obj) error {
			o.put(ctx, "a", 1)
			cancel()
			synctest.Wait()
			if ctx.Err() != context.Canceled {
				t.Errorf("Err() = %v, want canceled", ctx.Err())
			}
			st := o.st.Storage()
			_, err := st.Get(ctx, "other", new(int))
			if err := errors.Join(err, o.put(ctx, "b", 1), st.Sync(ctx), st.SetAlarm(ctx, time.Now().Add(time.Hour)),
				st.Transaction(ctx, func(ctx context.Context, _ *durable.Txn) error { return o.put(ctx, "c", 1) })); err != nil {
				t.Errorf("storage heeds cancellation: %v", err)
			}
			wantErr(t, "stub call", do(ctx, o.st.Namespace("Obj").Named("b"), func(context.Context, *Obj) error { t.Error("it ran"); return nil }), context.Canceled)
			err = o.st.Await(ctx, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
			wantErr(t, "Await", err, context.Canceled)
			return o.put(ctx, "d", 1)
		})
		if err != nil {
			t.Errorf("call: %v", err)
		}
		must(t, t.Context(), rt.obj("a"), func(ctx context.Context, o *Obj) error {
			for _, k := range []string{"a", "b", "c", "d"} {
				if o.get(ctx, k) != 1 {
					t.Errorf("%s is lost", k)
				}
			}
			return nil
		})
	})
}

func TestTheEventsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type key struct{}
		rt := open(t, nil, nil)
		parent := context.WithValue(t.Context(), key{}, "leak")
		parent = durable.ContextWithTrace(parent, durable.Trace{Parent: "p", State: "s"})
		parent, cancel := context.WithTimeout(parent, time.Minute)
		defer cancel()
		want, _ := parent.Deadline()
		var kept, derived context.Context
		after := make(chan bool, 1)
		must(t, parent, rt.obj("a"), func(ctx context.Context, o *Obj) error {
			kept = ctx
			var cancel func()
			derived, cancel = context.WithCancel(ctx)
			t.Cleanup(cancel)
			context.AfterFunc(ctx, func() { after <- true })
			return do(ctx, o.st.Namespace("Obj").Named("b"), func(ctx context.Context, _ *Obj) error {
				if ctx.Value(key{}) != nil {
					t.Error("a value crossed")
				}
				if tr := durable.TraceFromContext(ctx); tr != (durable.Trace{Parent: "p", State: "s"}) {
					t.Errorf("trace %v did not cross", tr)
				}
				if d, ok := ctx.Deadline(); !ok || d != want {
					t.Errorf("Deadline() = %v, %v, want %v", d, ok, want)
				}
				return nil
			})
		})
		select {
		case <-kept.Done():
		default:
			t.Error("the context did not end with the event")
		}
		<-derived.Done()
		<-after
		if kept.Err() != context.Canceled || derived.Err() != context.Canceled {
			t.Errorf("Err() = %v, %v, want canceled", kept.Err(), derived.Err())
		}
		err := do(parent, rt.obj("a"), func(ctx context.Context, o *Obj) error {
			<-ctx.Done()
			return ctx.Err()
		})
		wantErr(t, "deadline", err, context.DeadlineExceeded)
	})
}
