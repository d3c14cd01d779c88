package durable_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/store"
)

// A shard moves while its object is busy and events queue up on all nodes: they run on
// the new owner, one at a time with all others, and nobody sees an error.
func TestHandOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, nil, nil, "a", "b", "c")
		w.giveAll("a")
		shard := shardOfStub(w.nodes["a"].obj("x"))
		var all running
		hold := make(chan struct{})
		first := async(func() error {
			return do(t.Context(), w.nodes["a"].obj("x"), func(ctx context.Context, o *Obj) error {
				all.in()
				defer all.out()
				<-hold
				return o.inc(ctx, "n")
			})
		})
		synctest.Wait()
		var ran atomic.Int64
		queue := func(from string, n int) (errs []chan error) {
			for range n {
				errs = append(errs, async(func() error {
					return do(t.Context(), w.nodes[from].obj("x"), func(ctx context.Context, o *Obj) error {
						all.in()
						defer all.out()
						ran.Add(1)
						if o.st.Var("node") != "b" {
							t.Errorf("an event that was queued ran on node %s", o.st.Var("node"))
						}
						return o.inc(ctx, "n")
					})
				}))
			}
			return errs
		}
		var errs []chan error
		for _, from := range []string{"a", "b", "c"} {
			errs = append(errs, queue(from, 20)...)
		}
		synctest.Wait()
		moved := async(func() error { return w.handOver(t.Context(), shard, "b") })
		synctest.Wait()
		if !pending(moved) {
			t.Error("Vacate returned while an event ran")
		}
		errs = append(errs, queue("c", 20)...)
		synctest.Wait()
		if ran.Load() != 0 {
			t.Errorf("%d events ran beside the first", ran.Load())
		}
		close(hold)
		if err := <-moved; err != nil {
			t.Errorf("Vacate: %v", err)
		}
		if err := <-first; err != nil {
			t.Errorf("the event that ran: %v", err)
		}
		for _, c := range errs {
			if err := <-c; err != nil {
				t.Errorf("an event that was queued: %v", err)
			}
		}
		must(t, t.Context(), w.nodes["b"].obj("x"), func(ctx context.Context, o *Obj) error {
			if n := o.get(ctx, "n"); n != 81 {
				t.Errorf("n = %d, want 81", n)
			}
			return nil
		})
		if all.worst != 1 {
			t.Errorf("%d events at once, want 1", all.worst)
		}
	})
}

// An event that has just been told where its object is comes too late: the tenure is over, or about to be.
func TestHandOverBetweenLookAndStart(t *testing.T) {
	for _, busy := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			w := newTown(t, nil, nil, "a", "b")
			w.giveAll("a")
			a := w.nodes["a"]
			shard := shardOfStub(a.obj("x"))
			hold := make(chan struct{})
			first := async(func() error {
				if !busy {
					return nil
				}
				return do(t.Context(), a.obj("x"), func(context.Context, *Obj) error { <-hold; return nil })
			})
			synctest.Wait()
			goOn := a.hesitate()
			late := async(func() error {
				return do(t.Context(), a.obj("x"), func(ctx context.Context, o *Obj) error {
					if o.st.Var("node") != "b" {
						t.Errorf("busy %v: a late event ran on node %s", busy, o.st.Var("node"))
					}
					return nil
				})
			})
			synctest.Wait()
			moved := async(func() error { return w.handOver(t.Context(), shard, "b") })
			synctest.Wait()
			goOn()
			synctest.Wait()
			close(hold)
			for what, c := range map[string]chan error{"first": first, "late": late, "Vacate": moved} {
				if err := <-c; err != nil {
					t.Errorf("busy %v, %s: %v", busy, what, err)
				}
			}
		})
	}
}

