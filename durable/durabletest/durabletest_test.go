package durabletest_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/durable/durabletest"
	"github.com/perdure/perdure/store"
)

// Clock is an object with an alarm that does what the test says.
type Clock struct {
	st    *durable.State
	lab   *lab
	calls int
}

func (c *Clock) Set(ctx context.Context, at time.Time) error { return c.st.Storage().SetAlarm(ctx, at) }

func (c *Clock) Write(ctx context.Context, n int) error { return c.st.Storage().Put(ctx, "n", n) }

func (c *Clock) Read(ctx context.Context) (int, error) {
	var n int
	_, err := c.st.Storage().Get(ctx, "n", &n)
	return n, err
}

// Calls counts the calls of this instance.
func (c *Clock) Calls(context.Context) (int, error) {
	c.calls++
	return c.calls, nil
}

// Wait waits outside the gate until the lab lets it go, then writes.
func (c *Clock) Wait(ctx context.Context, n int) error {
	err := c.st.Await(ctx, func(ctx context.Context) error {
		c.lab.waiting <- struct{}{}
		select {
		case <-c.lab.release:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	if err != nil {
		return err
	}
	return c.Write(ctx, n)
}

func (c *Clock) Alarm(ctx context.Context, info durable.AlarmInfo) error {
	c.lab.add(fmt.Sprintf("%v for %v, failed %d", c.st.Now().Sub(c.lab.start).Round(time.Second), info.Scheduled.Sub(c.lab.start), info.RetryCount))
	return c.lab.alarm(ctx, c.st)
}

// lab is what a test and its objects share.
type lab struct {
	start   time.Time // of the runtime's clock, a whole second
	settle  func()    // in a bubble: waits until nothing moves any more
	alarm   func(ctx context.Context, st *durable.State) error
	waiting chan struct{}
	release chan struct{}

	mu  sync.Mutex
	log []string // alarms and stops
}

func (l *lab) add(line string) {
	l.mu.Lock()
	l.log = append(l.log, line)
	l.mu.Unlock()
}

// expect compares the log with want and empties it.
func (l *lab) expect(t *testing.T, want ...string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if diff := cmp.Diff(want, l.log); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
	l.log = nil
}

// in runs f in a synctest bubble and outside one.
func in(t *testing.T, f func(t *testing.T, rt *durabletest.Runtime, l *lab)) {
	run := func(t *testing.T, settle func()) {
		l := &lab{
			settle:  settle,
			start:   time.Date(2031, 5, 1, 12, 0, 0, 0, time.UTC),
			alarm:   func(context.Context, *durable.State) error { return nil },
			waiting: make(chan struct{}), release: make(chan struct{}),
		}
		class := durable.NewClass("Clock", func(_ context.Context, st *durable.State) (*Clock, error) {
			st.OnStop(func() { l.add("stop") })
			return &Clock{st: st, lab: l}, nil
		}, nil)
		rt := durabletest.New(t, &durable.Options{Classes: []durable.Class{class}, Bindings: map[string]string{"CLOCKS": "Clock"}})
		rt.SetTime(l.start)
		f(t, rt, l)
	}
	t.Run("plain", func(t *testing.T) { run(t, func() {}) })
	t.Run("bubble", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { run(t, synctest.Wait) })
	})
}

func clock(rt *durabletest.Runtime) *durable.Stub { return rt.Namespace("Clock").Named("a") }

func set(t *testing.T, s *durable.Stub, at time.Time) {
	t.Helper()
	if err := durable.Exec(t.Context(), s, (*Clock).Set, at); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, s *durable.Stub, n int) {
	t.Helper()
	if err := durable.Exec(t.Context(), s, (*Clock).Write, n); err != nil {
		t.Fatal(err)
	}
}

func wantN(t *testing.T, s *durable.Stub, want int) {
	t.Helper()
	if n, err := durable.Call0(t.Context(), s, (*Clock).Read); n != want || err != nil {
		t.Errorf("Read = %d, %v, want %d", n, err, want)
	}
}

// fails runs f with a testing.TB of its own and returns how it failed, "" if it did not.
func fails(t *testing.T, f func(tb testing.TB)) string {
	t.Helper()
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(r)
	}()
	<-done
	return r.text
}

