package durable_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perdure/perdure/durable"
)

// everything uses all of an object's abilities with ctx and expects the error.
func everything(t *testing.T, ctx context.Context, o *Obj, want error) {
	t.Helper()
	check := func(what string, err error) {
		t.Helper()
		wantErr(t, what, err, want)
	}
	st := o.st.Storage()
	_, err := st.Get(ctx, "k", new(int))
	check("Get", err)
	_, _, err = st.GetRaw(ctx, "k")
	check("GetRaw", err)
	_, err = st.GetMany(ctx, []string{"k"})
	check("GetMany", err)
	check("Put", st.Put(ctx, "k", 1))
	check("PutRaw", st.PutRaw(ctx, "k", nil))
	check("PutMany", st.PutMany(ctx, map[string]any{"k": 1}))
	_, err = st.Delete(ctx, "k")
	check("Delete", err)
	_, err = st.DeleteMany(ctx, []string{"k"})
	check("DeleteMany", err)
	check("DeleteAll", st.DeleteAll(ctx))
	check("Sync", st.Sync(ctx))
	check("SetAlarm", st.SetAlarm(ctx, time.Now().Add(time.Hour)))
	check("DeleteAlarm", st.DeleteAlarm(ctx))
	_, _, err = st.GetAlarm(ctx)
	check("GetAlarm", err)
	err = nil
	for _, err = range st.List(ctx, durable.ListOptions{}) {
	}
	check("List", err)
	_, err = st.ListPage(ctx, durable.ListOptions{}, "")
	check("ListPage", err)
	check("Transaction", st.Transaction(ctx, func(context.Context, *durable.Txn) error { t.Error("it ran"); return nil }))
	check("BlockConcurrencyWhile", o.st.BlockConcurrencyWhile(ctx, func(context.Context) error { t.Error("it ran"); return nil }))
}

func outsideEverything(t *testing.T, ctx context.Context, o *Obj, want error) {
	t.Helper()
	never := func(context.Context, *Obj) error { t.Error("it ran"); return nil }
	wantErr(t, "Await", o.st.Await(ctx, func(context.Context) error { t.Error("it ran"); return nil }), want)
	wantErr(t, "call", do(ctx, o.st.Namespace("Obj").Named("b"), never), want)
	_, err := o.st.Namespace("Obj").Named("b").RoundTrip(request(t, "GET", nil, nil).WithContext(ctx))
	wantErr(t, "RoundTrip", err, want)
	if w := serve(o.st.Namespace("Obj").Named("b"), request(t, "GET", nil, nil).WithContext(ctx)); w.Code != 500 {
		t.Errorf("ServeHTTP: status %d, want 500", w.Code)
	}
}

// Promise 10.
func TestStorageOutsideAnEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := open(t, nil, nil)
		batches := recordBatches(rt.store)
		var kept *Obj
		var old context.Context
		must(t, t.Context(), rt.obj("a"), func(ctx context.Context, o *Obj) error { kept, old = o, ctx; return nil })
		for _, ctx := range []context.Context{t.Context(), old} { // no event, and one that is over
			everything(t, ctx, kept, durable.ErrNoEvent)
			outsideEverything(t, ctx, kept, durable.ErrNoEvent)
			wantErr(t, "WaitUntil", kept.st.WaitUntil(ctx, nil), durable.ErrNoEvent)
		}
		must(t, t.Context(), rt.obj("b"), func(ctx context.Context, o *Obj) error {
			everything(t, ctx, kept, durable.ErrNoEvent) // another object's event
			outsideEverything(t, ctx, kept, durable.ErrNoEvent)
			return nil
		})
		must(t, t.Context(), rt.obj("a"), func(ctx context.Context, o *Obj) error {
			var inside context.Context
			err := o.st.Await(ctx, func(in context.Context) error {
				inside = in
				everything(t, in, o, durable.ErrGateOpen)
				everything(t, ctx, o, durable.ErrGateOpen)
				return nil
			})
			everything(t, inside, o, durable.ErrNoEvent) // a context kept from an Await that is over
			outsideEverything(t, inside, o, durable.ErrNoEvent)
			return err
		})
		if got := keysOf(batches()); len(got) > 0 {
			t.Errorf("misuse wrote %q", got)
		}
	})
}

