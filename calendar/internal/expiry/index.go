package expiry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/perdure/perdure/durable"
)

// Index is a part of an object's storage that lists what the object keeps by the
// time at which to look whether it has expired, and sets the object's alarm to the
// first of these times. Its keys:
//
//	x DUE ID    DUE: Unix milliseconds, 15 digits; ID: the caller's name for the thing
//
// Promises that it is built on, kept together with its caller:
//
//  1. Each thing kept has an entry at its due time, which the caller keeps with it:
//     the two are written in one call and deleted in one turn.
//  2. A due time is never before the end of the thing's lifetime as it was when
//     the entry was written. Renewing a thing does not move its entry: the sweep
//     finds it alive and files it again. So a renewal costs one write, and a thing
//     that lives on costs two more in a lifetime, not in a request.
//  3. While there is an entry, there is an alarm: no later than the first of them, or,
//     if that one is overdue because its sweep failed, within [retryAfter]. An alarm that
//     is lost all the same comes back with Revive.
//  4. A sweep needs no room: it deletes before it writes, first of all what has
//     expired. At the quota it is the only thing that makes room again, so that one
//     that needed some would stop for good.
//
// The zero value is not usable: make one with [NewIndex] for each instance of
// the object, and use it in the object's events only.
type Index struct {
	state   *durable.State
	storage *durable.Storage
	armed   int64 // the alarm is set to this time; 0: not known

	// passed is the last key that the sweep under way has looked at; "" between sweeps.
	// It gets the sweep past entries that stay because of errors.
	passed string
}

// sweepMax is how many entries one alarm looks at. What is left over makes the
// next alarm, so that requests of the object get their turn between.
const sweepMax = 128

// retryAfter is how long entries stay that could not be swept, in milliseconds.
const retryAfter = int64(time.Minute / time.Millisecond)

const prefix = "x"

// NewIndex returns the index in an object's storage.
func NewIndex(st *durable.State) *Index { return &Index{state: st, storage: st.Storage()} }

// Key returns the storage key of an entry.
func Key(due int64, id string) string { return fmt.Sprintf("%s%015d%s", prefix, due, id) }

// Arm sees to it that the alarm goes off at due or before. Call it when an entry was added.
func (x *Index) Arm(ctx context.Context, now, due int64) error {
	if now < x.armed && x.armed <= due { // one in the past may have been dropped
		return nil
	}
	at, set, err := x.storage.GetAlarm(ctx)
	if err != nil {
		return fmt.Errorf("arm expiry alarm: %w", err)
	}
	if set && at.UnixMilli() <= due {
		x.armed = at.UnixMilli()
		return nil
	}
	return x.set(ctx, due)
}

func (x *Index) set(ctx context.Context, due int64) error {
	if err := x.storage.SetAlarm(ctx, time.UnixMilli(due)); err != nil {
		return fmt.Errorf("arm expiry alarm: %w", err)
	}
	x.armed = due
	return nil
}

// Revive sets the alarm if there is none though there are entries. Call it when an
// instance starts, and when there was no room for something. With an alarm it costs
// nothing, otherwise a list of one key.
func (x *Index) Revive(ctx context.Context, now int64) error {
	if _, set, err := x.storage.GetAlarm(ctx); err != nil || set {
		return err
	}
	first, err := x.first(ctx)
	if err != nil || first == 0 {
		return err
	}
	return x.set(ctx, max(first, now))
}

// Sweeper is the owner of an index, as a sweep needs it.
type Sweeper interface {
	// Expire deletes what id names if it has expired, and else reports that it is alive.
	Expire(ctx context.Context, id string) (alive bool, err error)

	// Refile writes what id names again, with a due time after now and an entry there.
	// It runs in a transaction in which the old entry is deleted already.
	Refile(ctx context.Context, id string) error
}

// Sweep does an alarm's work at time now: s expires or refiles what is due, the
// entries of that are removed, and the next alarm is set.
//
// Where s fails, the entry stays and the sweep goes on. For want of room that is no
// error; others are logged by the runtime and not returned, because it drops the alarm
// of a handler that returns errors again and again.
func (x *Index) Sweep(ctx context.Context, now int64, s Sweeper) error {
	due, err := x.entries(ctx, durable.ListOptions{Prefix: prefix, StartAfter: x.passed, End: Key(now+1, ""), Limit: sweepMax})
	if err != nil {
		return err
	}
	failed := x.sweep(ctx, due, s)
	x.passed = ""
	if len(due) == sweepMax { // there may be more
		x.passed = due[sweepMax-1]
	}
	if err := x.armNext(ctx, now); err != nil || failed == nil {
		return err
	}
	return x.state.WaitUntil(ctx, func(context.Context) error { return failed })
}

// armNext sets the alarm at the end of a sweep.
func (x *Index) armNext(ctx context.Context, now int64) error {
	if x.passed != "" {
		return x.set(ctx, now)
	}
	next, err := x.first(ctx)
	if err != nil || next == 0 {
		return err
	}
	if next <= now { // it was passed over
		next = now + retryAfter
	}
	return x.set(ctx, next)
}

// sweep goes through entries that are due. It returns the first of its errors.
func (x *Index) sweep(ctx context.Context, due []string, s Sweeper) (failed error) {
	var living []string
	for _, key := range due {
		alive, err := s.Expire(ctx, idOf(key))
		switch {
		case alive:
			living = append(living, key)
		case err == nil:
			_, err = x.storage.Delete(ctx, key)
		}
		failed = cmp.Or(failed, err)
	}
	for _, key := range living {
		err := x.storage.Transaction(ctx, func(ctx context.Context, _ *durable.Txn) error {
			if _, err := x.storage.Delete(ctx, key); err != nil {
				return err
			}
			return s.Refile(ctx, idOf(key))
		})
		if !errors.Is(err, durable.ErrQuotaExceeded) {
			failed = cmp.Or(failed, err)
		}
	}
	if failed != nil {
		failed = fmt.Errorf("sweep expired: %w", failed)
	}
	return failed
}

func idOf(key string) string { return key[len(Key(0, "")):] }

// first returns the due time of the first entry, 0 if there is none.
func (x *Index) first(ctx context.Context) (due int64, err error) {
	keys, err := x.entries(ctx, durable.ListOptions{Prefix: prefix, Limit: 1})
	if err != nil || len(keys) == 0 {
		return 0, err
	}
	due, err = strconv.ParseInt(keys[0][len(prefix):len(Key(0, ""))], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("expiry entry %q: %w", keys[0], err)
	}
	return due, nil
}

func (x *Index) entries(ctx context.Context, opts durable.ListOptions) ([]string, error) {
	var keys []string
	for e, err := range x.storage.List(ctx, opts) {
		if err != nil {
			return nil, fmt.Errorf("list expired: %w", err)
		}
		keys = append(keys, e.Key)
	}
	return keys, nil
}
