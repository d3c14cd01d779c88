package pgstore

import (
	"bytes"
	"encoding/binary"

	"github.com/perdure/perdure/store"
)

// objectLen is the length of an object's key: its namespace, four bytes, big endian, and
// its id.
const objectLen = 4 + 32

func objectKey(o store.Object) (k [objectLen]byte) {
	binary.BigEndian.PutUint32(k[:], o.Namespace)
	copy(k[4:], o.ID[:])
	return k
}

// namespaceEnd is greater than the keys of all objects of a namespace.
func namespaceEnd(namespace uint32) []byte {
	end := binary.BigEndian.AppendUint32(nil, namespace)
	return append(end, bytes.Repeat([]byte{0xff}, 33)...) // longer than the last of them
}

func objectOf(key []byte) (o store.Object) {
	o.Namespace = binary.BigEndian.Uint32(key)
	copy(o.ID[:], key[4:])
	return o
}