// A goroutine that the handler did not wait for finds its event over, at whatever
// point it is. Run with -race.
func TestStrayGoroutines(t *testing.T) {
	rt := open(t, nil, nil)
	var stray sync.WaitGroup
	for i := range 200 {
		do(t.Context(), rt.obj("a"), func(ctx context.Context, o *Obj) error {
			for _, fn := range []func(){
				func() { o.inc(ctx, "n") },
				func() { o.st.Await(ctx, func(context.Context) error { return nil }) },
				func() { o.st.Storage().Sync(ctx) },
				func() {
					o.st.Storage().Transaction(ctx, func(ctx context.Context, _ *durable.Txn) error { return o.inc(ctx, "n") })
				},
				func() { do(ctx, o.st.Namespace("Obj").Named("b"), func(context.Context, *Obj) error { return nil }) },
				func() {
					for range o.st.Storage().List(ctx, durable.ListOptions{}) {
					}
				},
				func() { o.st.BlockConcurrencyWhile(ctx, func(context.Context) error { return nil }) },
				func() { <-ctx.Done() },
			} {
				if i%8 != 0 {
					stray.Go(fn)
				}
			}
			o.inc(ctx, "m")
			return nil
		})
	}
	stray.Wait()
	must(t, t.Context(), rt.obj("a"), func(ctx context.Context, o *Obj) error { return o.inc(ctx, "m") })
	if err := rt.Err(); err != nil {
		t.Fatal(err)
	}
}

// An event that ends while a goroutine of its own is outside must neither commit
// another event's turn nor take the token with it.
func TestEventThatEndsWhileItsGoroutineIsOutside(t *testing.T) {
	for _, come := range []string{"back late", "back while another event runs"} {
		t.Run(come, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rt := open(t, nil, nil)
				batches := recordBatches(rt.store)
				a := rt.obj("a")
				out, end, other := make(chan bool), make(chan bool), make(chan bool)
				stray := make(chan error, 1)
				first := async(func() error {
					return do(t.Context(), a, func(ctx context.Context, o *Obj) error {
						go func() { stray <- o.st.Await(ctx, func(context.Context) error { <-out; return nil }) }()
						<-end
						return nil
					})
				})
				synctest.Wait()
				second := async(func() error {
					return do(t.Context(), a, func(ctx context.Context, o *Obj) error {
						o.put(ctx, "x", 1)
						<-other
						return o.put(ctx, "y", 1)
					})
				})
				synctest.Wait()
				if come == "back while another event runs" {
					close(out)
					synctest.Wait()
				}
				close(end)
				wantErr(t, "event", <-first, durable.ErrGateOpen)
				close(other)
				if err := <-second; err != nil {
					t.Error(err)
				}
				if come == "back late" {
					close(out)
				}
				wantErr(t, "stray goroutine", <-stray, durable.ErrNoEvent)
				must(t, t.Context(), a, func(context.Context, *Obj) error { return nil })
				if got := strings.Join(keysOf(batches()), ","); got != "x y" {
					t.Errorf("batches %q, want the other event's turn whole", got)
				}
			})
		})
	}
}

func TestEventThatEndsInsideATransaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := open(t, nil, nil)
		a := rt.obj("a")
		stray, hold := make(chan error, 1), make(chan bool)
		err := do(t.Context(), a, func(ctx context.Context, o *Obj) error {
			go func() {
				stray <- o.st.Storage().Transaction(ctx, func(ctx context.Context, _ *durable.Txn) error {
					o.put(ctx, "half", 1)
					<-hold
					return o.put(ctx, "other half", 1)
				})
			}()
			synctest.Wait()
			return nil
		})
		wantErr(t, "event", err, durable.ErrInTransaction)
		must(t, t.Context(), a, func(ctx context.Context, o *Obj) error {
			return o.st.Storage().Transaction(ctx, func(ctx context.Context, tx *durable.Txn) error {
				o.put(ctx, "mine", 1)
				close(hold)
				wantErr(t, "stray transaction", <-stray, durable.ErrNoEvent)
				if n := o.get(ctx, "half"); n != 0 {
					t.Error("half a transaction was kept")
				}
				return tx.Rollback()
			})
		})
		must(t, t.Context(), a, func(ctx context.Context, o *Obj) error {
			if n := o.get(ctx, "mine"); n != 0 {
				t.Error("the end of the stray one broke the next one's Rollback")
			}
			return nil
		})
	})
}

