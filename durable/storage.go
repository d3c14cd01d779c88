package durable

import (
	"context"
	"fmt"
	"time"

	"github.com/perdure/perdure/store"
)

// Storage is an object's ordered map from keys to values, strongly consistent
// and its own. Its methods take the context of an event of the object and fail
// with [ErrNoEvent] otherwise, with [ErrGateOpen] inside Await, with [ErrReset]
// once the instance is gone, with [ErrStoreBroken] once the engine failed. They
// ignore the context's cancellation (promise 7).
//
// A write is visible to this event at once, but durable only after the next
// commit point: a stub call, Await, Flush, Sync, or the end of the event. All
// writes between two of them are one atomic change; a panic or a reset discards
// those since the last one, an error returned by a handler does not.
//
// Keys are arbitrary bytes in the order of bytes, the empty key included.
type Storage State

func (s *Storage) state() *State { return (*State)(s) }

// enter returns with the object locked if ctx is that of an event that may use storage now.
func (s *Storage) enter(ctx context.Context) (*event, *object, error) {
	ev, aw := eventOf(ctx)
	o := s.obj
	if ev == nil || ev.obj != o {
		return nil, nil, ErrNoEvent
	}
	o.mu.Lock()
	err := ev.usableLocked()
	if err == nil && aw != nil {
		err = ErrNoEvent // a context kept from an Await that is over
	}
	if err == nil && ev.inst != s.state() {
		err = ErrNoEvent
	}
	if err != nil {
		o.mu.Unlock()
		return nil, nil, err
	}
	return ev, o, nil
}

func (s *Storage) limits() *Limits { return &s.obj.rt().opts.Limits }

func (s *Storage) checkKeys(keys ...string) error {
	lim := s.limits()
	if len(keys) > lim.KeysPerCall {
		return overLimit(ErrTooManyKeys, len(keys), lim.KeysPerCall)
	}
	for _, key := range keys {
		if len(key) > lim.KeyBytes {
			return overLimit(ErrKeyTooLarge, len(key), lim.KeyBytes)
		}
	}
	return nil
}

// Get reads the value of key into v, a pointer, and reports whether there is one.
// It sets what v points to to zero first if there is one, and leaves it alone if not.
// If v is no pointer, or a nil one, that is [ErrDecode] whether there is a value or not.
func (s *Storage) Get(ctx context.Context, key string, v any) (found bool, err error) {
	if err := checkTarget(v); err != nil {
		return false, fmt.Errorf("get %q: %w", key, err)
	}
	data, err := s.get(ctx, key)
	if err != nil || data == nil {
		return false, err
	}
	if err := decode(data, v); err != nil {
		return false, fmt.Errorf("get %q: %w", key, err)
	}
	return true, nil
}

// GetRaw returns the bytes that PutRaw stored, or those of a value of Put with
// its encoding. The caller owns them.
func (s *Storage) GetRaw(ctx context.Context, key string) (value []byte, found bool, err error) {
	data, err := s.get(ctx, key)
	if err != nil || data == nil {
		return nil, false, err
	}
	return append([]byte{}, data...), true, nil
}

func (s *Storage) get(ctx context.Context, key string) ([]byte, error) {
	if len(key) > s.limits().KeyBytes {
		return nil, s.checkKeys(key)
	}
	ev, o, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer o.mu.Unlock()
	return o.fetchOneLocked(ev, key)
}

// GetMany returns those of keys that have a value, at most Limits.KeysPerCall.
func (s *Storage) GetMany(ctx context.Context, keys []string) (map[string]Value, error) {
	if err := s.checkKeys(keys...); err != nil {
		return nil, err
	}
	ev, o, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer o.mu.Unlock()
	values, err := o.fetchLocked(ev, keys)
	if err != nil {
		return nil, err
	}
	found := make(map[string]Value)
	for i, v := range values {
		if v != nil {
			found[keys[i]] = Value{v}
		}
	}
	return found, nil
}

