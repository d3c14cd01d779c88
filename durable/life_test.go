package durable_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/durable/internal/testhook"
	"github.com/perdure/perdure/store/memstore"
)

// journal is a list that any goroutine may write.
type journal struct {
	mu   sync.Mutex
	list []string
}

func (j *journal) note(text string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.list = append(j.list, text)
}

func (j *journal) want(t *testing.T, want ...string) {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	if d := cmp.Diff(want, j.list); d != "" {
		t.Errorf("what happened (-want +got):\n%s", d)
	}
}

// watched makes instances that note when they begin and end.
func watched(events *journal) *hooks {
	return &hooks{start: func(ctx context.Context, o *Obj) error {
		events.note("start")
		o.st.OnStop(func() { events.note("stop 1") })
		o.st.OnStop(func() { events.note("stop 2") })
		context.AfterFunc(ctx, func() {
			if ctx.Err() != context.Canceled {
				events.note("no error")
			}
		})
		go func() { <-ctx.Done() }() // a goroutine of the instance; the bubble sees whether it ends
		return nil
	}}
}

// Promise 9.
func TestAnInstanceLearnsOfItsEnd(t *testing.T) {
	for name, end := range map[string]func(rt *rig){
		"eviction": func(*rig) { time.Sleep(10 * time.Second) },
		"reset": func(rt *rig) {
			do(t.Context(), rt.obj("a"), func(_ context.Context, o *Obj) error { o.st.Abort(nil); return nil })
		},
		"shutdown": func(rt *rig) { rt.Shutdown(t.Context()) },
		"close":    func(rt *rig) { rt.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var events journal
				rt := open(t, watched(&events), nil)
				must(t, t.Context(), rt.obj("a"), func(context.Context, *Obj) error { return nil })
				synctest.Wait()
				events.want(t, "start")
				end(rt)
				synctest.Wait()
				events.want(t, "start", "stop 2", "stop 1")
			})
		})
	}
}

func TestOnStopAfterTheEndRunsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := open(t, nil, nil)
		var st *durable.State
		must(t, t.Context(), rt.obj("a"), func(_ context.Context, o *Obj) error {
			st = o.st
			st.OnStop(func() { panic("must not end the process") })
			return nil
		})
		sleep(11 * time.Second)
		ran := false
		if st.OnStop(func() { ran = true }); !ran {
			t.Error("it did not run")
		}
		if !rt.log.has("must not end the process") {
			t.Error("the panic was not logged")
		}
	})
}

func TestIdleObjectsAreEvictedAfterTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := open(t, nil, nil)
		a := rt.obj("a")
		instance := func() (i *Obj) {
			must(t, t.Context(), a, func(_ context.Context, o *Obj) error { i = o; return nil })
			return i
		}
		first := instance()
		for _, idle := range []time.Duration{5 * time.Second, 9 * time.Second, 10*time.Second - time.Nanosecond} {
			sleep(idle)
			if instance() != first {
				t.Fatalf("evicted after %v", idle)
			}
		}
		sleep(10*time.Second + time.Nanosecond)
		if testhook.Resident(a) || instance() == first {
			t.Error("still there after 10s")
		}

		// An event that takes longer holds it, and the time counts from its end.
		first = instance()
		must(t, t.Context(), a, func(context.Context, *Obj) error { time.Sleep(25 * time.Second); return nil })
		sleep(9 * time.Second)
		if instance() != first {
			t.Error("evicted 9s after the end of a long event")
		}
		// So does a commit that is under way,
		hold := rt.store.Hold()
		go do(t.Context(), a, func(ctx context.Context, o *Obj) error { return o.put(ctx, "n", 1) })
		sleep(25 * time.Second)
		hold.Release()
		synctest.Wait()
		if instance() != first {
			t.Error("evicted while a commit was under way")
		}
		// and a background function, whose event is over long since.
		must(t, t.Context(), a, func(ctx context.Context, o *Obj) error {
			return o.st.WaitUntil(ctx, func(ctx context.Context) error {
				return o.st.Await(ctx, func(context.Context) error { time.Sleep(25 * time.Second); return nil })
			})
		})
		sleep(25 * time.Second)
		if instance() != first {
			t.Error("evicted while a background function ran")
		}
	})
}