func TestListsEndAtTheNextCommitPoint(t *testing.T) {
	rt := open(t, nil, nil)
	must(t, t.Context(), rt.obj("a"), func(ctx context.Context, o *Obj) error {
		for _, k := range []string{"a", "b", "c"} {
			o.put(ctx, k, 1)
		}
		st := o.st.Storage()
		var seen []string
		var last error
		for e, err := range st.List(ctx, durable.ListOptions{}) {
			if last = err; err == nil {
				seen = append(seen, e.Key)
				if err := st.Sync(ctx); err != nil {
					return err
				}
			}
		}
		if len(seen) != 1 || !errors.Is(last, durable.ErrIteratorInvalid) {
			t.Errorf("saw %q, then %v, want one and ErrIteratorInvalid", seen, last)
		}
		// Writing while going through it is fine, and not seen.
		seen = nil
		for e, err := range st.List(ctx, durable.ListOptions{}) {
			if err != nil {
				return err
			}
			seen = append(seen, e.Key)
			o.put(ctx, e.Key+"x", 1)
			st.Delete(ctx, "c")
		}
		if strings.Join(seen, "") != "abc" {
			t.Errorf("saw %q, want a b c", seen)
		}
		return nil
	})
}

func TestResponseAfterTheEvent(t *testing.T) {
	rt := open(t, nil, nil)
	var kept http.ResponseWriter
	serve(rt.obj("a"), request(t, "GET", nil, func(w http.ResponseWriter, _ *http.Request, _ *Obj) { kept = w }))
	_, err := io.WriteString(kept, "x")
	wantErr(t, "Write", err, durable.ErrNoEvent)
	wantErr(t, "Flush", http.NewResponseController(kept).Flush(), durable.ErrNoEvent)
}