// Value is a stored value that has not been decoded yet.
type Value struct{ data []byte }

// Decode reads the value into v, a pointer.
func (v Value) Decode(into any) error { return decode(v.data, into) }

// Raw returns the stored bytes; the caller owns them.
func (v Value) Raw() []byte { return append([]byte{}, v.data...) }

// Put stores v under key. v is copied. What could not be read back into a
// variable of v's type is refused with [ErrEncode]. Exported fields of structs are
// stored, under their names or those of tags "cbor" or "json"; fields that are
// missing when it is read are zero, further ones are ignored. Times keep
// nanoseconds and offset. In an any, integers read back as int64 (or big.Int),
// floats as float64, lists as []any, maps and structs as map[string]any.
func (s *Storage) Put(ctx context.Context, key string, v any) error {
	data, err := encode(v)
	if err != nil {
		return fmt.Errorf("put %q: %w", key, err)
	}
	return s.put(ctx, key, data)
}

// PutRaw stores the bytes of value under key as they are. They are copied.
func (s *Storage) PutRaw(ctx context.Context, key string, value []byte) error {
	if n, limit := len(value), s.limits().ValueBytes; n > limit {
		return overLimit(ErrValueTooLarge, n, limit)
	}
	return s.put(ctx, key, append([]byte{}, value...))
}

// PutMany stores all entries, at most Limits.KeysPerCall, or none of them.
func (s *Storage) PutMany(ctx context.Context, entries map[string]any) error {
	keys := make([]string, 0, len(entries))
	values := make([][]byte, 0, len(entries))
	for key, v := range entries {
		data, err := encode(v)
		if err != nil {
			return fmt.Errorf("put %q: %w", key, err)
		}
		keys, values = append(keys, key), append(values, data)
	}
	return s.write(ctx, keys, values)
}

func (s *Storage) put(ctx context.Context, key string, data []byte) error {
	return s.write(ctx, []string{key}, [][]byte{data})
}

// write checks everything before it changes anything.
func (s *Storage) write(ctx context.Context, keys []string, values [][]byte) error {
	lim := s.limits()
	if err := s.checkKeys(keys...); err != nil {
		return err
	}
	bytes := 0
	for i, v := range values {
		if len(v) > lim.ValueBytes {
			return fmt.Errorf("put %.100q: %w", keys[i], overLimit(ErrValueTooLarge, len(v), lim.ValueBytes))
		}
		bytes += len(keys[i]) + len(v)
	}
	ev, o, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer o.mu.Unlock()
	var one [1][]byte
	old := one[:]
	if len(keys) == 1 {
		one[0], err = o.fetchOneLocked(ev, keys[0])
	} else {
		old, err = o.fetchLocked(ev, keys)
	}
	if err != nil {
		return err
	}
	if n := o.turn.bytes + bytes; n > lim.TurnBytes {
		return overLimit(ErrTurnTooLarge, n, lim.TurnBytes)
	}
	grown := int64(bytes)
	for i, v := range old {
		if v != nil {
			grown -= int64(len(keys[i]) + len(v))
		}
	}
	turned := o.turn.delta // by which the turn has changed the object's size so far
	if o.turn.deleteAll {
		turned -= o.hdr.Size // delta is then the size, not its change
	}
	if total := o.ns.total.Load() + turned + grown; grown > 0 && total > lim.NamespaceBytes {
		return fmt.Errorf("class %s: %w", o.ns.class.name, &LimitError{Err: ErrQuotaExceeded, Limit: lim.NamespaceBytes, Size: total})
	}
	for i, key := range keys {
		o.writeLocked(key, old[i], values[i])
	}
	return nil
}

// Delete deletes key and reports whether it had a value.
func (s *Storage) Delete(ctx context.Context, key string) (deleted bool, err error) {
	n, err := s.DeleteMany(ctx, []string{key})
	return n == 1, err
}

