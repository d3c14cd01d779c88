package durable_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/durable/internal/testhook"
	"github.com/perdure/perdure/store"
	"github.com/perdure/perdure/store/memstore"
)

type run struct {
	at   time.Duration // since the test began
	info durable.AlarmInfo
}

// alarms collects the runs of handlers that do fn.
type alarms struct {
	began time.Time
	mu    sync.Mutex
	runs  []run
}

func (a *alarms) hooks(fn func(ctx context.Context, o *Obj, n int) error) *hooks {
	a.began = time.Now()
	return &hooks{alarm: func(ctx context.Context, o *Obj, info durable.AlarmInfo) error {
		a.mu.Lock()
		n := len(a.runs)
		a.runs = append(a.runs, run{at: time.Since(a.began), info: info})
		a.mu.Unlock()
		if _, set, err := o.st.Storage().GetAlarm(ctx); set || err != nil {
			return fmt.Errorf("inside the handler an alarm is set (%v)", err)
		}
		if fn == nil {
			return nil
		}
		return fn(ctx, o, n)
	}}
}

func (a *alarms) retries() (n []int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range a.runs {
		n = append(n, r.info.RetryCount)
	}
	return n
}

func (a *alarms) wantRuns(t *testing.T, want ...int) {
	t.Helper()
	if d := cmp.Diff(want, a.retries()); d != "" {
		t.Errorf("retry counts of the runs (-want +got):\n%s", d)
	}
}

func setAlarm(t *testing.T, s *durable.Stub, after time.Duration) {
	t.Helper()
	must(t, t.Context(), s, func(ctx context.Context, o *Obj) error {
		return o.st.Storage().SetAlarm(ctx, o.st.Now().Add(after))
	})
}

func alarmOf(t *testing.T, s *durable.Stub) (due time.Time, set bool) {
	t.Helper()
	must(t, t.Context(), s, func(ctx context.Context, o *Obj) (err error) {
		due, set, err = o.st.Storage().GetAlarm(ctx)
		return err
	})
	return due, set
}

var errBoom = errors.New("boom")

