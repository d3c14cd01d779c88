package memstore

import (
	"context"
	"fmt"
	"strings"

	"github.com/perdure/perdure/store"
)

// wholeSize and wholeKeys bound the objects that Load returns whole: large enough
// to be met in tests, small enough for both ways to be.
const (
	wholeSize = 16 << 10
	wholeKeys = 128
)

// Load implements store.Store.
func (s *Store) Load(ctx context.Context, o store.Object) (store.Loaded, error) {
	st, err := s.view(ctx)
	if err != nil {
		return store.Loaded{}, fmt.Errorf("load %s: %w", o, err)
	}
	obj, ok := st.objects.get(objectKey(o))
	if !ok {
		return store.Loaded{Whole: true}, nil
	}
	h := obj.header
	l := store.Loaded{Header: &h}
	if obj.keys.len() > wholeKeys || h.Size > wholeSize {
		return l, nil
	}
	l.Whole = true
	obj.keys.ascend("", "", func(key string, value []byte) bool {
		l.Entries = append(l.Entries, store.Op{Key: key, Value: cloned(value)})
		return true
	})
	return l, nil
}

// Get implements store.Store. All values are of one moment.
func (s *Store) Get(ctx context.Context, o store.Object, keys ...string) ([][]byte, error) {
	st, err := s.view(ctx)
	if err != nil {
		return nil, fmt.Errorf("get from %s: %w", o, err)
	}
	values := make([][]byte, len(keys))
	obj, ok := st.objects.get(objectKey(o))
	if !ok {
		return values, nil
	}
	for i, key := range keys {
		if v, ok := obj.keys.get(key); ok {
			values[i] = cloned(v)
		}
	}
	return values, nil
}

// Scan implements store.Store. It shows one moment.
func (s *Store) Scan(ctx context.Context, o store.Object, r store.Range, yield func(key, value []byte) bool) error {
	st, err := s.view(ctx)
	if err != nil {
		return fmt.Errorf("scan %s: %w", o, err)
	}
	obj, ok := st.objects.get(objectKey(o))
	if !ok || r.Empty() {
		return nil
	}
	// The buffers are overwritten on purpose: who keeps a slice finds out.
	var k, v []byte
	each := func(key string, value []byte) bool {
		k, v = append(k[:0], key...), append(v[:0], value...)
		return yield(k, v)
	}
	if r.Reverse {
		obj.keys.descend(r.Start, r.End, each)
	} else {
		obj.keys.ascend(r.Start, r.End, each)
	}
	return nil
}

// Objects implements store.Store. It shows one moment.
func (s *Store) Objects(ctx context.Context, namespace uint32, after [32]byte, yield func([32]byte, *store.Header) bool) error {
	st, err := s.view(ctx)
	if err != nil {
		return fmt.Errorf("list objects of namespace %d: %w", namespace, err)
	}
	start := objectKey(store.Object{Namespace: namespace, ID: after}) + "\x00" // the next possible key
	end := store.PrefixEnd(string(namespaceKey(namespace)))
	st.objects.ascend(start, end, func(key string, obj *object) bool {
		h := obj.header
		return yield([32]byte([]byte(key[4:])), &h)
	})
	return nil
}

// Names implements store.Store. It shows one moment.
func (s *Store) Names(ctx context.Context, namespace uint32, prefix string, after *string, yield func(string, [32]byte) bool) error {
	st, err := s.view(ctx)
	if err != nil {
		return fmt.Errorf("list names of namespace %d: %w", namespace, err)
	}
	first := prefix
	if after != nil {
		first = max(prefix, *after+"\x00")
	}
	start, end := nameKey(namespace, first), store.PrefixEnd(nameKey(namespace, prefix))
	if (store.Range{Start: start, End: end}).Empty() {
		return nil
	}
	st.names.ascend(start, end, func(key string, id [32]byte) bool {
		return yield(strings.Clone(key[4:]), id)
	})
	return nil
}

// Alarms implements store.Store. It has no shards.
func (s *Store) Alarms(ctx context.Context, shards []uint32, limit int) ([]store.Due, error) {
	st, err := s.view(ctx)
	if err != nil {
		return nil, fmt.Errorf("list alarms: %w", err)
	}
	var due []store.Due
	if limit <= 0 {
		return nil, nil
	}
	st.alarms.ascend("", "", func(key string, a store.Alarm) bool {
		due = append(due, store.Due{Object: alarmObject(key), Alarm: a})
		return len(due) < limit
	})
	return due, nil
}

// Meta implements store.Store.
func (s *Store) Meta(ctx context.Context, key string) ([]byte, error) {
	st, err := s.view(ctx)
	if err != nil {
		return nil, fmt.Errorf("metadata %q: %w", key, err)
	}
	v, ok := st.meta.get(key)
	if !ok {
		return nil, nil
	}
	return cloned(v), nil
}

// SwapMeta implements store.Store. Holds and SyncDelay do not delay it.
func (s *Store) SwapMeta(ctx context.Context, key string, old, value []byte) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usableLocked(); err != nil {
		return false, fmt.Errorf("swap metadata %q: %w", key, err)
	}
	if err := ctx.Err(); err != nil {
		return false, fmt.Errorf("swap metadata %q: %w", key, err)
	}
	v, _ := s.state.meta.get(key)
	if !same(v, old) {
		return false, nil
	}
	if value == nil {
		s.state.meta = s.state.meta.delete(key)
	} else {
		s.state.meta = s.state.meta.set(key, cloned(value))
	}
	return true, nil
}