type recorder struct {
	testing.TB
	text string
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.text = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func TestRun(t *testing.T) {
	in(t, func(t *testing.T, rt *durabletest.Runtime, _ *lab) {
		a := clock(rt)
		err := durabletest.Run(t.Context(), a, func(ctx context.Context, st *durable.State, c *Clock) error {
			if name, _ := st.Name(); name != "a" {
				t.Errorf("Name() = %q, want a", name)
			}
			c.calls = 41
			return st.Storage().Put(ctx, "n", 7)
		})
		if err != nil {
			t.Fatal(err)
		}
		if n, err := durable.Call0(t.Context(), a, (*Clock).Calls); n != 42 || err != nil {
			t.Errorf("Calls = %d, %v, want 42: Run has to see the instance itself", n, err)
		}
		rt.Crash()
		wantN(t, clock(rt), 7)
	})
}

func TestRunWaitsItsTurn(t *testing.T) {
	in(t, func(t *testing.T, rt *durabletest.Runtime, _ *lab) {
		a := clock(rt)
		const n = 20
		var wg sync.WaitGroup
		inside := 0 // guarded by the object's gate; the race detector looks on
		for range n {
			wg.Go(func() {
				err := durabletest.Run(t.Context(), a, func(ctx context.Context, st *durable.State, c *Clock) error {
					inside++
					defer func() { inside-- }()
					if inside != 1 {
						t.Errorf("%d functions inside at once", inside)
					}
					v, err := c.Read(ctx)
					runtime.Gosched()
					if err != nil {
						return err
					}
					return c.Write(ctx, v+1)
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		wantN(t, a, n)
	})
}

func TestRunErrors(t *testing.T) {
	in(t, func(t *testing.T, rt *durabletest.Runtime, _ *lab) {
		a := clock(rt)
		own := errors.New("own")
		err := durabletest.Run(t.Context(), a, func(context.Context, *durable.State, *Clock) error { return own })
		if err != own {
			t.Errorf("Run = %v, want the function's error itself", err)
		}
		err = durabletest.Run(t.Context(), a, func(context.Context, *durable.State, *lab) error { return nil })
		if err == nil || !strings.Contains(err.Error(), "*durabletest_test.Clock, not a *durabletest_test.lab") {
			t.Errorf("Run with another type = %v", err)
		}
		err = durabletest.Run(t.Context(), a, func(_ context.Context, st *durable.State, _ *Clock) error {
			st.Abort(nil)
			return nil
		})
		if !errors.Is(err, durable.ErrReset) {
			t.Errorf("Run of an aborted event = %v, want ErrReset", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err = durabletest.Run(ctx, a, func(context.Context, *durable.State, *Clock) error {
			t.Error("ran with a context that had ended")
			return nil
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v, want context.Canceled", err)
		}
	})
}

func TestRunThatDoesNotReturn(t *testing.T) {
	in(t, func(t *testing.T, rt *durabletest.Runtime, _ *lab) {
		a := clock(rt)
		write(t, a, 1)
		for name, leave := range map[string]func(){
			"t.FailNow": runtime.Goexit,
			"panic":     func() { panic("of the test") },
		} {
			var recovered any
			done := make(chan struct{})
			go func() {
				defer close(done)
				defer func() { recovered = recover() }()
				durabletest.Run(t.Context(), a, func(ctx context.Context, st *durable.State, c *Clock) error {
					if err := c.Write(ctx, 2); err != nil {
						t.Error(err)
					}
					leave()
					return nil
				})
			}()
			<-done
			if name == "panic" && recovered != "of the test" {
				t.Errorf("recovered %v, want the test's own panic", recovered)
			}
			wantN(t, a, 1) // and the object is not stuck
		}
	})
}

func TestObjects(t *testing.T) {
	in(t, func(t *testing.T, rt *durabletest.Runtime, _ *lab) {
		ns := rt.Namespace("Clock")
		wantN(t, ns.Named("read only"), 0)
		for _, name := range []string{"a", "b", "c"} {
			write(t, ns.Named(name), 1)
		}
		err := durabletest.Run(t.Context(), ns.Named("b"), func(ctx context.Context, st *durable.State, _ *Clock) error {
			return st.Storage().DeleteAll(ctx)
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, class := range []string{"Clock", "CLOCKS"} {
			got := make(map[string]durable.ID)
			for _, o := range rt.Objects(class) {
				got[o.Name] = o.ID
			}
			want := map[string]durable.ID{"a": ns.IDFromName("a"), "c": ns.IDFromName("c")}
			if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b durable.ID) bool { return a == b })); diff != "" {
				t.Errorf("Objects(%q) (-want +got):\n%s", class, diff)
			}
		}
	})
	text := fails(t, func(tb testing.TB) { durabletest.New(tb, nil).Objects("Nothing") })
	if !strings.Contains(text, "no class Nothing") {
		t.Errorf("Objects of an unknown class failed with %q", text)
	}
}

func TestAdvance(t *testing.T) {
	in(t, func(t *testing.T, rt *durabletest.Runtime, l *lab) {
		a := clock(rt)
		l.alarm = func(ctx context.Context, st *durable.State) error { // every minute
			return st.Storage().SetAlarm(ctx, l.start.Add(st.Now().Sub(l.start).Truncate(time.Second)+time.Minute))
		}
		set(t, a, l.start.Add(time.Minute))
		rt.Advance(59 * time.Second)
		l.expect(t)
		rt.Advance(2*time.Minute + 10*time.Second)
		l.expect(t, "1m0s for 1m0s, failed 0", "2m0s for 2m0s, failed 0", "3m0s for 3m0s, failed 0")
		if got, want := rt.Now().Sub(l.start).Round(time.Second), 189*time.Second; got != want {
			t.Errorf("clock stands at %v, want %v", got, want)
		}
		err := durabletest.Run(t.Context(), a, func(_ context.Context, st *durable.State, _ *Clock) error {
			if d := rt.Now().Sub(st.Now()).Abs(); d > time.Second {
				t.Errorf("State.Now is %v apart from Now", d)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}

func TestAdvanceRoundsAsAlarmsDo(t *testing.T) {
	in(t, func(t *testing.T, rt *durabletest.Runtime, l *lab) {
		for range 20 {
			rt.Advance(time.Microsecond)
			set(t, clock(rt), rt.Now().Add(time.Minute+300*time.Microsecond))
			rt.Advance(time.Minute + 300*time.Microsecond)
			if at := rt.Objects("Clock")[0].Alarm; !at.IsZero() {
				t.Fatalf("at %v the alarm for %v has not run", rt.Now(), at)
			}
		}
	})
}

func TestAdvanceOverObjects(t *testing.T) {
	in(t, func(t *testing.T, rt *durabletest.Runtime, l *lab) {
		for i, name := range []string{"a", "b", "c"} {
			set(t, rt.Namespace("Clock").Named(name), l.start.Add(time.Duration(3-i)*time.Hour))
		}
		rt.Advance(150 * time.Minute)
		l.expect(t, "1h0m0s for 1h0m0s, failed 0", "2h0m0s for 2h0m0s, failed 0")
	})
}

func TestAdvanceThroughRetries(t *testing.T) {
	in(t, func(t *testing.T, rt *durabletest.Runtime, l *lab) {
		a := clock(rt)
		runs := 0
		l.alarm = func(context.Context, *durable.State) error {
			runs++
			return errors.New("no")
		}
		set(t, a, l.start.Add(time.Minute))
		rt.Advance(time.Hour)
		if runs != 7 {
			t.Errorf("handler ran %d times in an hour, want 7: once and six retries", runs)
		}
		if ran, err := rt.RunAlarm(a); ran || err != nil {
			t.Errorf("RunAlarm after the last retry = %v, %v, want no alarm", ran, err)
		}
	})
}

func TestAdvanceEndsLoop(t *testing.T) {
	rt := durabletest.New(nil, &durable.Options{Classes: []durable.Class{
		durable.NewClass("Loop", func(_ context.Context, st *durable.State) (*looper, error) { return &looper{st}, nil }, nil),
	}})
	defer rt.Close()
	if err := durable.Exec0(t.Context(), rt.Namespace("Loop").Named(""), (*looper).Start); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if p := fmt.Sprint(recover()); !strings.Contains(p, "again and again") {
			t.Errorf("Advance ended with %q", p)
		}
	}()
	rt.Advance(time.Second)
}

type looper struct{ st *durable.State }

func (l *looper) Start(ctx context.Context) error { return l.st.Storage().SetAlarm(ctx, l.st.Now()) }

func (l *looper) Alarm(ctx context.Context, _ durable.AlarmInfo) error {
	return l.st.Storage().SetAlarm(ctx, l.st.Now().Add(-time.Second))
}

func TestSetTime(t *testing.T) {
	in(t, func(t *testing.T, rt *durabletest.Runtime, l *lab) {
		a := clock(rt)
		l.alarm = func(ctx context.Context, st *durable.State) error {
			return st.Storage().SetAlarm(ctx, st.Now().Add(24*time.Hour))
		}
		set(t, a, l.start.Add(time.Hour))
		rt.SetTime(l.start.AddDate(-10, 0, 0))
		l.expect(t)
		rt.SetTime(l.start.Add(10 * time.Hour)) // one jump, one run
		l.expect(t, "10h0m0s for 1h0m0s, failed 0")
	})
}

func TestClockSurvives(t *testing.T) {
	in(t, func(t *testing.T, rt *durabletest.Runtime, l *lab) {
		past := time.Date(2011, 1, 1, 0, 0, 0, 0, time.UTC)
		for name, again := range map[string]func(){"Crash": rt.Crash, "Reopen": rt.Reopen} {
			rt.SetTime(past)
			l.start = past
			set(t, clock(rt), past.Add(time.Hour)) // long ago by the machine's clock
			again()
			err := durabletest.Run(t.Context(), clock(rt), func(_ context.Context, st *durable.State, _ *Clock) error {
				if d := st.Now().Sub(past); d < 0 || d > time.Minute {
					t.Errorf("State.Now is %v after %s, want %v", st.Now(), name, past)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
			l.settle()
			rt.Advance(0) // whatever the new runtime has started is over then
			if name == "Reopen" {
				l.expect(t, "stop")
			} else {
				l.expect(t)
			}
			if d := rt.Now().Sub(past); d < 0 || d > time.Minute {
				t.Errorf("clock stands at %v after %s, want %v", rt.Now(), name, past)
			}
			rt.Advance(time.Hour)
			l.expect(t, "1h0m0s for 1h0m0s, failed 0")
			rt.EvictAll()
			waitLog(t, l, "stop")
		}
	})
}

// TestDueAtStart: an alarm that is due when a runtime starts runs without being
// asked for, at once, though the clock was set only after the start.
func TestDueAtStart(t *testing.T) {
	in(t, func(t *testing.T, rt *durabletest.Runtime, l *lab) {
		began, ended := make(chan time.Time), make(chan struct{})
		l.alarm = func(ctx context.Context, st *durable.State) error {
			return st.Await(ctx, func(ctx context.Context) error {
				select {
				case began <- time.Now():
				case <-ctx.Done():
				}
				<-ended
				return ctx.Err()
			})
		}
		set(t, clock(rt), l.start)
		<-began // and does not end before the power is gone
		crashed := time.Now()
		rt.Crash()
		if d := (<-began).Sub(crashed); d > 5*time.Second {
			t.Errorf("the alarm ran again %v after the crash, want at once", d)
		}
		close(ended)
	})
}

func TestBubbleTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ran := make(chan time.Time, 1)
		class := durable.NewClass("Tick", func(_ context.Context, st *durable.State) (*ticker, error) { return &ticker{st, ran}, nil }, nil)
		rt := durabletest.New(t, &durable.Options{Classes: []durable.Class{class}})
		due := time.Now().Add(48 * time.Hour)
		s := rt.Namespace("Tick").Named("")
		if err := durable.Exec(t.Context(), s, (*ticker).Set, due); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if rt.Resident(s) {
			t.Error("still resident after a minute of idling")
		}
		time.Sleep(48 * time.Hour)
		synctest.Wait()
		select {
		case at := <-ran:
			if late := at.Sub(due); late < 0 || late > time.Second {
				t.Errorf("alarm ran %v after it was due", late)
			}
		default:
			t.Error("alarm did not run in time")
		}
	})
}

type ticker struct {
	st  *durable.State
	ran chan time.Time
}

func (c *ticker) Set(ctx context.Context, at time.Time) error {
	return c.st.Storage().SetAlarm(ctx, at)
}
func (c *ticker) Alarm(context.Context, durable.AlarmInfo) error {
	c.ran <- c.st.Now()
	return nil
}

func TestRunAlarm(t *testing.T) {
	in(t, func(t *testing.T, rt *durabletest.Runtime, l *lab) {
		a := clock(rt)
		if ran, err := rt.RunAlarm(a); ran || err != nil {
			t.Errorf("RunAlarm without an alarm = %v, %v, want false", ran, err)
		}
		if rt.Resident(a) {
			t.Error("RunAlarm without an alarm woke the object")
		}
		set(t, a, l.start.Add(time.Hour))
		no := "not yet"
		l.alarm = func(context.Context, *durable.State) error { return errors.New(no) }
		for i := range 2 {
			if ran, err := rt.RunAlarm(a); !ran || err == nil || err.Error() != no {
				t.Errorf("RunAlarm = %v, %v, want true, %s", ran, err, no)
			}
			l.expect(t, fmt.Sprintf("0s for 1h0m0s, failed %d", i))
		}
		l.alarm = func(context.Context, *durable.State) error { return nil }
		if ran, err := rt.RunAlarm(a); !ran || err != nil {
			t.Errorf("RunAlarm = %v, %v, want true", ran, err)
		}
		l.expect(t, "0s for 1h0m0s, failed 2")
		if ran, err := rt.RunAlarm(a); ran || err != nil {
			t.Errorf("RunAlarm after success = %v, %v, want false: it takes the alarm away", ran, err)
		}
		l.alarm = func(ctx context.Context, st *durable.State) error {
			return st.Storage().SetAlarm(ctx, l.start.Add(3*time.Hour))
		}
		set(t, a, l.start.Add(2*time.Hour))
		if ran, err := rt.RunAlarm(a); !ran || err != nil {
			t.Errorf("RunAlarm = %v, %v, want true", ran, err)
		}
		l.expect(t, "0s for 2h0m0s, failed 0")
		if o := rt.Objects("Clock"); len(o) != 1 || !o[0].Alarm.Equal(l.start.Add(3*time.Hour)) {
			t.Errorf("Objects = %v, want one with the alarm that the handler set", o)
		}
	})
}

func TestRunAlarmBesideTheClock(t *testing.T) {
	in(t, func(t *testing.T, rt *durabletest.Runtime, l *lab) {
		a := clock(rt)
		l.alarm = func(ctx context.Context, st *durable.State) error { // leaves the gate open for a while
			return st.Await(ctx, func(context.Context) error {
				l.waiting <- struct{}{}
				<-l.release
				return nil
			})
		}
		set(t, a, l.start) // due: the clock runs it
		<-l.waiting
		var ran bool
		var err error
		done := make(chan struct{})
		go func() {
			defer close(done)
			ran, err = rt.RunAlarm(a)
		}()
		l.settle()
		close(l.release)
		select {
		case <-done:
		case <-l.waiting:
			t.Fatal("the handler ran a second time")
		}
		if ran || err != nil {
			t.Errorf("RunAlarm = %v, %v, want false: the clock's run has settled it", ran, err)
		}
	})
}

func TestEvict(t *testing.T) {
	in(t, func(t *testing.T, rt *durabletest.Runtime, l *lab) {
		a, b := clock(rt), rt.Namespace("Clock").Named("b")
		rt.Evict(a) // never used
		for _, s := range []*durable.Stub{a, b} {
			write(t, s, 5)
			if !rt.Resident(s) {
				t.Error("not resident after a call")
			}
		}
		rt.Evict(a)
		waitLog(t, l, "stop")
		if rt.Resident(a) || !rt.Resident(b) {
			t.Errorf("after Evict(a) resident: a %v, b %v, want only b", rt.Resident(a), rt.Resident(b))
		}
		wantN(t, a, 5)
		rt.EvictAll()
		waitLog(t, l, "stop", "stop")
		if rt.Resident(a) || rt.Resident(b) {
			t.Error("resident after EvictAll")
		}
		if n, err := durable.Call0(t.Context(), b, (*Clock).Calls); n != 1 || err != nil {
			t.Errorf("Calls = %d, %v, want 1: a new instance", n, err)
		}
	})
}

func TestEvictWaitsForEvents(t *testing.T) {
	in(t, func(t *testing.T, rt *durabletest.Runtime, l *lab) {
		a := clock(rt)
		ran := make(chan error)
		go func() {
			ran <- durabletest.Run(t.Context(), a, func(ctx context.Context, _ *durable.State, c *Clock) error {
				l.waiting <- struct{}{} // holds the gate
				<-l.release
				return c.Write(ctx, 6)
			})
		}()
		<-l.waiting
		go func() {
			l.settle() // Evict waits by then
			close(l.release)
		}()
		rt.Evict(a)
		if err := <-ran; err != nil {
			t.Errorf("Run = %v, want it to have ended before the eviction", err)
		}
		if rt.Resident(a) {
			t.Error("resident after Evict")
		}
		wantN(t, a, 6)
	})
}

// waitLog waits for what the runtime's goroutines still have to log.
func waitLog(t *testing.T, l *lab, want ...string) {
	t.Helper()
	for {
		l.mu.Lock()
		n := len(l.log)
		l.mu.Unlock()
		if n >= len(want) {
			l.expect(t, want...)
			return
		}
		if t.Context().Err() != nil {
			t.Fatal("test is over")
		}
		runtime.Gosched()
	}
}

func TestEvictBusy(t *testing.T) {
	var l lab
	l.waiting, l.release = make(chan struct{}), make(chan struct{})
	class := durable.NewClass("Clock", func(_ context.Context, st *durable.State) (*Clock, error) { return &Clock{st: st, lab: &l}, nil }, nil)
	text := fails(t, func(tb testing.TB) {
		rt := durabletest.New(tb, &durable.Options{Classes: []durable.Class{class}})
		a := clock(rt)
		done := make(chan error)
		go func() { done <- durable.Exec(t.Context(), a, (*Clock).Wait, 1) }()
		<-l.waiting
		defer func() {
			close(l.release)
			if err := <-done; err != nil {
				t.Errorf("Wait = %v: Evict must leave a busy object alone", err)
			}
		}()
		rt.Evict(a)
	})
	if !strings.Contains(text, `evict Clock "a"`) {
		t.Errorf("Evict of a busy object failed with %q", text)
	}
}

func TestCrash(t *testing.T) {
	in(t, func(t *testing.T, rt *durabletest.Runtime, l *lab) {
		old := clock(rt)
		write(t, old, 1)

		hold := rt.Store().Hold()
		defer hold.Release()
		lost := make(chan error)
		go func() { lost <- durable.Exec(t.Context(), old, (*Clock).Write, 2) }()
		for rt.Store().Pending() == 0 {
			runtime.Gosched()
		}
		waits := make(chan error)
		other := rt.Namespace("Clock").Named("other")
		go func() { waits <- durable.Exec(t.Context(), other, (*Clock).Wait, 3) }()
		<-l.waiting

		rt.Crash()
		if err := <-lost; err == nil {
			t.Error("a write that was not durable was acknowledged")
		}
		if err := <-waits; err == nil {
			t.Error("an event that was under way succeeded")
		}
		l.expect(t) // nobody is told
		if err := durable.Exec(t.Context(), old, (*Clock).Write, 4); !errors.Is(err, durable.ErrClosed) {
			t.Errorf("Write to the old runtime = %v, want ErrClosed", err)
		}
		wantN(t, clock(rt), 1)
		wantN(t, rt.Namespace("Clock").Named("other"), 0)
		if n := len(rt.Objects("Clock")); n != 1 {
			t.Errorf("%d objects after the crash, want 1", n)
		}
	})
}

func TestReopen(t *testing.T) {
	in(t, func(t *testing.T, rt *durabletest.Runtime, l *lab) {
		old := clock(rt)
		done := make(chan error)
		go func() { done <- durable.Exec(t.Context(), old, (*Clock).Wait, 9) }()
		<-l.waiting
		draining := rt.Draining()
		go func() {
			<-draining
			close(l.release) // the event ends during the shutdown
		}()
		rt.Reopen()
		if err := <-done; err != nil {
			t.Errorf("Wait = %v: Reopen must let events finish", err)
		}
		l.expect(t, "stop")
		if err := durable.Exec(t.Context(), old, (*Clock).Write, 4); !errors.Is(err, durable.ErrClosed) {
			t.Errorf("Write to the old runtime = %v, want ErrClosed", err)
		}
		wantN(t, clock(rt), 9)
	})
}

func TestOldStub(t *testing.T) {
	for name, use := range map[string]func(*durabletest.Runtime, *durable.Stub){
		"Evict":    func(rt *durabletest.Runtime, s *durable.Stub) { rt.Evict(s) },
		"Resident": func(rt *durabletest.Runtime, s *durable.Stub) { rt.Resident(s) },
		"RunAlarm": func(rt *durabletest.Runtime, s *durable.Stub) { rt.RunAlarm(s) },
	} {
		text := fails(t, func(tb testing.TB) {
			class := durable.NewClass("Clock", func(_ context.Context, st *durable.State) (*Clock, error) { return &Clock{st: st}, nil }, nil)
			rt := durabletest.New(tb, &durable.Options{Classes: []durable.Class{class}})
			s := clock(rt)
			rt.Crash()
			use(rt, s)
		})
		if !strings.Contains(text, "another runtime") {
			t.Errorf("%s with an old stub failed with %q", name, text)
		}
	}
}

func TestStoreFails(t *testing.T) {
	in(t, func(t *testing.T, rt *durabletest.Runtime, _ *lab) {
		a := clock(rt)
		write(t, a, 1)
		rt.Store().FailCommits(func(*store.Batch) error { return store.ErrRefused })
		if err := durable.Exec(t.Context(), a, (*Clock).Write, 2); !errors.Is(err, durable.ErrNotCommitted) {
			t.Errorf("Write = %v, want ErrNotCommitted", err)
		}
		rt.Store().FailCommits(nil)
		wantN(t, a, 1)

		rt.Store().FailCommits(func(*store.Batch) error { return errors.New("disk on fire") })
		if err := durable.Exec(t.Context(), a, (*Clock).Write, 2); !errors.Is(err, durable.ErrStoreBroken) {
			t.Errorf("Write = %v, want ErrStoreBroken", err)
		}
		if _, err := durable.Call0(t.Context(), a, (*Clock).Read); !errors.Is(err, durable.ErrStoreBroken) {
			t.Errorf("Read = %v, want ErrStoreBroken", err)
		}
		rt.Crash() // is how to go on
		wantN(t, clock(rt), 1)
	})
}

func TestClosesAtCleanup(t *testing.T) {
	var old *durable.Stub
	t.Run("inner", func(t *testing.T) {
		class := durable.NewClass("Clock", func(_ context.Context, st *durable.State) (*Clock, error) { return &Clock{st: st}, nil }, nil)
		rt := durabletest.New(t, &durable.Options{Classes: []durable.Class{class}})
		rt.Crash()
		old = clock(rt)
		write(t, old, 1)
	})
	if err := durable.Exec(t.Context(), old, (*Clock).Write, 2); !errors.Is(err, durable.ErrClosed) {
		t.Errorf("Write after the test's end = %v, want ErrClosed", err)
	}
}

func TestCleanupIgnoresHolds(t *testing.T) {
	lost := make(chan error, 1)
	t.Run("inner", func(t *testing.T) {
		class := durable.NewClass("Clock", func(_ context.Context, st *durable.State) (*Clock, error) { return &Clock{st: st}, nil }, nil)
		rt := durabletest.New(t, &durable.Options{Classes: []durable.Class{class}})
		rt.Store().Hold() // and the test forgets it
		a := clock(rt)
		go func() { lost <- durable.Exec(context.Background(), a, (*Clock).Write, 1) }()
		for rt.Store().Pending() == 0 {
			runtime.Gosched()
		}
	})
	if err := <-lost; err == nil {
		t.Error("a write that was held back was acknowledged")
	}
}