// Promise 8, row by row of what the reference does.
func TestAlarm(t *testing.T) {
	for _, tt := range []struct {
		name    string
		handler func(ctx context.Context, o *Obj, n int) error
		set     work
		wait    time.Duration
		want    []int // retry counts
	}{
		{name: "once", want: []int{0}},
		{name: "in the past", set: func(ctx context.Context, o *Obj) error {
			return o.st.Storage().SetAlarm(ctx, time.Now().Add(-time.Hour))
		}, want: []int{0}},
		{name: "moved", set: func(ctx context.Context, o *Obj) error {
			return errors.Join(o.st.Storage().SetAlarm(ctx, time.Now().Add(time.Hour)), o.st.Storage().SetAlarm(ctx, time.Now().Add(time.Second)))
		}, want: []int{0}},
		{name: "deleted", set: func(ctx context.Context, o *Obj) error {
			return errors.Join(o.st.Storage().SetAlarm(ctx, time.Now().Add(time.Second)), o.st.Storage().DeleteAlarm(ctx))
		}},
		{name: "DeleteAll", set: func(ctx context.Context, o *Obj) error {
			o.st.Storage().SetAlarm(ctx, time.Now().Add(time.Second))
			o.st.Storage().Sync(ctx)
			return o.st.Storage().DeleteAll(ctx)
		}},
		{name: "rolled back", set: func(ctx context.Context, o *Obj) error {
			o.st.Storage().Transaction(ctx, func(ctx context.Context, _ *durable.Txn) error {
				o.st.Storage().SetAlarm(ctx, time.Now().Add(time.Second))
				return errBoom
			})
			return nil
		}},
		{name: "lost with its turn", set: func(ctx context.Context, o *Obj) error {
			o.st.Storage().SetAlarm(ctx, time.Now().Add(time.Second))
			o.st.Abort(nil)
			return nil
		}},
		{name: "error once", handler: func(ctx context.Context, o *Obj, n int) error {
			o.put(ctx, "kept", 1)
			if n == 0 {
				return errBoom
			}
			if o.get(ctx, "kept") != 1 {
				return errors.New("the failed run's writes are lost")
			}
			return nil
		}, want: []int{0, 1}},
		{name: "panic once", handler: func(ctx context.Context, o *Obj, n int) error {
			if n == 0 {
				panic("boom")
			}
			return nil
		}, want: []int{0, 1}},
		{name: "always fails", handler: func(context.Context, *Obj, int) error { return errBoom }, want: []int{0, 1, 2, 3, 4, 5, 6}},
		{name: "always panics", handler: func(context.Context, *Obj, int) error { panic("boom") }, want: []int{0, 1, 2, 3, 4, 5, 6}},
		{name: "set again in the handler", handler: func(ctx context.Context, o *Obj, n int) error {
			if n < 3 {
				return o.st.Storage().SetAlarm(ctx, time.Now().Add(time.Minute))
			}
			return nil
		}, want: []int{0, 0, 0, 0}},
		{name: "set again, then error", handler: func(ctx context.Context, o *Obj, n int) error {
			if n < 2 {
				o.st.Storage().SetAlarm(ctx, time.Now().Add(time.Minute))
				return errBoom
			}
			return nil
		}, want: []int{0, 0, 0}},
		{name: "set again and committed, then error", handler: func(ctx context.Context, o *Obj, n int) error {
			if n < 2 {
				o.st.Storage().SetAlarm(ctx, time.Now().Add(time.Minute))
				o.st.Storage().Sync(ctx)
				return errBoom
			}
			return nil
		}, want: []int{0, 0, 0}},
		{name: "set again for the same moment, then error", handler: func(ctx context.Context, o *Obj, n int) error {
			if n == 0 {
				o.st.Storage().SetAlarm(ctx, time.Now()) // the bubble's clock stands still: the record is the same
				return errBoom
			}
			return nil
		}, want: []int{0, 0}},
		{name: "deleted in the handler, then error", handler: func(ctx context.Context, o *Obj, n int) error {
			o.st.Storage().DeleteAlarm(ctx)
			return errBoom
		}, want: []int{0}},
		{name: "DeleteAll in the handler, then error", handler: func(ctx context.Context, o *Obj, n int) error {
			o.st.Storage().DeleteAll(ctx)
			return errBoom
		}, want: []int{0}},
		{name: "set again, then panic", handler: func(ctx context.Context, o *Obj, n int) error {
			if n == 0 {
				o.st.Storage().SetAlarm(ctx, time.Now().Add(time.Minute))
				panic("boom") // takes the setting back with the turn
			}
			return nil
		}, want: []int{0, 1}},
		{name: "set by another event while it runs", handler: func(ctx context.Context, o *Obj, n int) error {
			if n == 0 {
				return o.st.Await(ctx, func(ctx context.Context) error {
					return do(ctx, o.st.Namespace("Obj").Named("a"), func(ctx context.Context, o *Obj) error {
						return o.st.Storage().SetAlarm(ctx, time.Now().Add(time.Minute))
					})
				})
			}
			return nil
		}, want: []int{0, 0}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var a alarms
				rt := open(t, a.hooks(tt.handler), nil)
				set := tt.set
				if set == nil {
					set = func(ctx context.Context, o *Obj) error {
						return o.st.Storage().SetAlarm(ctx, time.Now().Add(time.Second))
					}
				}
				do(t.Context(), rt.obj("a"), set)
				sleep(10 * time.Minute)
				a.wantRuns(t, tt.want...)
				if due, set := alarmOf(t, rt.obj("a")); set {
					t.Errorf("an alarm is left, due %v", due)
				}
				dropped := len(tt.want) == 7
				if got := rt.log.has(`alarm dropped: its handler kept failing" object="Obj \"a\""`); got != dropped {
					t.Errorf("dropped alarm logged with its object: %v, want %v", got, dropped)
				}
			})
		})
	}
}

