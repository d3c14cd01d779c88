package durable

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"sync"
)

// ID identifies an object: its namespace and 32 bytes. IDs are comparable and
// equal if and only if they mean the same object. The zero ID means none.
//
// The 32 bytes are made as workerd makes them, so that an object keeps its id
// when it moves between the two: with key = SHA-256(unique key of the namespace),
// the first half is HMAC-SHA-256(key, name) or random, and the second half is
// HMAC-SHA-256(key, first half), which tells ids of other namespaces apart.
type ID struct {
	ns uint32
	b  [32]byte
}

// String returns the 64 lower-case hex digits of the id.
func (id ID) String() string { return hex.EncodeToString(id.b[:]) }

// MarshalText returns what String does.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// Bytes returns the id's 32 bytes.
func (id ID) Bytes() [32]byte { return id.b }

// idMaker makes the ids of one namespace. It is safe for concurrent use.
type idMaker struct {
	number uint32
	macs   sync.Pool // of hash.Hash; resetting one is half the price of making one
}

func newIDMaker(number uint32, uniqueKey string) *idMaker {
	key := sha256.Sum256([]byte(uniqueKey))
	return &idMaker{number: number, macs: sync.Pool{New: func() any { return hmac.New(sha256.New, key[:]) }}}
}

func (m *idMaker) fromName(name string) ID {
	h := m.macs.Get().(hash.Hash)
	defer m.macs.Put(h)
	var sum [sha256.Size]byte
	h.Reset()
	h.Write([]byte(name))
	return m.seal(h, h.Sum(sum[:0]))
}

func (m *idMaker) random() ID {
	h := m.macs.Get().(hash.Hash)
	defer m.macs.Put(h)
	var a [16]byte
	rand.Read(a[:])
	return m.seal(h, a[:])
}

// seal makes the id whose first half is that of a.
func (m *idMaker) seal(h hash.Hash, a []byte) ID {
	id := ID{ns: m.number}
	copy(id.b[:16], a)
	var sum [sha256.Size]byte
	h.Reset()
	h.Write(id.b[:16])
	copy(id.b[16:], h.Sum(sum[:0]))
	return id
}

func (m *idMaker) parse(text string) (ID, error) {
	var b [32]byte
	if len(text) != 64 {
		return ID{}, fmt.Errorf("%w: must be 64 hex digits, not %d characters", ErrInvalidID, len(text))
	}
	if _, err := hex.Decode(b[:], []byte(text)); err != nil {
		return ID{}, fmt.Errorf("%w: must be 64 hex digits", ErrInvalidID)
	}
	h := m.macs.Get().(hash.Hash)
	defer m.macs.Put(h)
	if id := m.seal(h, b[:16]); id.b == b {
		return id, nil
	}
	return ID{}, fmt.Errorf("%w: it belongs to another namespace", ErrInvalidID)
}
