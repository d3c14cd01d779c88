package memstore

import (
	"bytes"
	"encoding/binary"
	"errors"

	"github.com/perdure/perdure/store"
)

// state is everything a store holds, at one moment. It is immutable: a change
// makes a new one that shares what it did not touch.
type state struct {
	objects tree[*object]     // by objectKey
	names   tree[[32]byte]    // by namespace and name
	alarms  tree[store.Alarm] // by Next and objectKey
	meta    tree[[]byte]
}

// object is immutable too.
type object struct {
	header store.Header
	keys   tree[[]byte]
}

func namespaceKey(namespace uint32) []byte {
	return binary.BigEndian.AppendUint32(make([]byte, 0, 64), namespace)
}

func objectKey(o store.Object) string {
	return string(append(namespaceKey(o.Namespace), o.ID[:]...))
}

func nameKey(namespace uint32, name string) string {
	return string(append(namespaceKey(namespace), name...))
}

func alarmKey(o store.Object, a store.Alarm) string {
	// The flipped sign bit puts negative times first.
	k := binary.BigEndian.AppendUint64(make([]byte, 0, 64), uint64(a.Next)^1<<63)
	k = binary.BigEndian.AppendUint32(k, o.Namespace)
	return string(append(k, o.ID[:]...))
}

func alarmObject(key string) (o store.Object) {
	o.Namespace = binary.BigEndian.Uint32([]byte(key[8:12]))
	copy(o.ID[:], key[12:])
	return o
}

// apply returns the state after b, or an error if b breaks the rules of Batch.
func (s state) apply(b *store.Batch) (state, error) {
	key := objectKey(b.Object)
	obj, ok := s.objects.get(key)
	if err := check(b, obj); err != nil {
		return s, err
	}
	if ok {
		if obj.header.Named {
			s.names = s.names.delete(nameKey(b.Object.Namespace, obj.header.Name))
		}
		if obj.header.Alarm != (store.Alarm{}) {
			s.alarms = s.alarms.delete(alarmKey(b.Object, obj.header.Alarm))
		}
	}
	if b.Header == nil {
		s.objects = s.objects.delete(key)
		return s, nil
	}
	next := &object{header: *b.Header}
	if ok && !b.DeleteAll {
		next.keys = obj.keys
	}
	for _, op := range b.Ops {
		if op.Delete {
			next.keys = next.keys.delete(op.Key)
		} else {
			next.keys = next.keys.set(op.Key, append([]byte{}, op.Value...))
		}
	}
	s.objects = s.objects.set(key, next)
	if next.header.Named {
		s.names = s.names.set(nameKey(b.Object.Namespace, next.header.Name), b.Object.ID)
	}
	if next.header.Alarm != (store.Alarm{}) {
		s.alarms = s.alarms.set(alarmKey(b.Object, next.header.Alarm), next.header.Alarm)
	}
	return s, nil
}

func check(b *store.Batch, obj *object) error {
	switch {
	case (b.Prev == nil) != (obj == nil):
		return errors.New("Batch.Prev and the store differ on whether the object exists")
	case obj != nil && *b.Prev != obj.header:
		return errors.New("Batch.Prev is not the header that is stored")
	case b.Header == nil && (!b.DeleteAll || len(b.Ops) > 0):
		return errors.New("Batch without Header does not delete everything")
	case b.Header != nil && len(b.Header.Name) > store.MaxName:
		return errors.New("Header.Name is too long")
	case b.Header != nil && (b.Header.Alarm.Due == 0) != (b.Header.Alarm.Next == 0):
		return errors.New("only one of Alarm.Due and Alarm.Next is set")
	}
	for i := 1; i < len(b.Ops); i++ {
		if b.Ops[i-1].Key >= b.Ops[i].Key {
			return errors.New("Batch.Ops are not in ascending order of Key")
		}
	}
	return nil
}

func cloned(v []byte) []byte {
	return append(make([]byte, 0, len(v)), v...)
}

func same(a, b []byte) bool {
	return (a == nil) == (b == nil) && bytes.Equal(a, b)
}