// The n-th retry comes 2·2ⁿ s after the failure before it, and up to a quarter later.
func TestAlarmRetryDelays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a alarms
		rt := open(t, a.hooks(func(context.Context, *Obj, int) error { return errBoom }), nil)
		setAlarm(t, rt.obj("a"), time.Second)
		sleep(2 * time.Second)
		due, set := alarmOf(t, rt.obj("a"))
		if want := a.began.Add(time.Second); !set || due.UnixMilli() != want.UnixMilli() {
			t.Errorf("while a retry is due GetAlarm is %v, %v, want %v", due, set, want)
		}
		sleep(10 * time.Minute)
		if len(a.runs) != 7 {
			t.Fatalf("%d runs, want 7", len(a.runs))
		}
		for n := range 6 {
			delay := a.runs[n+1].at - a.runs[n].at
			if least := 2 * time.Second << n; delay < least || delay > least+least/4+2*time.Millisecond {
				t.Errorf("retry %d after %v, want %v to %v", n+1, delay, least, least+least/4)
			}
			if a.runs[n].info.Scheduled.UnixMilli() != due.UnixMilli() {
				t.Errorf("run %d: Scheduled %v, want %v", n, a.runs[n].info.Scheduled, due)
			}
		}
	})
}

func TestAlarmsSurviveACrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a alarms
		h := a.hooks(nil)
		s := memstore.New(nil)
		rt := openOn(t, s, h, nil)
		setAlarm(t, rt.obj("missed"), time.Minute)
		setAlarm(t, rt.obj("later"), time.Hour)
		s = s.Crash()
		rt.Close()
		sleep(10 * time.Minute)
		openOn(t, s, h, nil)
		synctest.Wait()
		a.wantRuns(t, 0) // the missed one, at once
		sleep(49*time.Minute + 59*time.Second)
		a.wantRuns(t, 0)
		sleep(time.Second)
		synctest.Wait()
		a.wantRuns(t, 0, 0)
	})
}

// A crash during the handler, at whatever moment, runs it again, and does not count.
func TestACrashDuringTheHandlerRunsItAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a alarms
		var s, after *memstore.Store
		s = memstore.New(nil)
		rt := openOn(t, s, a.hooks(func(ctx context.Context, o *Obj, n int) error {
			o.inc(ctx, "n")
			if n == 0 {
				o.st.Storage().Sync(ctx)
				after = s.Crash()
			}
			return nil
		}), nil)
		setAlarm(t, rt.obj("a"), time.Second)
		sleep(2 * time.Second)
		rt.Close()
		openOn(t, after, a.hooks(nil), nil)
		synctest.Wait()
		a.wantRuns(t, 0, 0)
	})
}

// Failures that are not the handler's own are not counted and never given up.
func TestInfrastructureFailuresAreNotCounted(t *testing.T) {
	t.Run("commit refused", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var a alarms
			rt := open(t, a.hooks(func(ctx context.Context, o *Obj, _ int) error { return o.put(ctx, "n", 1) }), nil)
			setAlarm(t, rt.obj("a"), time.Second)
			n := 0
			rt.store.FailCommits(func(b *store.Batch) error {
				if len(b.Ops) == 0 { // the runtime's own, were it to count
					return nil
				}
				if n++; n <= 20 {
					return store.ErrRefused
				}
				return nil
			})
			sleep(4 * time.Hour)
			if len(a.runs) != 21 {
				t.Errorf("%d runs, want 21", len(a.runs))
			}
			for i, r := range a.retries() {
				if r != 0 {
					t.Errorf("run %d: RetryCount %d, want 0", i, r)
				}
			}
			for i := range a.runs[1:] {
				delay, want := a.runs[i+1].at-a.runs[i].at, 2*time.Second<<min(i, 9)
				if delay < want || delay > want+time.Second {
					t.Errorf("try %d came after %v, want about %v", i+1, delay, want)
				}
			}
		})
	})
	t.Run("constructor", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var a alarms
			h := a.hooks(nil)
			tries := -1 // the first makes the instance that sets the alarm
			h.start = func(context.Context, *Obj) error {
				if tries++; 1 <= tries && tries <= 10 {
					return errBoom
				}
				return nil
			}
			rt := open(t, h, nil)
			setAlarm(t, rt.obj("a"), time.Minute) // evicted by then
			sleep(2 * time.Hour)
			a.wantRuns(t, 0)
			if tries != 11 {
				t.Errorf("%d tries, want 11", tries)
			}
		})
	})
}