func TestStateSurvivesEviction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := open(t, nil, nil)
		a := rt.obj("a")
		for want := range 3 {
			must(t, t.Context(), a, func(ctx context.Context, o *Obj) error {
				if n := o.get(ctx, "n"); n != want || o.n != 0 {
					t.Errorf("stored %d, in memory %d, want %d, 0", n, o.n, want)
				}
				o.n++
				return o.inc(ctx, "n")
			})
			sleep(11 * time.Second)
		}
	})
}

func TestWaitUntil(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := open(t, nil, nil)
		a := rt.obj("a")
		var order []string
		note := func(text string) work {
			return func(context.Context, *Obj) error { order = append(order, text); return nil }
		}
		hold := make(chan bool)
		go do(t.Context(), a, func(ctx context.Context, o *Obj) error {
			<-hold
			o.st.WaitUntil(ctx, func(ctx context.Context) error {
				if _, ok := ctx.Deadline(); !ok {
					t.Error("no deadline")
				}
				order = append(order, "background")
				return o.put(ctx, "n", 1)
			})
			time.Sleep(time.Millisecond) // it would run now, if it could
			order = append(order, "event")
			return nil
		})
		synctest.Wait()
		go do(t.Context(), a, note("queued before"))
		synctest.Wait()
		close(hold)
		synctest.Wait()
		must(t, t.Context(), a, func(ctx context.Context, o *Obj) error {
			if o.get(ctx, "n") != 1 {
				t.Error("the background function's write is lost")
			}
			return o.st.WaitUntil(ctx, func(context.Context) error { return errors.New("what it returns") })
		})
		synctest.Wait()
		if d := cmp.Diff([]string{"event", "queued before", "background"}, order); d != "" {
			t.Errorf("order (-want +got):\n%s", d)
		}
		if !rt.log.has("what it returns") {
			t.Error("its error was not logged")
		}

		// It is lost if the object is reset before it starts, and cut off at its limit.
		do(t.Context(), a, func(ctx context.Context, o *Obj) error {
			o.st.WaitUntil(ctx, func(context.Context) error { t.Error("it ran on a dead instance"); return nil })
			o.st.Abort(nil)
			return nil
		})
		must(t, t.Context(), a, func(ctx context.Context, o *Obj) error {
			return o.st.WaitUntil(ctx, func(ctx context.Context) error {
				<-ctx.Done()
				time.Sleep(time.Hour) // does not heed it
				wantErr(t, "Put beyond the limit", o.put(ctx, "late", 1), durable.ErrTimeLimit)
				return nil
			})
		})
		sleep(15*time.Minute + time.Second)
		must(t, t.Context(), a, func(context.Context, *Obj) error { return nil })
		sleep(time.Hour)
	})
}

func TestConstructorErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		started := make(chan bool)
		h := &hooks{start: func(ctx context.Context, o *Obj) error {
			o.inc(ctx, "tries")
			switch tries++; tries {
			case 1:
				<-started
				return errBoom
			case 2:
				panic("secret")
			}
			return nil
		}}
		rt := open(t, h, nil)
		a := rt.obj("a")
		var queued []chan error
		for range 3 {
			queued = append(queued, async(func() error {
				return do(t.Context(), a, func(context.Context, *Obj) error { t.Error("it ran"); return nil })
			}))
			synctest.Wait()
		}
		close(started)
		for i, c := range queued {
			err := <-c
			var e *durable.Error
			if !errors.Is(err, durable.ErrConstructor) || !errors.As(err, &e) || !e.Reset || !strings.Contains(e.Text, "boom") {
				t.Errorf("caller %d: %#v, want the constructor's error with Reset", i, err)
			}
		}
		if tries != 1 {
			t.Errorf("%d tries, want 1: those that queue get the same error", tries)
		}
		err := do(t.Context(), a, func(context.Context, *Obj) error { return nil })
		wantErr(t, "panic", err, durable.ErrConstructor)
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("error %q shows the panic's text", err)
		}
		must(t, t.Context(), a, func(ctx context.Context, o *Obj) error {
			if n := o.get(ctx, "tries"); n != 1 {
				t.Errorf("stored tries = %d, want 1: what failed constructors wrote is discarded", n)
			}
			return nil
		})
	})
}