// Vacate returns when nothing of the objects is left: commits settled, OnStop run.
func TestVacateLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stopped := make(chan struct{})
		slow := make(chan struct{})
		h := &hooks{start: func(_ context.Context, o *Obj) error {
			o.st.OnStop(func() {
				<-slow
				close(stopped)
			})
			return nil
		}}
		w := newTown(t, h, nil, "a")
		w.giveAll("a")
		a := w.nodes["a"]
		shard := shardOfStub(a.obj("x"))
		release := make(chan struct{})
		w.store.FailCommits(func(b *store.Batch) error { <-release; return nil })
		answer := async(func() error {
			return do(t.Context(), a.obj("x"), func(ctx context.Context, o *Obj) error {
				if err := o.st.WaitUntil(ctx, func(ctx context.Context) error { <-ctx.Done(); return nil }); err != nil {
					return err
				}
				return o.put(ctx, "n", 1)
			})
		})
		synctest.Wait()
		e := w.shut(shard)
		vacated := async(func() error { return a.Vacate(t.Context(), e.place) })
		synctest.Wait()
		if !pending(vacated) || !pending(answer) {
			t.Error("Vacate did not wait for a commit")
		}
		close(release)
		if err := <-answer; err != nil {
			t.Errorf("answer: %v", err)
		}
		synctest.Wait()
		if !pending(vacated) {
			t.Error("Vacate did not wait for OnStop")
		}
		close(slow)
		if err := <-vacated; err != nil {
			t.Errorf("Vacate: %v", err)
		}
		<-stopped
	})
}

// While a shard is given up, what a running event waits for still gets to its object.
func TestChainsComeBackDuringAHandOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, nil, nil, "a", "b")
		x, y := w.twoObjects()
		hold := make(chan struct{})
		answer := async(func() error {
			return do(t.Context(), w.nodes["b"].obj(x), func(ctx context.Context, o *Obj) error {
				return do(ctx, o.st.Namespace("Obj").Named(y), func(ctx context.Context, o *Obj) error {
					if err := o.st.Await(ctx, func(context.Context) error { <-hold; return nil }); err != nil {
						return err
					}
					return do(ctx, o.st.Namespace("Obj").Named(x), func(ctx context.Context, o *Obj) error { return o.inc(ctx, "n") })
				})
			})
		})
		synctest.Wait()
		moved := async(func() error { return w.handOver(t.Context(), shardOfStub(w.nodes["a"].obj(x)), "b") })
		synctest.Wait()
		close(hold)
		if err := <-answer; err != nil {
			t.Errorf("chain: %v", err)
		}
		if err := <-moved; err != nil {
			t.Errorf("Vacate: %v", err)
		}
	})
}

// Streams and long events are cut at the limit, with an error that says whether to try again.
func TestStreamsAreCutAtTheGraceLimit(t *testing.T) {
	for _, c := range []struct {
		name, method string
		write, deaf  bool
		retryable    bool
	}{
		{"read", "GET", false, false, true},
		{"read by a deaf handler", "GET", false, true, true},
		{"written", "GET", true, false, false},
		{"post", "POST", false, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newTown(t, nil, nil, "a", "b")
				w.giveAll("a")
				a, b := w.nodes["a"], w.nodes["b"]
				shard := shardOfStub(a.obj("x"))
				end := make(chan struct{})
				r := request(t, c.method, nil, func(w http.ResponseWriter, r *http.Request, o *Obj) {
					if c.write {
						o.put(r.Context(), "n", 1)
					}
					io.WriteString(w, "part")
					http.NewResponseController(w).Flush()
					o.st.Await(r.Context(), func(ctx context.Context) error {
						if c.deaf {
							<-end
						}
						<-ctx.Done()
						return nil
					})
				})
				resp, err := b.obj("x").RoundTrip(r)
				if err != nil {
					t.Fatal(err)
				}
				rest := make(chan error, 1)
				go func() {
					_, err := io.ReadAll(resp.Body)
					rest <- err
				}()
				place := func() *durable.Place {
					p, _ := a.Locate(t.Context(), store.Object{ID: a.obj("x").ID().Bytes()})
					return p
				}()

				start := time.Now()
				grace, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				lingered := make(chan struct{})
				go func() {
					defer close(lingered)
					a.Linger(grace, place)
				}()
				sleep(time.Second)
				must(t, t.Context(), b.obj("x"), func(context.Context, *Obj) error { return nil }) // answers meanwhile
				if !pending(rest) {
					t.Error("the stream was cut before the limit")
				}
				<-lingered
				if d := time.Since(start); d != 5*time.Second {
					t.Errorf("Linger returned after %v, want 5 s", d)
				}
				hard, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				err = w.handOver(hard, shard, "b")
				if c.deaf != (err != nil) {
					t.Errorf("Vacate: %v", err)
				}
				must(t, t.Context(), a.obj("x"), func(context.Context, *Obj) error { return nil })
				close(end) // Go can't stop a goroutine: a handler that does not heed its context keeps its caller
				err = <-rest
				if e := factsOf(t, err); e.Retryable != c.retryable || !e.Reset || !errors.Is(err, durable.ErrNotOwner) {
					t.Errorf("the stream ended with %+v, want ErrNotOwner, retryable %v", e, c.retryable)
				}
			})
		})
	}
}