// setClock moves the runtime's wall clock, as an operator or NTP would.
func setClock(rt *rig, shift time.Duration) { testhook.SetShift(rt.Runtime, shift) }

func TestAlarmsAreNeverEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a alarms
		var early []time.Duration
		var rt *rig
		h := a.hooks(nil)
		inner := h.alarm
		h.alarm = func(ctx context.Context, o *Obj, info durable.AlarmInfo) error {
			if d := info.Scheduled.Sub(o.st.Now()); d > 0 {
				early = append(early, d)
			}
			return inner(ctx, o, info)
		}
		rt = open(t, h, nil)
		must(t, t.Context(), rt.obj("odd"), func(ctx context.Context, o *Obj) error {
			at := time.UnixMilli(time.Now().UnixMilli() + 1000).Add(time.Microsecond) // not a whole millisecond
			if err := o.st.Storage().SetAlarm(ctx, at); err != nil {
				return err
			}
			if due, _, _ := o.st.Storage().GetAlarm(ctx); due.Before(at) {
				t.Errorf("due %v, before %v", due, at)
			}
			return nil
		})
		setAlarm(t, rt.obj("a"), time.Hour)
		sleep(59 * time.Minute)
		a.wantRuns(t, 0)
		setClock(rt, -time.Hour) // the wall clock jumps back: not due for one hour more
		sleep(59 * time.Minute)
		a.wantRuns(t, 0)
		setClock(rt, time.Hour) // and forward: due now
		sleep(11 * time.Second)
		a.wantRuns(t, 0, 0)
		if len(early) > 0 {
			t.Errorf("runs too early by %v", early)
		}
	})
}

// The clock jumps back while the handler's event waits for its turn.
func TestAlarmIsCheckedAgainAtItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a alarms
		rt := open(t, a.hooks(nil), nil)
		setAlarm(t, rt.obj("a"), time.Second)
		hold := make(chan bool)
		go do(t.Context(), rt.obj("a"), func(context.Context, *Obj) error { <-hold; return nil })
		sleep(2 * time.Second) // due, and queued behind the event
		setClock(rt, -time.Hour)
		close(hold)
		synctest.Wait()
		a.wantRuns(t)
		sleep(time.Hour + 11*time.Second)
		a.wantRuns(t, 0)
	})
}

func TestAlarmHandlerLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a alarms
		var ended time.Duration
		rt := open(t, a.hooks(func(ctx context.Context, o *Obj, n int) error {
			if n > 0 {
				return nil
			}
			<-ctx.Done()
			ended = time.Since(a.began)
			time.Sleep(time.Hour) // does not heed it
			wantErr(t, "Put beyond the limit", o.put(ctx, "n", 1), durable.ErrTimeLimit)
			return nil
		}), nil)
		setAlarm(t, rt.obj("a"), 0)
		sleep(15*time.Minute + time.Second)
		if ended < 15*time.Minute || ended > 15*time.Minute+time.Second {
			t.Errorf("its context ended after %v, want 15m", ended)
		}
		must(t, t.Context(), rt.obj("a"), func(context.Context, *Obj) error { return nil }) // a new instance, at once
		sleep(2 * time.Hour)
		a.wantRuns(t, 0, 1)
	})
}

