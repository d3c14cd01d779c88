package durable_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/store"
	"github.com/perdure/perdure/store/memstore"
)

// Promise 6. refuseNext makes the next batch fail with err, and only that.
func refuseNext(s *memstore.Store, err error) {
	done := false
	s.FailCommits(func(*store.Batch) error {
		if done {
			return nil
		}
		done = true
		return err
	})
}

func TestRefusedCommitResetsOnlyItsObject(t *testing.T) {
	for _, refusal := range []error{store.ErrRefused, store.ErrUnknown, memstore.ErrUnknownApplied} {
		t.Run(refusal.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rt := open(t, nil, nil)
				a, b := rt.obj("a"), rt.obj("b")
				var before, other *Obj
				must(t, t.Context(), a, func(ctx context.Context, o *Obj) error { before = o; return o.put(ctx, "n", 1) })
				must(t, t.Context(), b, func(ctx context.Context, o *Obj) error { other = o; return nil })
				hold := rt.store.Hold()
				earlier := async(func() error {
					return do(t.Context(), a, func(ctx context.Context, o *Obj) error { return o.put(ctx, "kept", 1) })
				})
				synctest.Wait()
				failing := async(func() error {
					return do(t.Context(), a, func(ctx context.Context, o *Obj) error { return o.put(ctx, "n", 2) })
				})
				synctest.Wait()
				behind := async(func() error {
					return do(t.Context(), a, func(ctx context.Context, o *Obj) error { return o.put(ctx, "m", o.get(ctx, "n")) })
				})
				synctest.Wait()
				reader := async(func() error {
					return do(t.Context(), a, func(ctx context.Context, o *Obj) error { _ = o.get(ctx, "n"); return nil })
				})
				synctest.Wait()
				n := 0
				rt.store.FailCommits(func(*store.Batch) error {
					if n++; n == 2 {
						return refusal
					}
					return nil
				})
				hold.Release()
				if err := <-earlier; err != nil {
					t.Errorf("the commit before: %v", err)
				}
				for what, c := range map[string]chan error{"failing": failing, "behind": behind, "reader": reader} {
					err := <-c
					wantErr(t, what, err, durable.ErrNotCommitted)
					wantErr(t, what, err, durable.ErrReset)
					var e *durable.Error
					if errors.As(err, &e); what == "failing" && e.Retryable != (refusal == store.ErrRefused) {
						t.Errorf("%s: Retryable = %v after %v", what, e.Retryable, refusal)
					}
				}
				want := 1
				if refusal == memstore.ErrUnknownApplied {
					want = 2
				}
				must(t, t.Context(), a, func(ctx context.Context, o *Obj) error {
					if o == before {
						t.Error("the instance was not reset")
					}
					if n, m, kept := o.get(ctx, "n"), o.get(ctx, "m"), o.get(ctx, "kept"); n != want || m != 0 || kept != 1 {
						t.Errorf("n, m, kept = %d, %d, %d, want %d, 0, 1", n, m, kept, want)
					}
					return o.put(ctx, "n", 5)
				})
				must(t, t.Context(), b, func(_ context.Context, o *Obj) error {
					if o != other {
						t.Error("the other object was reset")
					}
					return nil
				})
				if err := rt.Err(); err != nil {
					t.Errorf("Err() = %v", err)
				}
			})
		})
	}
}

// An event that has left something behind is not called safe to send again.
func TestRetryableOnlyIfNothingIsLeft(t *testing.T) {
	rt := open(t, nil, nil)
	err := do(t.Context(), rt.obj("a"), func(ctx context.Context, o *Obj) error {
		o.put(ctx, "n", 1)
		o.st.Await(ctx, func(context.Context) error { return nil })
		refuseNext(rt.store, store.ErrRefused)
		return o.put(ctx, "n", 2)
	})
	var e *durable.Error
	if !errors.As(err, &e) || e.Retryable || !errors.Is(err, durable.ErrNotCommitted) {
		t.Errorf("error %v (Retryable %v), want ErrNotCommitted, not retryable", err, e != nil && e.Retryable)
	}
}

func TestBrokenStoreFailsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := open(t, nil, nil)
		a, b := rt.obj("a"), rt.obj("b")
		must(t, t.Context(), b, func(ctx context.Context, o *Obj) error { return o.put(ctx, "n", 1) })
		hold := rt.store.Hold()
		var waiting []chan error
		for _, s := range []*durable.Stub{a, a, b} {
			waiting = append(waiting, async(func() error {
				return do(t.Context(), s, func(ctx context.Context, o *Obj) error { return o.inc(ctx, "n") })
			}))
			synctest.Wait()
		}
		inside := make(chan error, 1)
		go do(t.Context(), rt.obj("c"), func(ctx context.Context, o *Obj) error {
			o.get(ctx, "n")
			o.st.Await(ctx, func(context.Context) error { <-rt.Draining(); return nil })
			_, err := o.st.Storage().Get(ctx, "n", new(int)) // known, and still refused
			inside <- err
			return nil
		})
		synctest.Wait()
		rt.store.FailCommits(func(*store.Batch) error { return errors.New("disk gone") })
		hold.Release()
		for _, c := range waiting {
			err := <-c
			wantErr(t, "waiting", err, durable.ErrStoreBroken)
			if e := factsOf(t, err); !e.Reset || e.Retryable {
				t.Errorf("waiting: %+v, want Reset", e)
			}
		}
		wantErr(t, "running event's read", <-inside, durable.ErrStoreBroken)
		rt.store.FailCommits(nil)
		for _, s := range []*durable.Stub{a, b, rt.obj("c"), rt.obj("new")} {
			err := do(t.Context(), s, func(context.Context, *Obj) error { t.Error("an event ran"); return nil })
			wantErr(t, "later call", err, durable.ErrStoreBroken)
			if w := serve(s, request(t, "GET", nil, nil)); w.Code != 500 {
				t.Errorf("status %d, want 500", w.Code)
			}
		}
		for _, err := range rt.Namespace("Obj").Objects(t.Context(), durable.ID{}) {
			wantErr(t, "Objects", err, durable.ErrStoreBroken)
		}
		wantErr(t, "Err", rt.Err(), durable.ErrStoreBroken)
		if err := rt.Close(); err == nil {
			t.Error("Close of a broken store succeeded")
		}
	})
}

func TestPanicDiscardsTheTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := open(t, nil, nil)
		a := rt.obj("a")
		var first *Obj
		w := serve(a, request(t, "GET", nil, func(w http.ResponseWriter, r *http.Request, o *Obj) {
			first = o
			o.put(r.Context(), "kept", 1)
			o.st.Await(r.Context(), func(context.Context) error { return nil })
			o.put(r.Context(), "lost", 1)
			panic("bug")
		}))
		if w.Code != 500 {
			t.Errorf("status %d, want 500", w.Code)
		}
		must(t, t.Context(), a, func(ctx context.Context, o *Obj) error {
			if o == first {
				t.Error("the instance was not reset")
			}
			if k, l := o.get(ctx, "kept"), o.get(ctx, "lost"); k != 1 || l != 0 {
				t.Errorf("kept, lost = %d, %d, want 1, 0", k, l)
			}
			return nil
		})
		if !rt.log.has("bug") {
			t.Error("the panic was not logged")
		}
	})
}

func TestErrorAloneDiscardsNothing(t *testing.T) {
	rt := open(t, nil, nil)
	a := rt.obj("a")
	var first *Obj
	boom := errors.New("boom")
	err := do(t.Context(), a, func(ctx context.Context, o *Obj) error { first = o; o.put(ctx, "n", 1); return boom })
	var e *durable.Error
	if !errors.As(err, &e) || !e.Remote || e.Reset || e.Text != "boom" {
		t.Errorf("error %#v, want boom, Remote", err)
	}
	w := serve(a, request(t, "GET", nil, func(w http.ResponseWriter, r *http.Request, o *Obj) {
		o.inc(r.Context(), "n")
		http.Error(w, "no", 500)
	}))
	if w.Code != 500 {
		t.Errorf("status %d, want 500", w.Code)
	}
	must(t, t.Context(), a, func(ctx context.Context, o *Obj) error {
		if n := o.get(ctx, "n"); n != 2 || o != first {
			t.Errorf("n = %d, want 2, same instance %v", n, o == first)
		}
		return nil
	})
}

