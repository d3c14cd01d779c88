package durable_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/durable/internal/testhook"
	"github.com/perdure/perdure/store"
	"github.com/perdure/perdure/store/memstore"
)

var seedFlag = flag.Uint64("seed", 0, "seed of random histories; 0: by the clock")

func random(t *testing.T) (*rand.Rand, uint64) {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-seed %d", seed)
	return rand.New(rand.NewPCG(seed, 1)), seed
}

// model is an object's storage as it should be.
type model struct {
	keys  map[string]int
	alarm int64 // Unix ms, 0: none
}

func (m model) clone() model { return model{maps.Clone(m.keys), m.alarm} }

// TestHistory does random things to one object and to a map, and compares.
// Evictions, resets, refused commits and crashes take both back to what is durable.
func TestHistory(t *testing.T) {
	for range 20 {
		synctest.Test(t, func(t *testing.T) { history(t, 150) })
	}
}

func history(t *testing.T, events int) {
	r, seed := random(t)
	fatal := func(format string, args ...any) {
		t.Helper()
		t.Fatalf("seed %d: %s", seed, fmt.Sprintf(format, args...))
	}
	limits := durable.Limits{}
	if r.IntN(2) == 0 {
		limits.CacheBytes = 4 << 10 // so that most is read from the engine
	}
	opts := &durable.Options{Limits: limits, IdleTimeout: time.Hour}
	rt := openOn(t, memstore.New(nil), nil, opts)
	now := model{keys: map[string]int{}}

	compare := func(ctx context.Context, o *Obj, want model) {
		t.Helper()
		got := make(map[string]int)
		for e, err := range o.st.Storage().List(ctx, durable.ListOptions{}) {
			var n int
			if err := errors.Join(err, e.Decode(&n)); err != nil {
				fatal("list: %v", err)
			}
			got[e.Key] = n
		}
		if d := cmp.Diff(want.keys, got); d != "" {
			fatal("keys (-want +got):\n%s", d)
		}
		due, set, _ := o.st.Storage().GetAlarm(ctx)
		if set != (want.alarm != 0) || set && due.UnixMilli() != want.alarm {
			fatal("alarm %v, %v, want %d", due, set, want.alarm)
		}
	}

	var steps func(ctx context.Context, o *Obj, m *model, inTxn bool)
	step := func(ctx context.Context, o *Obj, m *model, inTxn bool) {
		st := o.st.Storage()
		k := randomKey(r)
		switch n := r.IntN(20); {
		case n < 6:
			v := r.IntN(1000)
			if err := o.put(ctx, k, v); err != nil {
				fatal("put: %v", err)
			}
			m.keys[k] = v
		case n < 9:
			_, had := m.keys[k]
			if deleted, err := st.Delete(ctx, k); deleted != had || err != nil {
				fatal("Delete(%q) = %v, %v, want %v", k, deleted, err, had)
			}
			delete(m.keys, k)
		case n < 11:
			entries, want := map[string]any{}, 0
			for range r.IntN(15) {
				entries[randomKey(r)] = 7
			}
			if err := st.PutMany(ctx, entries); err != nil {
				fatal("PutMany: %v", err)
			}
			var keys []string
			for k := range entries {
				m.keys[k] = 7
				keys = append(keys, k)
			}
			keys = append(keys, randomKey(r), randomKey(r))
			found, err := st.GetMany(ctx, keys)
			seen := map[string]bool{}
			for _, k := range keys {
				if _, ok := m.keys[k]; ok && !seen[k] {
					want++
				}
				seen[k] = true
			}
			if len(found) != want || err != nil {
				fatal("GetMany found %d, %v, want %d", len(found), err, want)
			}
			if r.IntN(2) == 0 {
				n, err := st.DeleteMany(ctx, append(keys, keys...))
				if n != want || err != nil {
					fatal("DeleteMany = %d, %v, want %d", n, err, want)
				}
				for _, k := range keys {
					delete(m.keys, k)
				}
			}
		case n < 14:
			var v int
			want, had := m.keys[k]
			if found, err := st.Get(ctx, k, &v); found != had || v != want || err != nil {
				fatal("Get(%q) = %d, %v, %v, want %d, %v", k, v, found, err, want, had)
			}
		case n == 14:
			opts := randomOptions(r)
			got, err := listKeys(ctx, o, opts)
			if d := cmp.Diff(selectKeys(m.keys, opts), got); d != "" || err != nil {
				fatal("List(%+v): %v (-want +got):\n%s", opts, err, d)
			}
		case n == 15:
			m.alarm = time.Now().Add(time.Duration(1+r.IntN(100)) * 365 * 24 * time.Hour).UnixMilli()
			if err := st.SetAlarm(ctx, time.UnixMilli(m.alarm)); err != nil {
				fatal("SetAlarm: %v", err)
			}
			if r.IntN(3) == 0 {
				m.alarm = 0
				st.DeleteAlarm(ctx)
			}
		case n == 16 && !inTxn:
			if err := st.DeleteAll(ctx); err != nil {
				fatal("DeleteAll: %v", err)
			}
			*m = model{keys: map[string]int{}}
		case n >= 17:
			before := m.clone()
			keep := r.IntN(2) == 0
			err := st.Transaction(ctx, func(ctx context.Context, tx *durable.Txn) error {
				steps(ctx, o, m, true)
				switch {
				case keep:
					return nil
				case r.IntN(2) == 0:
					return tx.Rollback()
				}
				return errBoom
			})
			if err != nil && err != errBoom {
				fatal("Transaction: %v", err)
			}
			if !keep {
				*m = before
			}
		}
	}
	steps = func(ctx context.Context, o *Obj, m *model, inTxn bool) {
		for range r.IntN(8) {
			step(ctx, o, m, inTxn)
		}
	}

	for range events {
		a := rt.obj("a")
		switch end := r.IntN(12); end {
		default: // an event, perhaps with commit points inside
			next := now.clone()
			must(t, t.Context(), a, func(ctx context.Context, o *Obj) error {
				compare(ctx, o, next)
				for range 1 + r.IntN(3) {
					steps(ctx, o, &next, false)
					switch r.IntN(3) {
					case 0:
						o.st.Storage().Sync(ctx)
					case 1:
						o.st.Await(ctx, func(context.Context) error { return nil })
					}
				}
				compare(ctx, o, next)
				return nil
			})
			now = next
		case 0, 1: // the turn is lost: a panic, an abort, or a commit that is refused
			committed := now.clone()
			do(t.Context(), a, func(ctx context.Context, o *Obj) error {
				steps(ctx, o, &committed, false)
				if err := o.st.Storage().Sync(ctx); err != nil {
					fatal("Sync: %v", err)
				}
				lost := committed.clone()
				steps(ctx, o, &lost, false)
				switch {
				case end == 1:
					refuseNext(rt.store, store.ErrRefused)
				case r.IntN(2) == 0:
					panic("lose it")
				default:
					o.st.Abort(nil)
				}
				return nil
			})
			rt.store.FailCommits(nil)
			now = committed
		case 2: // several events behind a commit that is held, then a crash or not
			hold := rt.store.Hold()
			kept := now.clone()
			for range 1 + r.IntN(3) {
				go do(t.Context(), a, func(ctx context.Context, o *Obj) error {
					compare(ctx, o, now)
					steps(ctx, o, &now, false)
					return nil
				})
				synctest.Wait()
			}
			if r.IntN(2) == 0 {
				hold.Release()
				synctest.Wait()
				break
			}
			now = kept
			after := rt.store.Crash()
			hold.Release()
			synctest.Wait()
			rt.Close()
			rt = openOn(t, after, nil, opts)
		case 3:
			if err := testhook.Evict(t.Context(), a); err != nil {
				fatal("evict: %v", err)
			}
		}
	}
	size := int64(0)
	must(t, t.Context(), rt.obj("a"), func(ctx context.Context, o *Obj) error {
		compare(ctx, o, now)
		for e, err := range o.st.Storage().List(ctx, durable.ListOptions{}) {
			if err != nil {
				return err
			}
			size += int64(len(e.Key) + len(e.Raw()))
		}
		return nil
	})
	for o := range rt.Namespace("Obj").Objects(t.Context(), durable.ID{}) {
		if o.Size != size {
			fatal("the header says %d bytes, there are %d", o.Size, size)
		}
	}
}