func TestLimits(t *testing.T) {
	rt := open(t, nil, &durable.Options{Limits: durable.Limits{
		KeyBytes: 10, ValueBytes: 100, KeysPerCall: 3, TurnBytes: 300,
	}})
	batches := recordBatches(rt.store)
	long := strings.Repeat("k", 11)
	big := make([]byte, 101)
	four := []string{"a", "b", "c", "d"}
	must(t, t.Context(), rt.obj("a"), func(ctx context.Context, o *Obj) error {
		st := o.st.Storage()
		check := func(what string, err, is error, size, limit int64) {
			t.Helper()
			var lim *durable.LimitError
			if !errors.Is(err, is) || !errors.As(err, &lim) || lim.Size != size || lim.Limit != limit {
				t.Errorf("%s: %v, want %v: %d, limit %d", what, err, is, size, limit)
			}
		}
		_, err := st.Get(ctx, long, new(int))
		check("Get", err, durable.ErrKeyTooLarge, 11, 10)
		check("Put", st.Put(ctx, long, 1), durable.ErrKeyTooLarge, 11, 10)
		_, err = st.Delete(ctx, long)
		check("Delete", err, durable.ErrKeyTooLarge, 11, 10)
		_, err = st.ListPage(ctx, durable.ListOptions{Prefix: long}, "")
		check("List", err, durable.ErrKeyTooLarge, 11, 10)
		check("PutMany", st.PutMany(ctx, map[string]any{"ok": 1, long: 1}), durable.ErrKeyTooLarge, 11, 10)
		check("PutRaw", st.PutRaw(ctx, "k", big), durable.ErrValueTooLarge, 101, 100)
		check("Put", st.Put(ctx, "k", big), durable.ErrValueTooLarge, 104, 100) // as encoded
		check("PutMany", st.PutMany(ctx, map[string]any{"ok": 1, "k": big}), durable.ErrValueTooLarge, 104, 100)
		_, err = st.GetMany(ctx, four)
		check("GetMany", err, durable.ErrTooManyKeys, 4, 3)
		_, err = st.DeleteMany(ctx, four)
		check("DeleteMany", err, durable.ErrTooManyKeys, 4, 3)
		check("PutMany", st.PutMany(ctx, map[string]any{"a": 1, "b": 1, "c": 1, "d": 1}), durable.ErrTooManyKeys, 4, 3)
		if e := st.PutRaw(ctx, "k", big[:100]); e != nil {
			t.Errorf("at the limit: %v", e)
		}
		st.PutRaw(ctx, "l", big[:100])
		check("turn", st.PutRaw(ctx, "m", big[:100]), durable.ErrTurnTooLarge, 303, 300)
		if err := st.Sync(ctx); err != nil {
			return err
		}
		return st.PutRaw(ctx, "m", big[:100]) // a new turn
	})
	if got := strings.Join(keysOf(batches()), ","); got != "k l,m" {
		t.Errorf("batches %q, want %q: nothing of what was refused", got, "k l,m")
	}
	var lim *durable.LimitError
	rt = open(t, nil, &durable.Options{Limits: durable.Limits{ArgumentBytes: 10}})
	if _, err := durable.Call(t.Context(), rt.obj("a"), (*Obj).Echo, strings.Repeat("x", 11)); !errors.Is(err, durable.ErrArgumentTooLarge) || !errors.As(err, &lim) || lim.Limit != 10 {
		t.Errorf("argument: %v, want ErrArgumentTooLarge, limit 10", err)
	}
	if _, err := durable.Call(t.Context(), rt.obj("a"), (*Obj).Grow, 11); !errors.Is(err, durable.ErrArgumentTooLarge) {
		t.Errorf("result: %v, want ErrArgumentTooLarge", err)
	}
	must(t, t.Context(), rt.obj("a"), func(ctx context.Context, o *Obj) error {
		if n := o.get(ctx, "grown"); n != 11 {
			t.Errorf("grown = %d, want 11: a result that is too large takes nothing back", n)
		}
		return nil
	})
}

func TestNilNamespace(t *testing.T) {
	rt := open(t, nil, nil)
	n := rt.Namespace("Nobody")
	if n != nil {
		t.Fatalf("Namespace of an unknown name = %v, want nil", n)
	}
	for what, use := range map[string]func(){
		"Named":      func() { n.Named("x") },
		"IDFromName": func() { n.IDFromName("x") },
		"NewID":      func() { n.NewID() },
		"ParseID":    func() { n.ParseID("x") },
		"Get":        func() { n.Get(durable.ID{}) },
		"Objects":    func() { n.Objects(t.Context(), durable.ID{}) },
		"Names":      func() { n.Names(t.Context(), "", nil) },
	} {
		func() {
			defer func() {
				if text, _ := recover().(string); !strings.Contains(text, "Namespace is nil") {
					t.Errorf("%s panicked with %q, want a text that says what is nil", what, text)
				}
			}()
			use()
		}()
	}
}

func (o *Obj) Echo(_ context.Context, s string) (string, error) { return s, nil }
func (o *Obj) Grow(ctx context.Context, n int) (string, error) {
	return strings.Repeat("x", n), o.put(ctx, "grown", n)
}

func TestForeignIDs(t *testing.T) {
	rt := open(t, nil, &durable.Options{Classes: []durable.Class{class("Other", nil)}})
	mine, other := rt.Namespace("Obj"), rt.Namespace("Other")
	id := other.IDFromName("x")
	_, err := mine.Get(id)
	wantErr(t, "Get", err, durable.ErrInvalidID)
	_, err = mine.ParseID(id.String())
	wantErr(t, "ParseID", err, durable.ErrInvalidID)
	_, err = mine.Get(durable.ID{})
	wantErr(t, "Get of the zero ID", err, durable.ErrInvalidID)
}