// Linger returns at once if nothing runs, and when what ran has ended.
func TestLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, nil, nil, "a")
		e := w.give(shardOfStub(w.nodes["a"].obj("x")), "a")
		a := w.nodes["a"]
		a.Linger(t.Context(), e.place)
		hold := make(chan struct{})
		done := async(func() error {
			return do(t.Context(), a.obj("x"), func(context.Context, *Obj) error { <-hold; return nil })
		})
		synctest.Wait()
		lingered := async(func() error { a.Linger(t.Context(), e.place); return nil })
		synctest.Wait()
		if !pending(lingered) {
			t.Error("Linger did not wait")
		}
		close(hold)
		<-done
		<-lingered
	})
}

// A node that has lost a shard answers nothing from it, whatever ran at that moment.
func TestLostLease(t *testing.T) {
	for _, tell := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			w := newTown(t, nil, nil, "a", "b")
			w.giveAll("a")
			a, b := w.nodes["a"], w.nodes["b"]
			shard := shardOfStub(a.obj("x"))
			inc := func(ctx context.Context, o *Obj) error { return o.inc(ctx, "n") }
			must(t, t.Context(), a.obj("x"), inc)

			hold := make(chan struct{})
			var seen atomic.Int64
			reader := async(func() error {
				return do(t.Context(), a.obj("x"), func(ctx context.Context, o *Obj) error {
					<-hold
					seen.Store(int64(o.get(ctx, "n")))
					return nil
				})
			})
			synctest.Wait()
			queued := async(func() error { return do(t.Context(), a.obj("x"), inc) })
			synctest.Wait()
			w.takeAway(shard, tell)
			w.give(shard, "b")
			must(t, t.Context(), b.obj("x"), inc)
			close(hold)
			err := <-reader
			if e := factsOf(t, err); !errors.Is(err, durable.ErrNotOwner) || !e.Retryable || !e.Reset {
				t.Errorf("told %v: reader got %+v, want ErrNotOwner, retryable", tell, e)
			}
			if tell && seen.Load() != -1 {
				t.Errorf("storage still works in an object that was dropped: read %d", seen.Load())
			}
			want := 3
			if err := <-queued; err != nil {
				if tell {
					t.Errorf("an event that had not started: %v", err)
				}
				want = 2 // it ran where the lease was lost already
				w.store.FailCommits(nil)
			}
			if tell {
				must(t, t.Context(), a.obj("x"), func(ctx context.Context, o *Obj) error {
					if n := o.get(ctx, "n"); n != want {
						t.Errorf("n = %d, want %d", n, want)
					}
					return nil
				})
			}
		})
	}
}

