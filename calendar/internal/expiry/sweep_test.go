package expiry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perdure/perdure/calendar/internal/expiry"
	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/store/memstore"
)

// shelf is an object that keeps things under their names: the value is when each
// expires, in Unix milliseconds.
type shelf struct {
	storage *durable.Storage
	index   *expiry.Index
	now     func() int64
}

// errBad is the error of things whose name begins with "bad".
var errBad = errors.New("bad thing")

var shelves = durable.NewClass("Shelf", func(ctx context.Context, st *durable.State) (*shelf, error) {
	s := &shelf{st.Storage(), expiry.NewIndex(st), func() int64 { return st.Now().UnixMilli() }}
	return s, s.index.Revive(ctx, s.now())
}, nil)

func (s *shelf) Alarm(ctx context.Context, _ durable.AlarmInfo) error {
	return s.index.Sweep(ctx, s.now(), s)
}

func (s *shelf) Expire(ctx context.Context, id string) (alive bool, err error) {
	var end int64
	if _, err := s.storage.Get(ctx, "s"+id, &end); err != nil {
		return false, err
	}
	if strings.HasPrefix(id, "bad") {
		return false, errBad
	}
	if end > s.now() {
		return true, nil
	}
	_, err = s.storage.Delete(ctx, "s"+id)
	return false, err
}

func (s *shelf) Refile(ctx context.Context, id string) error {
	var end int64
	if _, err := s.storage.Get(ctx, "s"+id, &end); err != nil {
		return err
	}
	return s.storage.Put(ctx, expiry.Key(end, id), true)
}

type thing struct {
	ID       string
	Due, End time.Duration // from now
}

func (s *shelf) Keep(ctx context.Context, t thing) (bool, error) {
	due := s.now() + t.Due.Milliseconds()
	err := s.storage.PutMany(ctx, map[string]any{"s" + t.ID: s.now() + t.End.Milliseconds(), expiry.Key(due, t.ID): true})
	return true, errors.Join(err, s.index.Arm(ctx, s.now(), due))
}

func (s *shelf) LoseAlarm(ctx context.Context) (bool, error) { return true, s.storage.DeleteAlarm(ctx) }

func (s *shelf) Revive(ctx context.Context) (bool, error) { return true, s.index.Revive(ctx, s.now()) }

// Kept returns the ids, and an error if an index entry or the alarm is missing.
func (s *shelf) Kept(ctx context.Context) (ids []string, err error) {
	entries := 0
	for e, err := range s.storage.List(ctx, durable.ListOptions{}) {
		if err != nil {
			return nil, err
		}
		if id, ok := strings.CutPrefix(e.Key, "s"); ok {
			ids = append(ids, id)
		} else {
			entries++
		}
	}
	_, set, err := s.storage.GetAlarm(ctx)
	if err == nil && (entries != len(ids) || set != (entries > 0)) {
		err = fmt.Errorf("%d things, %d entries, alarm %v", len(ids), entries, set)
	}
	return ids, err
}

func openShelf(t *testing.T, st *memstore.Store, opts durable.Options) (*durable.Runtime, *durable.Stub) {
	t.Helper()
	opts.Classes = []durable.Class{shelves}
	rt, err := durable.Open(st, &opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rt.Close() })
	return rt, rt.Namespace("Shelf").Named("a")
}

