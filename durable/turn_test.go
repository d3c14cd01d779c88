package durable_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/store/memstore"
)

// Promise 4: each commit point makes one batch of what was written since the last.
func TestCommitPointsEndTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := open(t, nil, nil)
		batches := recordBatches(rt.store)
		serve(rt.obj("a"), request(t, "GET", nil, func(w http.ResponseWriter, r *http.Request, o *Obj) {
			ctx := r.Context()
			o.put(ctx, "1b", 1)
			o.put(ctx, "1a", 1)
			o.st.Await(ctx, func(context.Context) error { return nil })
			o.put(ctx, "2", 1)
			do(ctx, o.st.Namespace("Obj").Named("b"), func(context.Context, *Obj) error { return nil })
			o.put(ctx, "3", 1)
			w.(http.Flusher).Flush()
			o.put(ctx, "4", 1)
			o.st.Storage().Sync(ctx)
			o.put(ctx, "5a", 1)
			o.st.BlockConcurrencyWhile(ctx, func(ctx context.Context) error { return o.put(ctx, "5b", 1) })
			o.st.Storage().Transaction(ctx, func(ctx context.Context, _ *durable.Txn) error { return o.put(ctx, "5c", 1) })
			for range o.st.Storage().List(ctx, durable.ListOptions{}) {
			}
			o.st.Storage().Delete(ctx, "1a")
			o.st.WaitUntil(ctx, func(ctx context.Context) error { return o.put(ctx, "6", 1) })
			w.Write([]byte("x"))
		}))
		must(t, t.Context(), rt.obj("a"), func(context.Context, *Obj) error { return nil })
		want := []string{"1a 1b", "2", "3", "4", "-1a 5a 5b 5c", "6"}
		if d := cmp.Diff(want, keysOf(batches())); d != "" {
			t.Errorf("batches (-want +got):\n%s", d)
		}
	})
}

func TestDeleteAllAndWritesAreOneBatch(t *testing.T) {
	rt := open(t, nil, nil)
	a := rt.obj("a")
	must(t, t.Context(), a, func(ctx context.Context, o *Obj) error {
		o.st.Storage().SetAlarm(ctx, time.Now().Add(time.Hour))
		return o.put(ctx, "old", 1)
	})
	batches := recordBatches(rt.store)
	must(t, t.Context(), a, func(ctx context.Context, o *Obj) error {
		st := o.st.Storage()
		o.put(ctx, "gone", 1)
		if err := st.DeleteAll(ctx); err != nil {
			return err
		}
		if _, set, _ := st.GetAlarm(ctx); set {
			t.Error("the alarm is still set")
		}
		return o.put(ctx, "new", 1)
	})
	if d := cmp.Diff([]string{"* new"}, keysOf(batches())); d != "" {
		t.Errorf("batches (-want +got):\n%s", d)
	}
	must(t, t.Context(), a, func(ctx context.Context, o *Obj) error {
		if o.get(ctx, "old") != 0 || o.get(ctx, "gone") != 0 || o.get(ctx, "new") != 1 {
			t.Error("more or less than DeleteAll and what came after it")
		}
		return o.st.Storage().DeleteAll(ctx)
	})
	for range rt.Namespace("Obj").Objects(t.Context(), durable.ID{}) {
		t.Error("the object is still listed")
	}
}

// An event that only reads, or an object that is only touched, writes nothing.
func TestReadingWritesNothing(t *testing.T) {
	rt := open(t, nil, nil)
	batches := recordBatches(rt.store)
	must(t, t.Context(), rt.obj("a"), func(ctx context.Context, o *Obj) error {
		st := o.st.Storage()
		o.get(ctx, "x")
		st.Delete(ctx, "x")
		st.DeleteAlarm(ctx)
		st.DeleteAll(ctx)
		return st.Sync(ctx)
	})
	if got := keysOf(batches()); len(got) != 0 {
		t.Errorf("batches %q, want none", got)
	}
}