// What an event has left behind decides whether its caller may send it again.
func TestFactsOfALostLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, nil, nil, "a", "b")
		w.giveAll("a")
		a := w.nodes["a"]
		shard := shardOfStub(a.obj("x"))
		for _, c := range []struct {
			name      string
			fn        func(ctx context.Context, o *Obj, lose func()) error
			retryable bool
		}{
			{"read", func(ctx context.Context, o *Obj, lose func()) error { o.get(ctx, "n"); lose(); return nil }, true},
			{"read, and an error", func(ctx context.Context, o *Obj, lose func()) error { lose(); return errors.New("what I saw") }, true},
			{"written, not committed before", func(ctx context.Context, o *Obj, lose func()) error { o.inc(ctx, "n"); lose(); return nil }, false},
			{"committed", func(ctx context.Context, o *Obj, lose func()) error {
				o.inc(ctx, "n")
				err := o.st.Storage().Sync(ctx)
				lose()
				return err
			}, false},
			{"about to wait", func(ctx context.Context, o *Obj, lose func()) error {
				lose()
				return o.st.Await(ctx, func(context.Context) error { t.Error("Await ran without a lease"); return nil })
			}, false},
		} {
			err := do(t.Context(), a.obj("x"), func(ctx context.Context, o *Obj) error {
				return c.fn(ctx, o, func() { w.takeAway(shard, false) })
			})
			e := factsOf(t, err)
			if !errors.Is(err, durable.ErrNotOwner) || e.Retryable != c.retryable {
				t.Errorf("%s: %+v, want ErrNotOwner, retryable %v", c.name, e, c.retryable)
			}
			w.give(shard, "a")
		}
	})
}

// A node that loses a shard and gets it again has forgotten what it knew.
func TestObjectsAreLoadedAnewInEachTenure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, nil, nil, "a", "b")
		w.giveAll("a")
		a, b := w.nodes["a"], w.nodes["b"]
		shard := shardOfStub(a.obj("x"))
		inc := func(ctx context.Context, o *Obj) error { return o.inc(ctx, "n") }
		s := a.obj("x")
		must(t, t.Context(), s, inc)
		w.takeAway(shard, false) // nobody calls Drop
		w.give(shard, "b")
		must(t, t.Context(), b.obj("x"), inc)
		w.takeAway(shard, true)
		w.give(shard, "a")
		must(t, t.Context(), s, func(ctx context.Context, o *Obj) error {
			if n := o.get(ctx, "n"); n != 2 {
				t.Errorf("n = %d, want 2", n)
			}
			return nil
		})
	})
}

// Drop waits until the engine has taken what it was just being given, and nothing comes after that.
func TestDropWaitsForTheEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, nil, nil, "a")
		w.giveAll("a")
		a := w.nodes["a"]
		shard := shardOfStub(a.obj("x"))
		taking := make(chan struct{})
		st := &slowStore{Store: w.store, apply: func() { <-taking }}
		rt, err := durable.Open(st, &durable.Options{Classes: []durable.Class{class("Obj", nil)}, Placement: a})
		if err != nil {
			t.Fatal(err)
		}
		defer rt.Close()
		answer := async(func() error {
			return do(t.Context(), rt.Namespace("Obj").Named("x"), func(ctx context.Context, o *Obj) error { return o.put(ctx, "n", 1) })
		})
		synctest.Wait()
		e := w.shut(shard)
		e.lost.Store(true)
		dropped := async(func() error { rt.Drop(e.place); return nil })
		synctest.Wait()
		if !pending(dropped) {
			t.Error("Drop returned while the engine was being given a batch")
		}
		close(taking)
		<-dropped
		wantErr(t, "its answer", <-answer, durable.ErrNotOwner)
	})
}

// slowStore calls apply before each Apply.
type slowStore struct {
	store.Store
	apply func()
}

func (s *slowStore) Close() error { return nil }

func (s *slowStore) Apply(b *store.Batch) store.Commit {
	s.apply()
	return s.Store.Apply(b)
}

// Nobody holds the shard: events wait for whoever takes it, no longer than their callers do.
func TestEventsWaitForAnOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, nil, nil, "a", "b")
		s := w.nodes["a"].obj("x")
		nop := func(context.Context, *Obj) error { return nil }
		waiting := async(func() error { return do(t.Context(), s, nop) })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := do(ctx, s, nop)
		if e := factsOf(t, err); !e.Retryable || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("caller that left: %+v", e)
		}
		if !pending(waiting) {
			t.Error("the other one did not wait")
		}
		w.give(shardOfStub(s), "b")
		if err := <-waiting; err != nil {
			t.Errorf("event that waited for an owner: %v", err)
		}
	})
}