// DeleteMany deletes keys, at most Limits.KeysPerCall, and returns how many had a value.
func (s *Storage) DeleteMany(ctx context.Context, keys []string) (deleted int, err error) {
	if err := s.checkKeys(keys...); err != nil {
		return 0, err
	}
	ev, o, err := s.enter(ctx)
	if err != nil {
		return 0, err
	}
	defer o.mu.Unlock()
	old, err := o.fetchLocked(ev, keys)
	if err != nil {
		return 0, err
	}
	bytes := 0
	for _, key := range keys {
		bytes += len(key)
	}
	if n, limit := o.turn.bytes+bytes, s.limits().TurnBytes; n > limit {
		return 0, overLimit(ErrTurnTooLarge, n, limit)
	}
	for i, key := range keys {
		if op := o.turn.find(key); op != nil && op.Delete {
			continue // the same key twice counts once
		}
		if old[i] != nil {
			o.writeLocked(key, old[i], nil)
			deleted++
		}
	}
	return deleted, nil
}

// DeleteAll deletes all keys and the alarm. The object then takes no space and
// is no longer listed, unless it writes again. It returns [ErrInTransaction]
// inside a transaction.
func (s *Storage) DeleteAll(ctx context.Context) error {
	ev, o, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer o.mu.Unlock()
	if ev.tx != nil {
		return ErrInTransaction
	}
	if !o.exists {
		*o.turn = turn{}
		return nil
	}
	*o.turn = turn{deleteAll: true}
	return nil
}

// Sync is a commit point that keeps the gate shut: it returns when all that was
// written before is durable.
func (s *Storage) Sync(ctx context.Context) error {
	ev, o, err := s.enter(ctx)
	if err != nil {
		return err
	}
	o.mu.Unlock()
	if err := ev.openGate(stateBusy); err != nil {
		return err
	}
	return ev.closeGate()
}

// SetAlarm makes the object's Alarm handler run at t, or at once if that is
// past, in place of an alarm set before. Its resolution is a millisecond.
func (s *Storage) SetAlarm(ctx context.Context, t time.Time) error {
	due := t.UnixMilli()
	if due <= 0 {
		return fmt.Errorf("%w: %v: must be after 1970-01-01", ErrInvalidAlarm, t)
	}
	if rest := t.Sub(time.UnixMilli(due)); rest > 0 {
		due++ // never early
	}
	if !s.obj.ns.class.alarms {
		return fmt.Errorf("%w: class %s has no Alarm method", ErrNoHandler, s.obj.ns.class.name)
	}
	if now := s.obj.rt().now().UnixMilli(); due < now {
		due = now
	}
	return s.putAlarm(ctx, store.Alarm{Due: due, Next: due})
}

// DeleteAlarm takes the alarm back, if there is one. A handler that runs already goes on.
func (s *Storage) DeleteAlarm(ctx context.Context) error {
	return s.putAlarm(ctx, store.Alarm{})
}

func (s *Storage) putAlarm(ctx context.Context, a store.Alarm) error {
	_, o, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer o.mu.Unlock()
	if a == (store.Alarm{}) && !o.turn.alarmSet && (o.turn.deleteAll || o.hdr.Alarm == a) {
		return nil
	}
	o.turn.alarm, o.turn.alarmSet = a, true
	return nil
}

// GetAlarm returns when the alarm is due, if one is set. Inside the handler it
// is not, unless the handler has set it again.
func (s *Storage) GetAlarm(ctx context.Context) (due time.Time, set bool, err error) {
	_, o, err := s.enter(ctx)
	if err != nil {
		return time.Time{}, false, err
	}
	defer o.mu.Unlock()
	a := o.hdr.Alarm
	switch run := o.inst.alarm; {
	case o.turn.alarmSet:
		a = o.turn.alarm
	case o.turn.deleteAll:
		a = store.Alarm{}
	case run != nil && !run.superseded:
		a = store.Alarm{}
	}
	if a == (store.Alarm{}) {
		return time.Time{}, false, nil
	}
	return time.UnixMilli(a.Due), true, nil
}