// Shutdown has an order and an end.
func TestShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log journal
		note := log.note
		rt := open(t, &hooks{start: func(_ context.Context, o *Obj) error {
			o.st.OnStop(func() { note("stopped") })
			return nil
		}}, nil)
		a := rt.obj("a")
		// A stream, a background function, and an event that will still call another object.
		resp, err := a.RoundTrip(request(t, "GET", nil, func(w http.ResponseWriter, r *http.Request, o *Obj) {
			w.(http.Flusher).Flush()
			o.st.Await(r.Context(), func(ctx context.Context) error { <-ctx.Done(); note("stream"); return nil })
			io.WriteString(w, "bye")
		}))
		if err != nil {
			t.Fatal(err)
		}
		must(t, t.Context(), a, func(ctx context.Context, o *Obj) error {
			return o.st.WaitUntil(ctx, func(ctx context.Context) error {
				o.st.Await(ctx, func(ctx context.Context) error { <-ctx.Done(); note("background"); return nil })
				return o.put(ctx, "background", 1)
			})
		})
		running := async(func() error {
			return do(t.Context(), a, func(ctx context.Context, o *Obj) error {
				o.st.Await(ctx, func(context.Context) error { time.Sleep(10 * time.Second); return nil })
				if ctx.Err() != nil {
					t.Error("an ordinary event was cancelled")
				}
				if err := do(ctx, o.st.Namespace("Obj").Named("b"), func(ctx context.Context, o *Obj) error { return o.put(ctx, "n", 1) }); err != nil {
					t.Errorf("call of a running chain: %v", err)
				}
				note("event")
				return nil
			})
		})
		synctest.Wait()
		down := async(func() error { return rt.Shutdown(t.Context()) })
		synctest.Wait()
		select {
		case <-rt.Draining():
		default:
			t.Error("Draining is not closed")
		}
		err = do(t.Context(), rt.obj("c"), func(context.Context, *Obj) error { t.Error("a new event ran"); return nil })
		wantErr(t, "new event", err, durable.ErrShutdown)
		var e *durable.Error
		if !errors.As(err, &e) || !e.Retryable {
			t.Errorf("new event: %v, want Retryable", err)
		}
		if b, err := io.ReadAll(resp.Body); string(b) != "bye" || err != nil {
			t.Errorf("stream: %q, %v, want bye", b, err)
		}
		if !pending(down) {
			t.Error("Shutdown did not wait for the event")
		}
		if err := <-running; err != nil {
			t.Errorf("running event: %v", err)
		}
		if err := <-down; err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		slices.Sort(log.list[:2]) // both end at once
		log.want(t, "background", "stream", "event", "stopped", "stopped")
		wantErr(t, "Err", rt.Err(), durable.ErrClosed)
		if err := rt.Shutdown(t.Context()); err != nil {
			t.Errorf("second Shutdown: %v", err)
		}
		wantErr(t, "after the end", do(t.Context(), a, nil), durable.ErrClosed)
	})
}

func TestShutdownIsClean(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New(nil)
		rt := openOn(t, s, nil, nil)
		hold := s.Hold()
		put := async(func() error {
			return do(t.Context(), rt.obj("a"), func(ctx context.Context, o *Obj) error { return o.put(ctx, "n", 1) })
		})
		synctest.Wait()
		down := async(func() error { return rt.Shutdown(t.Context()) })
		sleep(time.Minute)
		if !pending(down) || !pending(put) {
			t.Error("Shutdown did not wait for a commit")
		}
		hold.Release()
		if err := errors.Join(<-put, <-down); err != nil {
			t.Error(err)
		}
	})
}

// Events that do not end are cut off when the grace is over.
func TestShutdownCutsOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := open(t, nil, nil)
		forever := make(chan bool)
		stuck := async(func() error {
			return do(t.Context(), rt.obj("a"), func(ctx context.Context, o *Obj) error {
				<-forever
				wantErr(t, "Put after the end", o.put(ctx, "n", 1), durable.ErrShutdown)
				return nil
			})
		})
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		began := time.Now()
		wantErr(t, "Shutdown", rt.Shutdown(ctx), context.DeadlineExceeded)
		if d := time.Since(began); d != 20*time.Second {
			t.Errorf("Shutdown took %v, want 20s", d)
		}
		close(forever)
		wantErr(t, "event", <-stuck, durable.ErrShutdown)
	})
}