// Alarms run on the node that holds the object, late ones at once when it takes over.
func TestAlarmsFollowTheirShard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fired atomic.Int64
		h := &hooks{alarm: func(context.Context, *Obj, durable.AlarmInfo) error { fired.Add(1); return nil }}
		w := newTown(t, h, nil, "a", "b")
		w.giveAll("a")
		shard := shardOfStub(w.nodes["a"].obj("x"))
		set := func(ctx context.Context, o *Obj) error {
			return o.st.Storage().SetAlarm(ctx, o.st.Now().Add(time.Minute))
		}
		must(t, t.Context(), w.nodes["b"].obj("x"), set)
		sleep(time.Minute)
		if n := fired.Load(); n != 1 {
			t.Fatalf("alarm ran %d times, want once", n)
		}

		must(t, t.Context(), w.nodes["b"].obj("x"), set)
		w.takeAway(shard, true) // and nobody has it for a while
		sleep(5 * time.Minute)
		if n := fired.Load(); n != 1 {
			t.Fatalf("alarm ran on a node that does not hold its shard")
		}
		w.give(shard, "b")
		synctest.Wait()
		if n := fired.Load(); n != 2 {
			t.Errorf("late alarm ran %d times at take-over, want once, at once", n-1)
		}
		sleep(time.Hour)
		if n := fired.Load(); n != 2 {
			t.Errorf("alarms ran %d times, want 2", n)
		}
	})
}

// An alarm whose handler is cut off by a hand-over runs again on the new owner, and is not counted as failed.
func TestAlarmCutByAHandOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var counts []int
		hold := make(chan struct{})
		h := &hooks{alarm: func(ctx context.Context, o *Obj, info durable.AlarmInfo) error {
			counts = append(counts, info.RetryCount)
			if len(counts) == 1 {
				<-hold
			}
			return nil
		}}
		w := newTown(t, h, nil, "a", "b")
		w.giveAll("a")
		defer close(hold)
		must(t, t.Context(), w.nodes["a"].obj("x"), func(ctx context.Context, o *Obj) error {
			return o.st.Storage().SetAlarm(ctx, o.st.Now())
		})
		sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := w.handOver(ctx, shardOfStub(w.nodes["a"].obj("x")), "b"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Vacate: %v, want that it was cut off", err)
		}
		sleep(10 * time.Second)
		if len(counts) != 2 || counts[1] != 0 {
			t.Errorf("retry counts %v, want 0 and 0", counts)
		}
	})
}

// A handler whose lease turns out to be lost has not failed.
func TestAlarmOfALostLeaseIsNotCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var counts []int
		h := &hooks{}
		w := newTown(t, h, nil, "a", "b")
		w.giveAll("a")
		sleep(time.Second) // of what has just come an alarm is tried again at once
		e := w.owners[shardOfStub(w.nodes["a"].obj("x"))]
		h.alarm = func(ctx context.Context, o *Obj, info durable.AlarmInfo) error {
			counts = append(counts, info.RetryCount)
			e.lost.Store(true)
			return errors.New("it failed, for all that it knows")
		}
		must(t, t.Context(), w.nodes["a"].obj("x"), func(ctx context.Context, o *Obj) error {
			return o.st.Storage().SetAlarm(ctx, o.st.Now())
		})
		sleep(time.Second / 2) // it has run, and the old node does not try again before a second has passed
		w.give(e.shard, "b")
		sleep(time.Second)
		if len(counts) != 2 || counts[1] != 0 {
			t.Errorf("retry counts %v, want 0 and 0", counts)
		}
	})
}