func keep(t *testing.T, s *durable.Stub, name string, n int, due, end time.Duration) (ids []string) {
	t.Helper()
	for i := range n {
		id := fmt.Sprintf("%s%03d", name, i)
		if _, err := durable.Call(t.Context(), s, (*shelf).Keep, thing{id, due, end}); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	return ids
}

func call(t *testing.T, s *durable.Stub, method func(*shelf, context.Context) (bool, error)) {
	t.Helper()
	if _, err := durable.Call0(t.Context(), s, method); err != nil {
		t.Fatal(err)
	}
}

// info returns the facts on the only object.
func info(t *testing.T, rt *durable.Runtime) (o durable.ObjectInfo) {
	t.Helper()
	for info, err := range rt.Namespace("Shelf").Objects(t.Context(), durable.ID{}) {
		if err != nil {
			t.Fatal(err)
		}
		o = info
	}
	return o
}

func wantKept(t *testing.T, s *durable.Stub, want []string) {
	t.Helper()
	synctest.Wait()
	got, err := durable.Call0(t.Context(), s, (*shelf).Kept)
	if err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
}

// Errors of some things, more than an alarm looks at, don't keep the others from being
// swept, don't lose the alarm, and are logged.
func TestSweepPassesOverErrors(t *testing.T) {
	for _, idle := range []time.Duration{time.Second, 1000 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			rt, s := openShelf(t, memstore.New(nil), durable.Options{IdleTimeout: idle, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			bad := keep(t, s, "bad", 150, time.Minute, time.Minute)
			keep(t, s, "good", 150, time.Minute, time.Minute)
			living := keep(t, s, "living", 10, time.Minute, 2*time.Hour)
			keep(t, s, "later", 10, 30*time.Minute, 30*time.Minute)
			time.Sleep(time.Hour)
			wantKept(t, s, append(bad, living...))
			time.Sleep(2 * time.Hour)
			wantKept(t, s, bad)
			rt.Close()
			if !strings.Contains(log.String(), errBad.Error()) {
				t.Errorf("errors of things were not logged: %s", log.String())
			}
		})
	}
}

// Over a quota that was lowered, nothing can be moved to its new place in the
// index: it stays where it was, in nobody's way, until it expires.
func TestSweepOverTheQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := memstore.New(nil)
		rt, s := openShelf(t, st, durable.Options{})
		living := keep(t, s, "living", 300, time.Minute, 3*time.Hour)
		keep(t, s, "short", 300, 2*time.Minute, 2*time.Minute)
		after := st.Crash()
		rt.Close()
		_, s = openShelf(t, after, durable.Options{Limits: durable.Limits{NamespaceBytes: 1000}, IdleTimeout: 1000 * time.Hour})
		time.Sleep(2 * time.Hour)
		wantKept(t, s, living)
		time.Sleep(2 * time.Hour)
		wantKept(t, s, nil)
	})
}

// At the quota itself there is room to move what lives on, and a little over it the
// room of what expired with it is enough.
func TestSweepAtTheQuota(t *testing.T) {
	for _, over := range []int64{0, 1} {
		synctest.Test(t, func(t *testing.T) {
			st := memstore.New(nil)
			rt, s := openShelf(t, st, durable.Options{})
			living := keep(t, s, "living", 10, time.Minute, 3*time.Hour)
			if over > 0 {
				keep(t, s, "short", 1, time.Minute, time.Minute)
			}
			size := info(t, rt).Size
			after := st.Crash()
			rt.Close()
			rt, s = openShelf(t, after, durable.Options{Limits: durable.Limits{NamespaceBytes: size - over}})
			time.Sleep(90 * time.Second)
			wantKept(t, s, living)
			if wait := time.Until(info(t, rt).Alarm); wait < 2*time.Hour {
				t.Errorf("%d over the quota: the alarm is due in %v: things that live on were not moved", over, wait)
			}
		})
	}
}

func TestRevive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s := openShelf(t, memstore.New(nil), durable.Options{IdleTimeout: time.Hour})
		keep(t, s, "a", 1, 10*time.Hour, 10*time.Hour)
		call(t, s, (*shelf).LoseAlarm)
		time.Sleep(2 * time.Hour) // a new instance
		wantKept(t, s, []string{"a000"})
		call(t, s, (*shelf).LoseAlarm)
		call(t, s, (*shelf).Revive)
		wantKept(t, s, []string{"a000"})
		time.Sleep(8 * time.Hour)
		wantKept(t, s, nil)
	})
}
