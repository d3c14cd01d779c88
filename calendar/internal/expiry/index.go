package expiry

import (
	"context"
	"fmt"
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
//  3. While there is an entry, there is an alarm no later than the first of them.
//
// The zero value is not usable: make one with [NewIndex] for each instance of
// the object, and use it in the object's events only.
type Index struct {
	storage *durable.Storage
	armed   int64 // the alarm is set to this time; 0: not known
}

// sweepMax is how many entries one alarm looks at. What is left over makes the
// next alarm, so that requests of the object get their turn between.
const sweepMax = 128

const prefix = "x"

// NewIndex returns the index in an object's storage.
func NewIndex(storage *durable.Storage) *Index { return &Index{storage: storage} }

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

// Sweep does an alarm's work at time now: it calls visit for what is due, removes
// its entries, and sets the next alarm. visit deletes what has expired, and what
// has not it writes again with a due time after now and an entry there.
func (x *Index) Sweep(ctx context.Context, now int64, visit func(id string) error) error {
	due, err := x.entries(ctx, durable.ListOptions{Prefix: prefix, End: Key(now+1, ""), Limit: sweepMax})
	if err != nil {
		return err
	}
	for _, key := range due {
		if err := visit(key[len(Key(0, "")):]); err != nil {
			return err
		}
		if _, err := x.storage.Delete(ctx, key); err != nil {
			return fmt.Errorf("sweep expired: %w", err)
		}
	}
	first, err := x.entries(ctx, durable.ListOptions{Prefix: prefix, Limit: 1})
	if err != nil || len(first) == 0 {
		return err
	}
	var next int64
	if _, err := fmt.Sscanf(first[0][len(prefix):len(Key(0, ""))], "%d", &next); err != nil {
		return fmt.Errorf("expiry entry %q: %w", first[0], err)
	}
	return x.set(ctx, max(next, now))
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