// A goroutine that exits in the middle (as t.FailNow makes it) is a panic to everyone else.
func TestGoexitEndsTheEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		exit := true
		h := &hooks{
			start: func(ctx context.Context, o *Obj) error {
				if name, _ := o.st.Name(); name == "constructor" && exit {
					exit = false
					runtime.Goexit()
				}
				return nil
			},
			alarm: func(context.Context, *Obj, durable.AlarmInfo) error { runtime.Goexit(); return nil },
		}
		rt := open(t, h, &durable.Options{AlarmConcurrency: 1})
		check := func(name string) {
			t.Helper()
			must(t, t.Context(), rt.obj(name), func(ctx context.Context, o *Obj) error {
				if n := o.get(ctx, "lost"); n != 0 {
					t.Errorf("%s: lost = %d, want 0", name, n)
				}
				return nil
			})
		}
		exits := func(ctx context.Context, o *Obj) error { o.put(ctx, "lost", 1); runtime.Goexit(); return nil }
		gone := make(chan bool)
		go func() { defer close(gone); do(t.Context(), rt.obj("call"), exits) }()
		<-gone
		check("call")

		gone = make(chan bool)
		go func() { defer close(gone); do(t.Context(), rt.obj("constructor"), exits) }()
		<-gone
		check("constructor")

		_, err := rt.obj("RoundTrip").RoundTrip(request(t, "GET", nil, func(w http.ResponseWriter, r *http.Request, o *Obj) {
			exits(r.Context(), o)
		}))
		wantErr(t, "RoundTrip", err, durable.ErrPanic)
		check("RoundTrip")

		must(t, t.Context(), rt.obj("background"), func(ctx context.Context, o *Obj) error {
			return o.st.WaitUntil(ctx, func(ctx context.Context) error { return exits(ctx, o) })
		})
		check("background")

		must(t, t.Context(), rt.obj("alarm"), func(ctx context.Context, o *Obj) error {
			return o.st.Storage().SetAlarm(ctx, time.Now())
		})
		time.Sleep(time.Second)
		check("alarm")

		if err := rt.Shutdown(t.Context()); err != nil { // or an event would still be counted in
			t.Error(err)
		}
	})
}

func TestQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := open(t, nil, &durable.Options{Limits: durable.Limits{NamespaceBytes: 1000}})
		a, b := rt.obj("a"), rt.obj("b")
		put := func(s *durable.Stub, key string, n int) error {
			return do(t.Context(), s, func(ctx context.Context, o *Obj) error {
				return o.st.Storage().PutRaw(ctx, key, make([]byte, n))
			})
		}
		if err := put(a, "1234", 896); err != nil {
			t.Fatal(err)
		}
		err := put(b, "1234", 97)
		wantErr(t, "over quota", err, durable.ErrQuotaExceeded)
		if err := put(b, "1234", 96); err != nil {
			t.Errorf("exactly the quota: %v", err)
		}
		// Reads, deletes, and what makes it no larger still work.
		must(t, t.Context(), a, func(ctx context.Context, o *Obj) error {
			if v, found, err := o.st.Storage().GetRaw(ctx, "1234"); len(v) != 896 || !found || err != nil {
				t.Errorf("GetRaw: %d bytes, %v, %v", len(v), found, err)
			}
			return o.st.Storage().PutRaw(ctx, "1234", make([]byte, 890))
		})
		must(t, t.Context(), a, func(ctx context.Context, o *Obj) error {
			if err := o.st.Storage().DeleteAll(ctx); err != nil {
				return err
			}
			return o.st.Storage().PutRaw(ctx, "1234", make([]byte, 500)) // what DeleteAll frees is there at once
		})
		if err := put(b, "5678", 300); err != nil {
			t.Errorf("after DeleteAll: %v", err)
		}

		// A crash forgets at most the last second; the next run counts again.
		after := openOn(t, rt.store.Crash(), nil, &durable.Options{Limits: durable.Limits{NamespaceBytes: 1000}})
		time.Sleep(2 * time.Second)
		size := int64(0)
		for o := range after.Namespace("Obj").Objects(t.Context(), durable.ID{}) {
			size += o.Size
		}
		if size != 504+100+304 {
			t.Errorf("sizes add up to %d, want 908", size)
		}
		a = after.obj("a")
		wantErr(t, "over quota after a crash", put(a, "more", 89), durable.ErrQuotaExceeded)
		if err := put(a, "more", 88); err != nil {
			t.Errorf("within the quota after a crash: %v", err)
		}
		if err := after.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// What a failed commit would have added is not counted.