func TestAlarmConcurrency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		now, most, total := 0, 0, 0
		h := &hooks{alarm: func(ctx context.Context, o *Obj, _ durable.AlarmInfo) error {
			mu.Lock()
			now++
			total++
			most = max(most, now)
			mu.Unlock()
			time.Sleep(time.Second)
			mu.Lock()
			now--
			mu.Unlock()
			return nil
		}}
		rt := open(t, h, &durable.Options{AlarmConcurrency: 3})
		for i := range 30 {
			setAlarm(t, rt.obj(fmt.Sprint(i)), time.Minute)
		}
		sleep(time.Minute + 11*time.Second)
		if most != 3 || total != 30 {
			t.Errorf("%d at once, %d in all, want 3, 30", most, total)
		}
	})
}

// A handler that fails or waits does not keep others from running, and a class that
// this program lacks does not either.
func TestAlarmsOfUnknownClassesAreLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New(nil)
		var a alarms
		rt := openOn(t, s, a.hooks(nil), &durable.Options{Classes: []durable.Class{class("Gone", a.hooks(nil))}})
		for i := range 20 {
			must(t, t.Context(), rt.Namespace("Gone").Named(fmt.Sprint(i)), func(ctx context.Context, o *Obj) error {
				return o.st.Storage().SetAlarm(ctx, time.Now().Add(time.Minute))
			})
		}
		setAlarm(t, rt.obj("a"), 2*time.Minute)
		s = s.Image()
		rt.Close()
		rt = openOn(t, s, a.hooks(nil), &durable.Options{AlarmConcurrency: 1})
		sleep(5 * time.Minute)
		a.wantRuns(t, 0)
		rt.Close()
	})
}

func TestAlarmsDoNotHoldTheObjectInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a alarms
		rt := open(t, a.hooks(nil), nil)
		setAlarm(t, rt.obj("a"), time.Minute)
		sleep(11 * time.Second)
		if testhook.Resident(rt.obj("a")) {
			t.Error("it is still there")
		}
		sleep(time.Minute)
		a.wantRuns(t, 0)
	})
}

// Requests run while a handler waits outside; a second run of the handler does not.
func TestAlarmHandlerIsAnEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a alarms
		rt := open(t, a.hooks(func(ctx context.Context, o *Obj, n int) error {
			if n == 0 {
				o.st.Storage().SetAlarm(ctx, time.Now().Add(100*time.Millisecond))
				return o.st.Await(ctx, func(context.Context) error { time.Sleep(3 * time.Second); return nil })
			}
			return nil
		}), nil)
		setAlarm(t, rt.obj("a"), 0)
		sleep(time.Second)
		must(t, t.Context(), rt.obj("a"), func(context.Context, *Obj) error { return nil })
		a.wantRuns(t, 0)
		sleep(3 * time.Second)
		a.wantRuns(t, 0, 0)
		if d := a.runs[1].at; d < 3*time.Second {
			t.Errorf("the second run began after %v, during the first", d)
		}
	})
}

func TestSetAlarmErrors(t *testing.T) {
	rt := open(t, nil, nil)
	must(t, t.Context(), rt.obj("a"), func(ctx context.Context, o *Obj) error {
		for _, at := range []time.Time{{}, time.UnixMilli(0), time.UnixMilli(-5)} {
			wantErr(t, at.String(), o.st.Storage().SetAlarm(ctx, at), durable.ErrInvalidAlarm)
		}
		return nil
	})
	silent, err := durable.Open(memstore.New(nil), &durable.Options{Classes: []durable.Class{
		durable.NewClass("Silent", func(_ context.Context, st *durable.State) (*Silent, error) { return &Silent{st}, nil }, nil),
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	wantErr(t, "class without a handler", durable.Exec0(t.Context(), silent.Namespace("Silent").Named("a"), (*Silent).SetAlarm), durable.ErrNoHandler)
}

// Silent has no alarm handler.
type Silent struct{ st *durable.State }

func (s *Silent) SetAlarm(ctx context.Context) error {
	return s.st.Storage().SetAlarm(ctx, time.Now().Add(time.Hour))
}