func TestTransactions(t *testing.T) {
	boom := errors.New("boom")
	for _, tt := range []struct {
		name string
		fn   func(ctx context.Context, o *Obj, st *durable.Storage)
		want map[string]int
	}{
		{"kept", func(ctx context.Context, o *Obj, st *durable.Storage) {
			st.Transaction(ctx, func(ctx context.Context, _ *durable.Txn) error { return o.put(ctx, "a", 2) })
		}, map[string]int{"a": 2, "b": 1}},
		{"error", func(ctx context.Context, o *Obj, st *durable.Storage) {
			o.put(ctx, "before", 1)
			err := st.Transaction(ctx, func(ctx context.Context, _ *durable.Txn) error {
				o.put(ctx, "a", 2)
				o.put(ctx, "a", 3)
				o.put(ctx, "c", 1)
				st.Delete(ctx, "b")
				o.put(ctx, "before", 2)
				return boom
			})
			if err != boom {
				t.Errorf("Transaction: %v, want boom", err)
			}
		}, map[string]int{"a": 1, "b": 1, "before": 1}},
		{"Rollback", func(ctx context.Context, o *Obj, st *durable.Storage) {
			var kept *durable.Txn
			err := st.Transaction(ctx, func(ctx context.Context, tx *durable.Txn) error {
				kept = tx
				st.Delete(ctx, "a")
				tx.Rollback()
				wantErr(t, "Put after Rollback", o.put(ctx, "x", 1), durable.ErrRolledBack)
				_, err := st.Get(ctx, "a", new(int))
				wantErr(t, "Get after Rollback", err, durable.ErrRolledBack)
				return nil
			})
			if err != nil {
				t.Errorf("Transaction: %v, want nil", err)
			}
			wantErr(t, "Rollback after the end", kept.Rollback(), durable.ErrTransactionDone)
			o.put(ctx, "after", 1)
		}, map[string]int{"a": 1, "b": 1, "after": 1}},
		{"inner rolled back", func(ctx context.Context, o *Obj, st *durable.Storage) {
			st.Transaction(ctx, func(ctx context.Context, _ *durable.Txn) error {
				o.put(ctx, "a", 2)
				st.Transaction(ctx, func(ctx context.Context, _ *durable.Txn) error {
					o.put(ctx, "a", 3)
					o.put(ctx, "c", 3)
					return boom
				})
				return o.put(ctx, "d", o.get(ctx, "a"))
			})
		}, map[string]int{"a": 2, "b": 1, "d": 2}},
		{"outer rolled back", func(ctx context.Context, o *Obj, st *durable.Storage) {
			st.Transaction(ctx, func(ctx context.Context, _ *durable.Txn) error {
				st.Transaction(ctx, func(ctx context.Context, _ *durable.Txn) error { return o.put(ctx, "a", 3) })
				return boom
			})
		}, map[string]int{"a": 1, "b": 1}},
		{"outer rolled back from inside the inner", func(ctx context.Context, o *Obj, st *durable.Storage) {
			st.Transaction(ctx, func(ctx context.Context, outer *durable.Txn) error {
				st.SetAlarm(ctx, time.Now().Add(time.Hour))
				return st.Transaction(ctx, func(ctx context.Context, _ *durable.Txn) error {
					o.put(ctx, "a", 3)
					outer.Rollback()
					return boom
				})
			})
			if _, set, _ := st.GetAlarm(ctx); set {
				t.Error("the inner transaction's end brought the alarm back")
			}
		}, map[string]int{"a": 1, "b": 1}},
		{"panic", func(ctx context.Context, o *Obj, st *durable.Storage) {
			defer func() {
				recover()
				o.put(ctx, "after", 1)
			}()
			st.Transaction(ctx, func(ctx context.Context, _ *durable.Txn) error {
				o.put(ctx, "a", 2)
				panic("boom")
			})
		}, map[string]int{"a": 1, "b": 1, "after": 1}},
		{"many keys", func(ctx context.Context, o *Obj, st *durable.Storage) {
			for i := range 12 { // more than are looked through without an index
				o.put(ctx, string(rune('k'+i)), 1)
				st.Delete(ctx, string(rune('k'+i)))
			}
			st.Transaction(ctx, func(ctx context.Context, _ *durable.Txn) error {
				for i := range 12 {
					o.put(ctx, string(rune('k'+i)), 2)
					o.put(ctx, string(rune('K'+i)), 2)
				}
				return boom
			})
			o.put(ctx, "K", 5)
		}, map[string]int{"a": 1, "b": 1, "K": 5}},
		{"alarm", func(ctx context.Context, o *Obj, st *durable.Storage) {
			st.Transaction(ctx, func(ctx context.Context, _ *durable.Txn) error {
				st.SetAlarm(ctx, time.Now().Add(time.Hour))
				return boom
			})
			if _, set, _ := st.GetAlarm(ctx); set {
				t.Error("the alarm was kept")
			}
		}, map[string]int{"a": 1, "b": 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rt := open(t, nil, nil)
				a := rt.obj("a")
				must(t, t.Context(), a, func(ctx context.Context, o *Obj) error {
					return errors.Join(o.put(ctx, "a", 1), o.put(ctx, "b", 1))
				})
				batches := recordBatches(rt.store)
				must(t, t.Context(), a, func(ctx context.Context, o *Obj) error {
					tt.fn(ctx, o, o.st.Storage())
					return nil
				})
				if n := len(batches()); n > 1 {
					t.Errorf("%d batches, want one: a transaction is no commit point", n)
				}
				check := func(rt *rig) {
					t.Helper()
					got := make(map[string]int)
					must(t, t.Context(), rt.obj("a"), func(ctx context.Context, o *Obj) error {
						for e, err := range o.st.Storage().List(ctx, durable.ListOptions{}) {
							var n int
							if err := errors.Join(err, e.Decode(&n)); err != nil {
								return err
							}
							got[e.Key] = n
						}
						return nil
					})
					if d := cmp.Diff(tt.want, got); d != "" {
						t.Errorf("storage (-want +got):\n%s", d)
					}
				}
				check(rt)
				check(openOn(t, rt.store.Crash(), nil, nil))
			})
		})
	}
}