func TestQuotaForgetsWhatFailed(t *testing.T) {
	rt := open(t, nil, &durable.Options{Limits: durable.Limits{NamespaceBytes: 1000}})
	for range 5 {
		refuseNext(rt.store, store.ErrRefused)
		err := do(t.Context(), rt.obj("a"), func(ctx context.Context, o *Obj) error {
			return o.st.Storage().PutRaw(ctx, "k", make([]byte, 900))
		})
		wantErr(t, "refused", err, durable.ErrNotCommitted)
	}
	must(t, t.Context(), rt.obj("a"), func(ctx context.Context, o *Obj) error {
		return o.st.Storage().PutRaw(ctx, "k", make([]byte, 900))
	})
}

// Two events may each be within the quota when they write and beyond it together.
func TestQuotaAtTheCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := open(t, nil, &durable.Options{Limits: durable.Limits{NamespaceBytes: 1000}})
		written := make(chan bool)
		late := async(func() error {
			return do(t.Context(), rt.obj("a"), func(ctx context.Context, o *Obj) error {
				err := o.st.Storage().PutRaw(ctx, "k", make([]byte, 600))
				<-written
				return err
			})
		})
		synctest.Wait()
		must(t, t.Context(), rt.obj("b"), func(ctx context.Context, o *Obj) error {
			return o.st.Storage().PutRaw(ctx, "k", make([]byte, 600))
		})
		close(written)
		err := <-late
		wantErr(t, "late", err, durable.ErrQuotaExceeded)
		must(t, t.Context(), rt.obj("a"), func(ctx context.Context, o *Obj) error {
			if _, found, _ := o.st.Storage().GetRaw(ctx, "k"); found {
				t.Error("what was refused is there")
			}
			return nil
		})
		if w := serve(rt.obj("a"), request(t, "GET", nil, func(w http.ResponseWriter, r *http.Request, o *Obj) {
			err := o.st.Storage().PutRaw(r.Context(), "k", make([]byte, 600))
			var lim *durable.LimitError
			if !errors.As(err, &lim) || lim.Limit != 1000 {
				t.Errorf("PutRaw: %v, want a LimitError of 1000", err)
			}
			io.WriteString(w, "fine")
		})); w.Code != 200 {
			t.Errorf("status %d: a refused write alone fails nothing", w.Code)
		}
	})
}

// The constructor's writes are one turn, and an event that then fails does not
// hide that they are on their way.
func TestPanicWaitsForTheConstructorsCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hooks{start: func(ctx context.Context, o *Obj) error { return o.inc(ctx, "starts") }}
		rt := open(t, h, nil)
		hold := rt.store.Hold()
		failed := async(func() error {
			return do(t.Context(), rt.obj("a"), func(context.Context, *Obj) error { panic("bug") })
		})
		time.Sleep(time.Minute) // long enough to be evicted, were it idle
		if !pending(failed) {
			t.Error("answered before the constructor's commit was durable")
		}
		hold.Release()
		wantErr(t, "panic", <-failed, durable.ErrPanic)
		must(t, t.Context(), rt.obj("a"), func(ctx context.Context, o *Obj) error {
			if n := o.get(ctx, "starts"); n != 2 {
				t.Errorf("starts = %d, want 2", n)
			}
			return nil
		})
	})
}
