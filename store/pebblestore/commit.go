package pebblestore

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/perdure/perdure/store"
)

// maxPointDeletes is the number of keys up to which an object is deleted key by
// key. A range deletion costs every reader of the database until it has been
// flushed: reads were 600 times slower with 20,000 of them in memory.
const maxPointDeletes = 4096

// maxRangeDeletes is how many range deletions may wait in memory.
const maxRangeDeletes = 64

// commit is a batch on its way.
type commit struct {
	s *Store

	mu    sync.Mutex
	batch *pebble.Batch // nil when its end is known; guarded by mu
	after store.Commit  // of a batch that changes nothing: whose end is its own; guarded by mu
	err   error         // guarded by mu
}

// Wait implements store.Commit.
func (c *commit) Wait() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.after != nil {
		c.err, c.after = c.after.Wait(), nil
	}
	if c.batch == nil {
		return c.err
	}
	// Pebble allows one SyncWait a batch.
	if err := c.batch.SyncWait(); err != nil {
		c.s.fs.freeze(err)
	}
	// Success may have been pretended: see guardFS, invariant 1.
	c.err = c.s.broken()
	if c.err == nil {
		c.batch.Close()
	}
	c.batch = nil
	c.s.outstanding.Add(-1)
	return c.err
}

// Apply implements store.Store. Batches fail only together with the store, so
// Batch.After needs no attention, except when a batch writes nothing.
func (s *Store) Apply(b *store.Batch) store.Commit {
	c := &commit{s: s}
	if err := s.enter(context.Background()); err != nil {
		c.err = err
		return c
	}
	defer s.leave()
	ranges, err := s.apply(c, b)
	if err != nil {
		c.err = fmt.Errorf("apply to %s: %w", b.Object, err)
		return c
	}
	if ranges && s.rangeDels.Add(1)%maxRangeDeletes == 0 {
		s.flush()
	}
	return c
}

// apply encodes b and hands it to Pebble. It reports whether b deletes a range.
func (s *Store) apply(c *commit, b *store.Batch) (ranges bool, err error) {
	defer func() {
		// There is no caller's code in here: whatever panics is Pebble.
		if r := recover(); r != nil {
			s.fs.freeze(fmt.Errorf("apply: %v", r))
			err = s.broken()
		}
	}()
	batch := s.db.NewBatchWithSize(sizeOf(b))
	if b.DeleteAll {
		if ranges, err = s.deleteAll(batch, &b.Object); err != nil {
			// It can't be read what there is to delete. To refuse this batch alone would
			// mean to refuse those that follow it; a disk that can't be read is not worth it.
			s.fs.freeze(err)
			return false, s.broken()
		}
	}
	for i := range b.Ops {
		putOp(batch, &b.Object, &b.Ops[i])
	}
	putHeader(batch, b)
	if batch.Empty() {
		// Nothing to write, but Wait speaks for the batches before it too.
		c.after = b.After
		return false, batch.Close()
	}
	s.outstanding.Add(1)
	if err := s.db.ApplyNoSyncWait(batch, pebble.Sync); err != nil {
		s.fs.freeze(err)
		return false, s.broken()
	}
	c.batch = batch
	return ranges, nil
}

// sizeOf returns about how many bytes b will take, so that it is allocated once.
func sizeOf(b *store.Batch) int {
	n := 64
	for i := range b.Ops {
		n += objectLen + 12 + len(b.Ops[i].Key) + len(b.Ops[i].Value)
	}
	if b.Header != nil {
		n += 128 + 2*len(b.Header.Name)
	}
	return n
}

func putOp(batch *pebble.Batch, o *store.Object, op *store.Op) {
	var d *pebble.DeferredBatchOp
	if op.Delete {
		d = batch.DeleteDeferred(objectLen + len(op.Key))
	} else {
		d = batch.SetDeferred(objectLen+len(op.Key), len(op.Value))
		copy(d.Value, op.Value)
	}
	copy(d.Key[objectLen:], op.Key)
	appendObject(d.Key[:0], tagKey, o)
	d.Finish() // can't fail: the batch is not indexed
}

// putHeader writes the header and its indexes where they change.
func putHeader(batch *pebble.Batch, b *store.Batch) {
	prev, next := b.Prev, b.Header
	if prev == nil && next == nil || prev != nil && next != nil && *prev == *next {
		return
	}
	var none store.Header
	before, after := &none, &none
	if prev != nil {
		before = prev
	}
	if next != nil {
		after = next
	}
	k := make([]byte, 0, 128)
	if before.Named && !(after.Named && after.Name == before.Name) {
		batch.Delete(append(appendNamespace(k, tagName, b.Object.Namespace), before.Name...), nil)
	}
	if after.Named && !(before.Named && after.Name == before.Name) {
		batch.Set(append(appendNamespace(k, tagName, b.Object.Namespace), after.Name...), b.Object.ID[:], nil)
	}
	if before.Alarm != after.Alarm {
		if before.Alarm != (store.Alarm{}) && before.Alarm.Next != after.Alarm.Next {
			batch.Delete(appendAlarmKey(k, &b.Object, before.Alarm), nil)
		}
		if after.Alarm != (store.Alarm{}) {
			batch.Set(appendAlarmKey(k, &b.Object, after.Alarm), appendAlarm(nil, after.Alarm), nil)
		}
	}
	k = appendObject(k, tagHeader, &b.Object)
	if next == nil {
		batch.Delete(k, nil)
	} else {
		batch.Set(k, appendHeader(make([]byte, 0, 64+len(next.Name)), next), nil)
	}
}

// deleteAll deletes the object's keys, and reports whether it did so by range.
// What it reads is up to date: Apply is called for one batch of an object at a time
// and returns when the batch can be read.
func (s *Store) deleteAll(batch *pebble.Batch, o *store.Object) (ranges bool, err error) {
	start := appendObject(nil, tagKey, o)
	end := successor(appendObject(nil, tagKey, o))
	iter, err := s.db.NewIter(&pebble.IterOptions{LowerBound: start, UpperBound: end})
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, iter.Close()) }()
	n := 0
	for ok := iter.First(); ok; ok = iter.Next() {
		if n++; n > maxPointDeletes {
			batch.Reset()
			return true, batch.DeleteRange(start, end, nil)
		}
		if err := batch.Delete(iter.Key(), nil); err != nil {
			return false, err
		}
	}
	return false, iter.Error()
}

// flush writes what is in memory to tables, without waiting for it.
func (s *Store) flush() {
	defer func() {
		if r := recover(); r != nil {
			s.fs.freeze(fmt.Errorf("flush: %v", r))
		}
	}()
	if _, err := s.db.AsyncFlush(); err != nil {
		s.log.Warn("flush", "err", err)
	}
}

// barrier returns when everything that an iterator made before the call shows is
// durable, or with the error that it is not.
//
// What an iterator shows has been written to the log before, and a sync of the log
// covers all that was written before it was asked for; logs that were full were
// synced when they were closed.
func (s *Store) barrier() error {
	if s.outstanding.Load() != 0 {
		if err := s.db.LogData(nil, pebble.Sync); err != nil {
			s.fs.freeze(err)
		}
	}
	return s.broken()
}
