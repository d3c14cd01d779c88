package durable_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perdure/perdure/durable"
)

// Promise 1. The field busy has no lock: with -race two events at once are found
// even where the count misses them.
func TestOneEventAtATime(t *testing.T) {
	enter := func(o *Obj) {
		o.busy++
		if o.busy != 1 {
			t.Errorf("%d events run at once", o.busy)
		}
	}
	alarms := make(chan bool, 1000)
	h := &hooks{alarm: func(ctx context.Context, o *Obj, _ durable.AlarmInfo) error {
		enter(o)
		defer func() { o.busy-- }()
		alarms <- true
		return nil
	}}
	rt := open(t, h, nil)
	a := rt.obj("a")
	var wg, background sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 50 {
				background.Add(1)
				err := do(t.Context(), a, func(ctx context.Context, o *Obj) error {
					enter(o)
					defer func() { o.busy-- }()
					if i == 0 && j%10 == 0 {
						o.st.Storage().SetAlarm(ctx, time.Now())
					}
					o.st.WaitUntil(ctx, func(ctx context.Context) error {
						enter(o)
						o.busy--
						background.Done()
						return nil
					})
					return o.inc(ctx, "n")
				})
				if err != nil {
					t.Error(err)
				}
				w := serve(a, request(t, "GET", nil, func(w http.ResponseWriter, r *http.Request, o *Obj) {
					enter(o)
					o.busy--
					o.st.Await(r.Context(), func(context.Context) error { return nil })
					enter(o)
					o.busy--
				}))
				if w.Code != 200 {
					t.Errorf("status %d", w.Code)
				}
			}
		})
	}
	wg.Wait()
	background.Wait()
	<-alarms
	must(t, t.Context(), a, func(ctx context.Context, o *Obj) error {
		if n := o.get(ctx, "n"); n != 400 {
			t.Errorf("n = %d, want 400", n)
		}
		return nil
	})
}

func TestEventsStartInOrderOfArrival(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := open(t, nil, nil)
		a := rt.obj("a")
		hold := make(chan bool)
		go do(t.Context(), a, func(context.Context, *Obj) error { <-hold; return nil })
		synctest.Wait()
		var got, want []int
		var wg sync.WaitGroup
		for i := range 100 {
			want = append(want, i)
			wg.Go(func() {
				if i%2 == 0 {
					do(t.Context(), a, func(context.Context, *Obj) error { got = append(got, i); return nil })
				} else {
					serve(a, request(t, "GET", nil, func(http.ResponseWriter, *http.Request, *Obj) { got = append(got, i) }))
				}
			})
			synctest.Wait()
		}
		close(hold)
		wg.Wait()
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("order of start (-want +got):\n%s", d)
		}
	})
}

func TestResumedGoBeforeNotStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := open(t, nil, nil)
		a := rt.obj("a")
		var got []string
		outside, hold := make(chan bool), make(chan bool)
		var wg sync.WaitGroup
		start := func(fn work) {
			wg.Go(func() { do(t.Context(), a, fn) })
			synctest.Wait()
		}
		for i := range 3 {
			start(func(ctx context.Context, o *Obj) error {
				return errors.Join(o.st.Await(ctx, func(context.Context) error { <-outside; return nil }),
					func() error { got = append(got, fmt.Sprint("resumed ", i)); return nil }())
			})
		}
		start(func(context.Context, *Obj) error { <-hold; return nil })
		for i := range 2 {
			start(func(context.Context, *Obj) error { got = append(got, fmt.Sprint("started ", i)); return nil })
		}
		for range 3 {
			outside <- true
			synctest.Wait()
		}
		close(hold)
		wg.Wait()
		if len(got) != 5 || got[3] != "started 0" || got[4] != "started 1" {
			t.Errorf("order %q, want the three resumed ones first", got)
		}
	})
}

func TestAfterAResetOldCodeCanDoNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := open(t, nil, nil)
		a := rt.obj("a")
		reason := errors.New("because")
		checked := make(chan bool)
		var first *Obj
		old := make(chan error, 1)
		go func() {
			w := serve(a, request(t, "GET", nil, func(w http.ResponseWriter, r *http.Request, o *Obj) {
				ctx := r.Context()
				first = o
				o.put(ctx, "durable", 1)
				o.st.Storage().Sync(ctx)
				o.put(ctx, "lost", 1)
				o.st.Abort(reason)
				<-checked // the new instance has answered while this code still runs
				st := o.st.Storage()
				check := func(what string, err error) { t.Helper(); wantErr(t, what, err, durable.ErrReset) }
				_, err := st.Get(ctx, "durable", new(int))
				check("Get", err)
				check("Put", o.put(ctx, "durable", 2))
				_, err = st.Delete(ctx, "durable")
				check("Delete", err)
				check("DeleteAll", st.DeleteAll(ctx))
				check("Sync", st.Sync(ctx))
				check("SetAlarm", st.SetAlarm(ctx, time.Now().Add(time.Hour)))
				_, _, err = st.GetAlarm(ctx)
				check("GetAlarm", err)
				for _, err := range st.List(ctx, durable.ListOptions{}) {
					check("List", err)
				}
				_, err = st.ListPage(ctx, durable.ListOptions{}, "")
				check("ListPage", err)
				check("Transaction", st.Transaction(ctx, func(context.Context, *durable.Txn) error { t.Error("transaction ran"); return nil }))
				check("BlockConcurrencyWhile", o.st.BlockConcurrencyWhile(ctx, func(context.Context) error { t.Error("section ran"); return nil }))
				check("Await", o.st.Await(ctx, func(context.Context) error { t.Error("Await ran"); return nil }))
				check("WaitUntil", o.st.WaitUntil(ctx, func(context.Context) error { t.Error("WaitUntil ran"); return nil }))
				check("stub call", do(ctx, o.st.Namespace("Obj").Named("b"), func(context.Context, *Obj) error { t.Error("call ran"); return nil }))
				_, err = w.Write([]byte("x"))
				check("Write", err)
				check("Flush", http.NewResponseController(w).Flush())
				if ctx.Err() == nil {
					t.Error("the context has not ended")
				}
			}))
			if w.Code != 500 {
				old <- fmt.Errorf("status %d, want 500", w.Code)
			}
			old <- nil
		}()
		synctest.Wait()
		must(t, t.Context(), a, func(ctx context.Context, o *Obj) error {
			if o == first {
				t.Error("the next event got the old instance")
			}
			if d, l := o.get(ctx, "durable"), o.get(ctx, "lost"); d != 1 || l != 0 {
				t.Errorf("durable, lost = %d, %d, want 1, 0", d, l)
			}
			return nil
		})
		close(checked)
		if err := <-old; err != nil {
			t.Error(err)
		}
		must(t, t.Context(), a, func(ctx context.Context, o *Obj) error {
			if d := o.get(ctx, "durable"); d != 1 {
				t.Errorf("durable = %d, want 1: the old code wrote it", d)
			}
			return nil
		})
	})
}

// The event that aborts, those that wait at an opening and those that come from them fail with the reason.
func TestAbortFailsAllEventsOfTheInstance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := open(t, nil, nil)
		a := rt.obj("a")
		in := make(chan bool)
		waiting := async(func() error {
			return do(t.Context(), a, func(ctx context.Context, o *Obj) error {
				return o.st.Await(ctx, func(ctx context.Context) error { <-ctx.Done(); close(in); return nil })
			})
		})
		synctest.Wait()
		reason := errors.New("kill")
		err := do(t.Context(), a, func(_ context.Context, o *Obj) error { o.st.Abort(reason); return nil })
		<-in // the context ended, or we would hang
		for what, err := range map[string]error{"aborting": err, "waiting": <-waiting} {
			var e *durable.Error
			if !errors.As(err, &e) || !e.Reset || e.Text != "kill" {
				t.Errorf("%s event: %v, want kill with Reset", what, err)
			}
			wantErr(t, what, err, durable.ErrReset)
		}
	})
}

// A reset that arrives while the engine is taking a batch must not let a second batch in.
func TestResetWhileEventsQueueKeepsOrder(t *testing.T) {
	rt := open(t, nil, nil)
	a := rt.obj("a")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 100 {
				do(t.Context(), a, func(ctx context.Context, o *Obj) error {
					if err := o.inc(ctx, "n"); err != nil {
						return err
					}
					if i == 0 && j%5 == 0 {
						go o.st.Abort(nil)
					}
					return o.st.Storage().Sync(ctx)
				})
			}
		})
	}
	wg.Wait()
	if err := rt.Err(); err != nil {
		t.Fatalf("the store is broken, two batches met: %v", err)
	}
}