// An alarm that was sent away because nobody knew of its shard starts at once when that has
// come back, however often it was sent away, and also if it is sent away only then.
func TestAlarmOfAShardThatComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fired atomic.Int64
		h := &hooks{alarm: func(context.Context, *Obj, durable.AlarmInfo) error { fired.Add(1); return nil }}
		w := newTown(t, h, nil, "a", "b")
		w.giveAll("a")
		a := w.nodes["a"]
		shard := shardOfStub(a.obj("x"))
		lost := func(err error) {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.lost = err
		}
		for n, late := range []bool{false, true} {
			must(t, t.Context(), a.obj("x"), func(ctx context.Context, o *Obj) error {
				return o.st.Storage().SetAlarm(ctx, o.st.Now().Add(10*time.Second))
			})
			w.takeAway(shard, true)
			w.give(shard, "a")
			lost(errors.New("on its way"))
			goOn := func() {}
			if late {
				goOn = a.hesitate()
			}
			sleep(25 * time.Second)
			lost(nil)
			w.give(shard, "a")
			synctest.Wait()
			goOn()
			synctest.Wait()
			if got := fired.Load(); got != int64(n+1) {
				t.Fatalf("sent away late: %t: alarm ran %d times once its shard had come back, want once", late, got-int64(n))
			}
		}
	})
}

// Each node's changes reach the other's quota, and freed space too.
func TestQuotaIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, nil, &durable.Options{Limits: durable.Limits{NamespaceBytes: 10_000}}, "a", "b")
		x, y := w.twoObjects()
		put := func(n int) work {
			return func(ctx context.Context, o *Obj) error { return o.st.Storage().PutRaw(ctx, "k", make([]byte, n)) }
		}
		synctest.Wait() // for the first count
		must(t, t.Context(), w.nodes["a"].obj(x), put(8000))
		sleep(2 * time.Second)
		must(t, t.Context(), w.nodes["b"].obj(y), put(10))
		sleep(2 * time.Second)
		wantErr(t, "beyond what both have", do(t.Context(), w.nodes["b"].obj(y), put(4000)), durable.ErrQuotaExceeded)
		must(t, t.Context(), w.nodes["a"].obj(x), put(10))
		sleep(30 * time.Second)
		must(t, t.Context(), w.nodes["b"].obj(y), put(4000))
	})
}

// An event that its time has run out for is cut off, and Vacate does not return before
// the engine has what it was being given.
func TestVacateWaitsForTheEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, nil, nil, "a")
		w.giveAll("a")
		a := w.nodes["a"]
		taking := make(chan struct{})
		st := &slowStore{Store: w.store, apply: func() { <-taking }}
		rt, err := durable.Open(st, &durable.Options{Classes: []durable.Class{class("Obj", nil)}, Placement: a})
		if err != nil {
			t.Fatal(err)
		}
		defer rt.Close()
		x := rt.Namespace("Obj").Named("x")
		answer := async(func() error {
			return do(t.Context(), x, func(ctx context.Context, o *Obj) error { return o.put(ctx, "n", 1) })
		})
		synctest.Wait()
		e := w.shut(shardOfStub(x))
		ended, end := context.WithCancel(t.Context())
		end()
		vacated := async(func() error { return rt.Vacate(ended, e.place) })
		synctest.Wait()
		if !pending(vacated) {
			t.Error("Vacate returned while the engine was being given a batch")
		}
		close(taking)
		wantErr(t, "Vacate", <-vacated, context.Canceled)
		if err := <-answer; err != nil { // its commit was applied while the lease held
			t.Errorf("its answer: %v", err)
		}
	})
}

// A call that has run is not safe to make again, although its caller has been cut off meanwhile.
func TestCallOfALostEventMayHaveRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, nil, nil, "a")
		w.giveAll("a")
		a := w.nodes["a"]
		x, y := a.obj("x"), a.obj("y")
		for i := 0; shardOfStub(x) == shardOfStub(y); i++ {
			y = a.obj(fmt.Sprint("y", i))
		}
		name, _ := y.Name()
		seen := make(chan error, 1)
		do(t.Context(), x, func(ctx context.Context, o *Obj) error {
			err := do(ctx, o.st.Namespace("Obj").Named(name), func(ctx context.Context, p *Obj) error {
				w.takeAway(shardOfStub(x), true)
				return p.inc(ctx, "n")
			})
			seen <- err
			return err
		})
		if e := factsOf(t, <-seen); e.Retryable || !errors.Is(e, durable.ErrNotOwner) {
			t.Errorf("the call has run, its error is %#v", e)
		}
	})
}

