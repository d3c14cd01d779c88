package calmcp

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// checked notes which checks ran, and when.
type checked struct {
	watches
	began time.Time
	log   []string
	uris  string
}

func newChecked(again time.Duration) *checked {
	c := &checked{began: time.Now()}
	c.check = func(_ context.Context, user string, uris []string) time.Duration {
		slices.Sort(uris)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.log = append(c.log, user)
		c.uris = strings.Join(uris, " ")
		return again
	}
	return c
}

// after returns who was checked in the time.
func (c *checked) after(d time.Duration) string {
	time.Sleep(d)
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	out := strings.Join(c.log, " ")
	c.log = nil
	return out
}

func TestWatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChecked(time.Minute)
		defer c.close()
		want := func(what, got, want string) {
			t.Helper()
			if got != want {
				t.Errorf("%s: checked %q, want %q", what, got, want)
			}
		}
		c.hold("s1", "ann", []string{"a"})
		c.hold("s2", "ann", []string{"b", "a"})
		want("at once", c.after(checkRest), "ann")
		if c.uris != "a b" {
			t.Errorf("asked for %q", c.uris)
		}
		want("before the time", c.after(58*time.Second), "")
		want("after it, and a bit", c.after(8*time.Second), "ann")
		c.hold("s2", "ann", []string{"b", "a"}) // nothing new
		want("before the time", c.after(50*time.Second), "")
		c.after(time.Minute)
		c.hold("s2", "ann", []string{"b", "a", "c"})
		want("something new", c.after(checkRest), "ann")
		c.release("s1", "ann")
		want("one stream is left", c.after(66*time.Second), "ann")
		if c.uris != "a b c" {
			t.Errorf("asked for %q", c.uris)
		}
		c.release("s2", "ann")
		c.release("s2", "ann")
		c.release("s3", "bob")
		want("without streams", c.after(time.Hour), "")
		if len(c.users) != 0 {
			t.Errorf("%d users are kept", len(c.users))
		}
		c.hold("s1", "bob", nil)
		c.close()
		c.hold("s2", "ann", []string{"a"})
		want("closed", c.after(time.Hour), "")
	})
}

// A check ends with the last stream and with close; who waits for it is told when it has.
func TestWatchesEndChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w watches
		var running, most, ended atomic.Int64
		linger := make(chan struct{})
		w.check = func(ctx context.Context, _ string, _ []string) time.Duration {
			if n := running.Add(1); n > most.Load() {
				most.Store(n)
			}
			<-ctx.Done()
			<-linger
			running.Add(-1)
			ended.Add(1)
			return time.Minute
		}
		for i := range 3 * checksAtOnce {
			w.hold(i, fmt.Sprint("user", i), []string{"a"})
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if n := running.Load(); n != checksAtOnce {
			t.Fatalf("%d checks run, want %d", n, checksAtOnce)
		}
		time.Sleep(checkTime) // it takes too long
		close(linger)
		time.Sleep(time.Second)
		synctest.Wait()
		if e, n := ended.Load(), running.Load(); e != checksAtOnce || n != checksAtOnce {
			t.Errorf("%d ended, %d run, want the next %d", e, n, checksAtOnce)
		}
		user := ""
		for u := range w.running {
			user = u.user
		}
		settled := make(chan struct{})
		linger = make(chan struct{})
		w.release(int(mustAtoi(t, strings.TrimPrefix(user, "user"))), user)
		go func() {
			w.settle(t.Context(), user)
			close(settled)
		}()
		synctest.Wait()
		select {
		case <-settled:
			t.Error("settle does not wait")
		default:
		}
		close(linger)
		<-settled
		w.close()
		w.close()
		if n := running.Load(); n != 0 || most.Load() != checksAtOnce {
			t.Errorf("%d run after close, %d at once before", n, most.Load())
		}
	})
}

func mustAtoi(t *testing.T, s string) (n int) {
	t.Helper()
	if _, err := fmt.Sscan(s, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// Users at rest cost a timer, and no goroutine.
func TestWatchesAtRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChecked(time.Hour)
		c.check = func(context.Context, string, []string) time.Duration { return time.Hour }
		before := runtime.NumGoroutine()
		for i := range 1000 {
			c.hold(i, fmt.Sprint(i), []string{"a"})
		}
		time.Sleep(2 * checkRest)
		synctest.Wait()
		if n := runtime.NumGoroutine() - before; n > 100 { // others may begin some
			t.Errorf("%d goroutines for 1000 users", n)
		}
		c.close()
	})
}