// Whatever would commit or delete everything is an error inside a transaction, and changes nothing.
func TestForbiddenInTransactions(t *testing.T) {
	rt := open(t, nil, nil)
	w := serve(rt.obj("a"), request(t, "GET", nil, func(w http.ResponseWriter, r *http.Request, o *Obj) {
		st := o.st.Storage()
		o.put(r.Context(), "before", 1)
		err := st.Transaction(r.Context(), func(ctx context.Context, _ *durable.Txn) error {
			o.put(ctx, "in", 1)
			never := func(context.Context, *Obj) error { t.Error("ran"); return nil }
			check := func(what string, err error) { t.Helper(); wantErr(t, what, err, durable.ErrInTransaction) }
			check("stub call", do(ctx, o.st.Namespace("Obj").Named("b"), never))
			_, err := o.st.Namespace("Obj").Named("b").RoundTrip(request(t, "GET", nil, nil).WithContext(ctx))
			check("RoundTrip", err)
			check("Await", o.st.Await(ctx, func(context.Context) error { t.Error("ran"); return nil }))
			check("Flush", http.NewResponseController(w).Flush())
			check("Sync", st.Sync(ctx))
			check("DeleteAll", st.DeleteAll(ctx))
			return nil
		})
		if err != nil || o.get(r.Context(), "before") != 1 || o.get(r.Context(), "in") != 1 {
			t.Errorf("Transaction: %v, or writes are lost", err)
		}
	}))
	if w.Code != 200 {
		t.Errorf("status %d", w.Code)
	}
}

// Ten transactions that wait inside are one after the other.
func TestTransactionsKeepTheGateShut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := open(t, nil, nil)
		n := count(t, rt, func(ctx context.Context, o *Obj) error {
			return o.st.Storage().Transaction(ctx, func(context.Context, *durable.Txn) error { time.Sleep(time.Millisecond); return nil })
		}, false)
		if n != 20 {
			t.Errorf("20 increments made %d", n)
		}
	})
}

// All of a turn is there after a crash, or nothing.
func TestACrashKeepsWholeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New(&memstore.Options{SyncDelay: time.Millisecond})
		rt := openOn(t, s, nil, nil)
		for range 50 {
			go do(t.Context(), rt.obj("a"), func(ctx context.Context, o *Obj) error {
				for range 3 {
					o.inc(ctx, "x")
					o.inc(ctx, "y")
					o.st.Await(ctx, func(context.Context) error { time.Sleep(time.Millisecond / 3); return nil })
				}
				return nil
			})
		}
		for range 20 {
			time.Sleep(time.Millisecond / 2)
			after := openOn(t, s.Image(), nil, nil)
			must(t, t.Context(), after.obj("a"), func(ctx context.Context, o *Obj) error {
				if x, y := o.get(ctx, "x"), o.get(ctx, "y"); x != y {
					t.Errorf("x, y = %d, %d after a crash", x, y)
				}
				return nil
			})
			after.Close()
		}
	})
}
