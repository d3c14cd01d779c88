package pebblestore

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/perdure/perdure/store"
)

// wholeSize is the size up to which Load reads an object's keys too.
const wholeSize = 4 << 10

// Load implements store.Store. Header and keys are of one moment.
func (s *Store) Load(ctx context.Context, o store.Object) (l store.Loaded, err error) {
	err = s.read(ctx, func() error {
		// Named results would keep what was read when the store broke meanwhile.
		var err error
		l, err = s.load(&o)
		return err
	})
	if err != nil {
		return store.Loaded{}, fmt.Errorf("load %s: %w", o, err)
	}
	return l, nil
}

func (s *Store) load(o *store.Object) (l store.Loaded, err error) {
	iter, err := s.db.NewIter(nil)
	if err != nil {
		return l, err
	}
	defer func() { err = errors.Join(err, iter.Close()) }()

	var buf [objectLen]byte
	k := appendObject(buf[:0], tagHeader, o)
	if !iter.SeekPrefixGE(k) || !bytes.Equal(iter.Key(), k) {
		l.Whole = true
		return l, iter.Error()
	}
	v, err := iter.ValueAndErr()
	if err != nil {
		return l, err
	}
	if l.Header, err = parseHeader(v); err != nil || l.Header.Size > wholeSize {
		return l, err
	}
	var bounds [2][objectLen]byte
	iter.SetBounds(appendObject(bounds[0][:0], tagKey, o), successor(appendObject(bounds[1][:0], tagKey, o)))
	for ok := iter.First(); ok; ok = iter.Next() {
		v, err := iter.ValueAndErr()
		if err != nil {
			return l, err
		}
		l.Entries = append(l.Entries, store.Op{Key: string(iter.Key()[objectLen:]), Value: append([]byte{}, v...)})
	}
	l.Whole = true
	return l, iter.Error()
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, o store.Object, keys ...string) (values [][]byte, err error) {
	values = make([][]byte, len(keys))
	err = s.read(ctx, func() error {
		var buf [256]byte
		prefix := appendObject(buf[:0], tagKey, &o)
		for i, key := range keys {
			var err error
			if values[i], err = s.get(append(prefix, key...)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("get from %s: %w", o, err)
	}
	return values, nil
}

// get returns a copy of a value, nil if there is none.
func (s *Store) get(key []byte) ([]byte, error) {
	v, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	v = append(make([]byte, 0, len(v)), v...)
	return v, closer.Close()
}

// read runs a function that reads, and returns its error unless the store broke
// meanwhile.
func (s *Store) read(ctx context.Context, f func() error) (err error) {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	defer s.rescue(&err)
	return s.outcome(f())
}

// Scan implements store.Store. It shows one moment.
func (s *Store) Scan(ctx context.Context, o store.Object, r store.Range, yield func(key, value []byte) bool) error {
	if r.Empty() {
		r.Start, r.End = "", ""
		yield = func(_, _ []byte) bool { return false }
	}
	start := append(appendObject(nil, tagKey, &o), r.Start...)
	end := append(appendObject(nil, tagKey, &o), r.End...)
	if r.End == "" {
		end = successor(end)
	}
	err := s.iterate(ctx, start, end, r.Reverse, false, func(k, v []byte) (bool, error) {
		return yield(k[objectLen:], v), nil
	})
	if err != nil {
		return fmt.Errorf("scan %s: %w", o, err)
	}
	return nil
}

// iterate calls yield for the keys from start to end until it returns false or an
// error. With durable, it shows only what is. Each key is handed out after the
// store was seen to be whole, so that no batch that failed before is in it.
func (s *Store) iterate(ctx context.Context, start, end []byte, reverse, durable bool, yield func(k, v []byte) (bool, error)) (err error) {
	return s.read(ctx, func() (err error) {
		iter, err := s.db.NewIter(&pebble.IterOptions{LowerBound: start, UpperBound: end})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, iter.Close()) }()
		if durable {
			if err := s.barrier(); err != nil {
				return err
			}
		}
		first, next := iter.First, iter.Next
		if reverse {
			first, next = iter.Last, iter.Prev
		}
		for ok := first(); ok; ok = next() {
			v, err := iter.ValueAndErr()
			if err != nil {
				return err
			}
			if err := s.broken(); err != nil {
				return err
			}
			if more, err := yield(iter.Key(), v); !more || err != nil {
				return err
			}
		}
		return iter.Error()
	})
}

// Objects implements store.Store. It shows one moment.
func (s *Store) Objects(ctx context.Context, namespace uint32, after [32]byte, yield func([32]byte, *store.Header) bool) error {
	// The smallest key greater than the one of after.
	start := append(appendObject(nil, tagHeader, &store.Object{Namespace: namespace, ID: after}), 0)
	end := successor(appendNamespace(nil, tagHeader, namespace))
	err := s.iterate(ctx, start, end, false, true, func(k, v []byte) (bool, error) {
		h, err := parseHeader(v)
		if err != nil || len(k) != objectLen {
			return false, errors.Join(errRecord, err)
		}
		return yield([32]byte(k[5:]), h), nil
	})
	if err != nil {
		return fmt.Errorf("list objects of namespace %d: %w", namespace, err)
	}
	return nil
}

// Names implements store.Store. It shows one moment.
func (s *Store) Names(ctx context.Context, namespace uint32, prefix string, after *string, yield func(string, [32]byte) bool) error {
	first := prefix
	if after != nil {
		first = max(prefix, *after+"\x00")
	}
	start := append(appendNamespace(nil, tagName, namespace), first...)
	end := successor(append(appendNamespace(nil, tagName, namespace), prefix...))
	if bytes.Compare(start, end) >= 0 {
		start = end // after lies behind the prefix: an empty range
	}
	err := s.iterate(ctx, start, end, false, true, func(k, v []byte) (bool, error) {
		if len(v) != 32 {
			return false, errRecord
		}
		return yield(string(k[5:]), [32]byte(v)), nil
	})
	if err != nil {
		return fmt.Errorf("list names of namespace %d: %w", namespace, err)
	}
	return nil
}

// Alarms implements store.Store. It has no shards.
func (s *Store) Alarms(ctx context.Context, shards []uint32, limit int) ([]store.Due, error) {
	var due []store.Due
	err := s.iterate(ctx, []byte{tagAlarm}, []byte{tagAlarm + 1}, false, true, func(k, v []byte) (bool, error) {
		if len(due) >= limit {
			return false, nil
		}
		d, err := parseDue(k, v)
		due = append(due, d)
		return len(due) < limit, err
	})
	if err != nil {
		return nil, fmt.Errorf("list alarms: %w", err)
	}
	return due, nil
}

// Meta implements store.Store.
func (s *Store) Meta(ctx context.Context, key string) (v []byte, err error) {
	err = s.read(ctx, func() (err error) {
		s.metaMu.Lock()
		defer s.metaMu.Unlock()
		v, err = s.get(metaKey(key))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("metadata %q: %w", key, err)
	}
	return v, nil
}

// SwapMeta implements store.Store.
func (s *Store) SwapMeta(ctx context.Context, key string, old, value []byte) (swapped bool, err error) {
	err = s.read(ctx, func() (err error) {
		s.metaMu.Lock()
		defer s.metaMu.Unlock()
		v, err := s.get(metaKey(key))
		if err != nil || (v == nil) != (old == nil) || !bytes.Equal(v, old) {
			return err
		}
		if value == nil {
			err = s.db.Delete(metaKey(key), pebble.Sync)
		} else {
			err = s.db.Set(metaKey(key), value, pebble.Sync)
		}
		if err != nil {
			s.fs.freeze(err)
		}
		swapped = err == nil
		return err
	})
	if err != nil {
		return false, fmt.Errorf("swap metadata %q: %w", key, err)
	}
	return swapped, nil
}

func metaKey(key string) []byte {
	return append([]byte{tagMeta}, key...)
}
