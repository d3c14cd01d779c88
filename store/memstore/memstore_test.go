package memstore_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perdure/perdure/store"
	"github.com/perdure/perdure/store/memstore"
)

var ctx = context.Background()

func object(n byte) store.Object {
	return store.Object{Namespace: 1, ID: [32]byte{n}}
}

// put makes the batch that sets "k" to value in a fresh or an existing object.
func put(o store.Object, exists bool, value string) *store.Batch {
	b := &store.Batch{Object: o, Header: new(store.Header), Ops: []store.Op{{Key: "k", Value: []byte(value)}}}
	if exists {
		b.Prev = new(store.Header)
	}
	return b
}

func get(t *testing.T, s *memstore.Store, o store.Object) string {
	t.Helper()
	values, err := s.Get(ctx, o, "k")
	if err != nil {
		t.Fatalf("Get(%v) = %v", o, err)
	}
	return string(values[0])
}

func TestHoldKeepsBatchesFromBecomingDurable(t *testing.T) {
	s := memstore.New(nil)
	hold := s.Hold()
	first := s.Apply(put(object(1), false, "a"))
	if got := get(t, s, object(1)); got != "" {
		t.Errorf("Get while held = %q, want nothing", got)
	}
	if got := s.Pending(); got != 1 {
		t.Errorf("Pending() = %d, want 1", got)
	}
	hold.Release()
	hold.Release()
	if err := first.Wait(); err != nil {
		t.Errorf("Wait() = %v", err)
	}
	if got := get(t, s, object(1)); got != "a" {
		t.Errorf("Get after Release = %q, want a", got)
	}
}

func TestCrashKeepsWhatWasDurable(t *testing.T) {
	s := memstore.New(nil)
	if err := s.Apply(put(object(1), false, "a")).Wait(); err != nil {
		t.Fatal(err)
	}
	s.Hold()
	lost := s.Apply(put(object(1), true, "b"))
	after := s.Crash()
	if err := lost.Wait(); !errors.Is(err, store.ErrBroken) {
		t.Errorf("Wait() of a batch on its way = %v, want ErrBroken", err)
	}
	if _, err := s.Get(ctx, object(1), "k"); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Get after Crash = %v, want ErrClosed", err)
	}
	if err := s.Apply(put(object(1), true, "c")).Wait(); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Apply after Crash = %v, want ErrClosed", err)
	}
	if got := get(t, after, object(1)); got != "a" {
		t.Errorf("Get in the new store = %q, want a", got)
	}
}

func TestSyncDelayGroupsCommits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New(&memstore.Options{SyncDelay: time.Second})
		start := time.Now()
		first := s.Apply(put(object(1), false, "a"))
		time.Sleep(time.Second / 2) // simulated: while the first sync runs
		second := s.Apply(put(object(2), false, "a"))
		third := s.Apply(put(object(3), false, "a"))
		for _, want := range []struct {
			c  store.Commit
			at time.Duration
		}{{first, time.Second}, {second, 2 * time.Second}, {third, 2 * time.Second}} {
			if err := want.c.Wait(); err != nil {
				t.Fatal(err)
			}
			if got := time.Since(start); got != want.at {
				t.Errorf("durable after %v, want %v", got, want.at)
			}
		}
		last := s.Apply(put(object(4), false, "a"))
		if err := s.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
		if err := last.Wait(); err != nil {
			t.Errorf("Wait() of a batch applied before Close = %v", err)
		}
	})
}

func TestFailCommits(t *testing.T) {
	disk := errors.New("disk on fire")
	for _, test := range []struct {
		fail    error
		want    error
		applied bool
		broken  bool
	}{
		{store.ErrRefused, store.ErrRefused, false, false},
		{store.ErrUnknown, store.ErrUnknown, false, false},
		{memstore.ErrUnknownApplied, store.ErrUnknown, true, false},
		{disk, store.ErrBroken, false, true},
	} {
		s := memstore.New(nil)
		bad, other := object(1), object(2)
		s.FailCommits(func(b *store.Batch) error {
			if b.Object == bad {
				return test.fail
			}
			return nil
		})
		hold := s.Hold()
		first := s.Apply(put(bad, false, "a"))
		next := put(bad, true, "b")
		next.After = first
		second := s.Apply(next)
		third := s.Apply(put(other, false, "a"))
		hold.Release()

		if err := first.Wait(); !errors.Is(err, test.want) {
			t.Errorf("%v: Wait() = %v, want %v", test.fail, err, test.want)
		}
		if test.broken {
			if err := third.Wait(); !errors.Is(err, store.ErrBroken) {
				t.Errorf("%v: Wait() of a later batch = %v, want ErrBroken", test.fail, err)
			}
			if _, err := s.Get(ctx, other, "k"); !errors.Is(err, store.ErrBroken) {
				t.Errorf("%v: Get = %v, want ErrBroken", test.fail, err)
			}
			continue
		}
		if err := second.Wait(); !errors.Is(err, store.ErrRefused) {
			t.Errorf("%v: Wait() of the next batch = %v, want ErrRefused", test.fail, err)
		}
		if err := third.Wait(); err != nil {
			t.Errorf("%v: Wait() of another object's batch = %v", test.fail, err)
		}
		if got := get(t, s, bad) != ""; got != test.applied {
			t.Errorf("%v: applied = %v, want %v", test.fail, got, test.applied)
		}
		if got := get(t, s, other); got != "a" {
			t.Errorf("%v: the other object has %q, want a", test.fail, got)
		}
	}
}

func TestFailCommitsMayCallTheStore(t *testing.T) {
	s := memstore.New(nil)
	var inner store.Commit
	s.FailCommits(func(b *store.Batch) error {
		if b.Object == object(1) {
			inner = s.Apply(put(object(2), false, "b"))
		}
		return nil
	})
	if err := s.Apply(put(object(1), false, "a")).Wait(); err != nil {
		t.Fatal(err)
	}
	if err := inner.Wait(); err != nil {
		t.Fatal(err)
	}
	if got := get(t, s, object(2)); got != "b" {
		t.Errorf("Get = %q, want b", got)
	}
}

func TestWrongBatchBreaksTheStore(t *testing.T) {
	ops := []store.Op{{Key: "b"}, {Key: "a"}}
	for name, b := range map[string]*store.Batch{
		"Prev of an object that is not there": put(object(1), true, "a"),
		"no Header, no DeleteAll":             {Object: object(1)},
		"Ops out of order":                    {Object: object(1), Header: new(store.Header), Ops: ops},
		"Alarm without Next":                  {Object: object(1), Header: &store.Header{Alarm: store.Alarm{Due: 1}}},
	} {
		s := memstore.New(nil)
		if err := s.Apply(b).Wait(); !errors.Is(err, store.ErrBroken) {
			t.Errorf("%s: Wait() = %v, want ErrBroken", name, err)
		}
	}
}

func BenchmarkApply(b *testing.B) {
	s := memstore.New(nil)
	o := object(1)
	var prev *store.Header
	for i := 0; b.Loop(); i++ {
		key := string([]byte{byte(i >> 16), byte(i >> 8), byte(i)})
		h := &store.Header{Size: int64(i)}
		if err := s.Apply(&store.Batch{Object: o, Prev: prev, Header: h, Ops: []store.Op{{Key: key, Value: []byte("v")}}}).Wait(); err != nil {
			b.Fatal(err)
		}
		prev = h
	}
}