// An object that is lost while it is read leaves nothing behind in the cache's budget.
func TestDropDuringALoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, nil, nil, "a")
		w.giveAll("a")
		a := w.nodes["a"]
		st := &slowLoads{Store: w.store}
		rt, err := durable.Open(st, &durable.Options{
			Classes: []durable.Class{class("Obj", nil)}, Placement: a, Limits: durable.Limits{CacheBytes: 4 << 10},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer rt.Close()
		x := rt.Namespace("Obj").Named("x")
		must(t, t.Context(), x, func(ctx context.Context, o *Obj) error {
			return o.st.Storage().Put(ctx, "text", strings.Repeat("x", 1000))
		})
		read := func(ctx context.Context, o *Obj) error {
			var text string
			_, err := o.st.Storage().Get(ctx, "text", &text)
			return err
		}
		shard := shardOfStub(x)
		w.mu.Lock()
		first := w.owners[shard]
		w.mu.Unlock()
		first.lost.Store(true)
		rt.Drop(first.place)
		for range 10 {
			w.give(shard, "a")
			loading := make(chan struct{})
			st.load = func() { <-loading }
			answer := async(func() error { return do(t.Context(), x, read) })
			synctest.Wait()
			e := w.shut(shard)
			e.lost.Store(true)
			rt.Drop(e.place)
			st.load = nil
			close(loading)
			synctest.Wait()
			w.give(shard, "a")
			if err := <-answer; err != nil {
				t.Fatalf("the read: %v", err)
			}
			e = w.shut(shard)
			e.lost.Store(true)
			rt.Drop(e.place)
		}
		w.give(shard, "a")
		before := st.gets
		for range 5 {
			must(t, t.Context(), x, read)
		}
		if st.gets != before {
			t.Errorf("%d of 5 reads went to the engine: there is no room left in the cache", st.gets-before)
		}
	})
}

// slowLoads calls load after each Load, and counts Gets.
type slowLoads struct {
	store.Store
	load func()
	gets int
}

func (s *slowLoads) Close() error { return nil }

func (s *slowLoads) Load(ctx context.Context, o store.Object) (store.Loaded, error) {
	wait := s.load
	l, err := s.Store.Load(ctx, o)
	if wait != nil {
		wait()
	}
	return l, err
}

func (s *slowLoads) Get(ctx context.Context, o store.Object, keys ...string) ([][]byte, error) {
	s.gets++
	return s.Store.Get(ctx, o, keys...)
}

// Two shards are given up together, and an event of the one calls an object of the
// other, which it has to wait for: each is let go of on its own, and so both get away.
func TestShardsThatAreGivenUpTogetherDoNotWaitForEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, nil, nil, "a", "b")
		w.giveAll("a")
		a := w.nodes["a"]
		x, y := a.obj("x"), a.obj("y")
		for i := 0; shardOfStub(x) == shardOfStub(y); i++ {
			y = a.obj(fmt.Sprint("y", i))
		}
		must(t, t.Context(), y, func(ctx context.Context, o *Obj) error { return nil })
		name, _ := y.Name()
		called := make(chan struct{})
		answer := async(func() error {
			return do(t.Context(), x, func(ctx context.Context, o *Obj) error {
				<-called
				return do(ctx, o.st.Namespace("Obj").Named(name), func(ctx context.Context, p *Obj) error { return p.inc(ctx, "n") })
			})
		})
		synctest.Wait()
		of := map[*durable.Place]*tenure{}
		for _, s := range []*durable.Stub{x, y} {
			e := w.shut(shardOfStub(s))
			of[e.place] = e
		}
		var places []*durable.Place
		for p := range of {
			places = append(places, p)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		vacated := async(func() error {
			return a.VacateEach(ctx, func(left ...*durable.Place) {
				for _, p := range left {
					of[p].lost.Store(true)
					w.give(of[p].shard, "b")
				}
			}, places...)
		})
		synctest.Wait()
		close(called)
		if err := <-answer; err != nil {
			t.Errorf("the event that called: %v", err)
		}
		if err := <-vacated; err != nil {
			t.Errorf("VacateEach: %v", err)
		}
	})
}
