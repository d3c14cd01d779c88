// Package store is the seam between package durable and a storage engine.
// Most programs need only an engine's Open function and package durable.
//
// An engine keeps, for each object, ordered keys and one header. It knows
// nothing of events, gates or HTTP. Package storetest is the contract in
// executable form; every engine passes it.
package store

import (
	"context"
	"errors"
	"fmt"
)

// Errors of an engine. They may be wrapped.
var (
	// ErrRefused says that a batch was not applied and never will be, and that
	// nothing else is affected: a fence, or an earlier batch of the object that failed.
	ErrRefused = errors.New("store: batch refused")

	// ErrUnknown says that it is not known whether a batch was applied.
	// The next Load of the object settles it.
	ErrUnknown = errors.New("store: outcome of the batch is unknown")

	// ErrBroken says that a write or a sync failed, so that what the engine would
	// read is no longer known to be what it will find after a restart.
	// Once an engine has returned it, every later call does, until it is reopened.
	ErrBroken = errors.New("store: broken, reopen it")

	// ErrClosed is returned by every method of a closed engine.
	ErrClosed = errors.New("store: closed")

	// ErrInUse is returned by Open when another process holds the data.
	ErrInUse = errors.New("store: in use by another process")

	// ErrNewerFormat is returned by Open when the data was written by a newer version.
	ErrNewerFormat = errors.New("store: written by a newer version")
)

// Object names the storage of one object.
type Object struct {
	Namespace uint32
	ID        [32]byte
}

// String returns the namespace's number and the id in hex.
func (o Object) String() string { return fmt.Sprintf("%d/%x", o.Namespace, o.ID) }

// Header is the one record that an object has besides its keys. An object has a
// header from its first batch until a batch without one (see [Batch]).
// Headers are comparable.
type Header struct {
	Named bool   // Name is known
	Name  string // arbitrary bytes, at most MaxName
	Size  int64  // bytes in all keys and values, as package durable counts them
	Alarm Alarm
}

// MaxName is the longest name that a header holds, in bytes.
const MaxName = 1024

// Alarm is an object's alarm; the zero value means none.
// Times are Unix milliseconds.
type Alarm struct {
	Due     int64 // when it was asked for; 0: no alarm
	Retries int   // failed attempts so far
	Next    int64 // when to try next: the order of [Store.Alarms]; set if and only if Due is
}

// Batch is an atomic change of one object: all of it becomes durable or none.
// The engine does not change a batch or what it refers to, and may keep values
// until the commit is finished; the caller changes nothing in it after Apply.
type Batch struct {
	Object Object

	// Prev is the header before this batch and Header the one after it; nil where
	// the object does not exist. The engine writes the header and its indexes
	// (names, alarms) only where they differ, and may rely on Prev.
	// A batch with a nil Header has DeleteAll set and no Ops.
	Prev, Header *Header

	// DeleteAll removes every key of the object before Ops are applied.
	DeleteAll bool

	// Ops are in ascending order of Key, each key once.
	Ops []Op

	// After is the object's previous commit if its end has not been seen yet.
	// If that one failed, this batch is refused.
	After Commit
}

// Op sets a key or deletes it.
type Op struct {
	Key    string
	Value  []byte // ignored for a deletion; nil and empty both store an empty value
	Delete bool
}

// Commit is a batch on its way. Its methods may be called by any number of
// goroutines at once, any number of times.
type Commit interface {
	// Wait blocks until the batch is durable and returns nil, or until it failed and
	// returns an error that is ErrRefused, ErrUnknown, ErrBroken or ErrClosed. When it
	// returns nil, all earlier batches of the same object are durable too.
	Wait() error
}

// Loaded is what [Store.Load] returns.
type Loaded struct {
	Header *Header // nil if the object does not exist

	// Whole says that Entries are all of the object's keys, in ascending order.
	// An engine sets it for an object that does not exist, and for small ones
	// where that costs no further round trip.
	Whole   bool
	Entries []Op
}

// Range selects keys: Start <= key < End. An empty End means no upper bound.
type Range struct {
	Start, End string
	Reverse    bool
	Limit      int // a hint: the caller will take no more than this many; 0: unknown
}

// Contains reports whether key lies in r.
func (r Range) Contains(key string) bool {
	return key >= r.Start && (r.End == "" || key < r.End)
}

// Empty reports whether no key can lie in r.
func (r Range) Empty() bool { return r.End != "" && r.Start >= r.End }

// PrefixEnd returns the smallest string greater than every string that begins
// with prefix, or "" if there is none.
func PrefixEnd(prefix string) string {
	for i := len(prefix) - 1; i >= 0; i-- { // not strings.TrimRight, which trims runes
		if prefix[i] != 0xff {
			return prefix[:i] + string([]byte{prefix[i] + 1})
		}
	}
	return ""
}

// Due is an object with an alarm.
type Due struct {
	Object Object
	Alarm  Alarm
}

// Store is a storage engine. Its methods may be called by any number of
// goroutines at once. Batches of one object are applied one after the other, in
// the order of the calls of Apply; the caller makes these calls one at a time.
//
// Load, Get and Scan see every batch of the object whose Wait has returned nil,
// and may or may not see later ones: the caller lays its unfinished batches over
// what it reads. Objects, Names and Alarms show durable batches only, or wait
// until what they show is durable. Nothing shows a batch that failed: an engine
// that cannot take back a failed write returns ErrBroken from then on.
type Store interface {
	// Load returns an object's header and perhaps its keys.
	Load(ctx context.Context, o Object) (Loaded, error)

	// Get returns the values of keys, in their order; nil means that there is no
	// such key, an empty value is empty but not nil. The caller owns the values.
	Get(ctx context.Context, o Object, keys ...string) ([][]byte, error)

	// Scan calls yield for each key of the object in r, in byte order, until it
	// returns false. Key and value are valid during the call only. yield may call
	// the store. Scan shows one moment of the object, or, if batches are applied
	// meanwhile, each of their keys as before or as after.
	Scan(ctx context.Context, o Object, r Range, yield func(key, value []byte) bool) error

	// Apply starts a commit and returns when the batch has its place in the order.
	// Errors come from the commit's Wait. A batch that changes nothing is durable when those before it are.
	Apply(b *Batch) Commit

	// Objects calls yield for the objects of a namespace whose id is greater than
	// after, in the order of their ids, until it returns false. yield may call the store.
	Objects(ctx context.Context, namespace uint32, after [32]byte, yield func(id [32]byte, h *Header) bool) error

	// Names calls yield for the named objects of a namespace whose name begins with
	// prefix and, if after is not nil, is greater than *after, in byte order of
	// their names, until it returns false. yield may call the store.
	Names(ctx context.Context, namespace uint32, prefix string, after *string, yield func(name string, id [32]byte) bool) error

	// Alarms returns the alarms with the smallest Next over all objects of the given
	// shards (nil: all; an engine without shards ignores it), smallest first, at most limit; none if that is not positive.
	Alarms(ctx context.Context, shards []uint32, limit int) ([]Due, error)

	// Meta returns a metadata record, nil if there is none.
	Meta(ctx context.Context, key string) ([]byte, error)

	// SwapMeta replaces a metadata record if it equals old (nil: absent) and reports
	// whether it did. A nil value deletes it. It is durable on return.
	SwapMeta(ctx context.Context, key string, old, value []byte) (bool, error)

	// Close waits for commits under way and releases everything; a broken store's
	// returns ErrBroken. Methods called later return ErrClosed. A second Close does
	// nothing and returns nil. It must not be called from a yield.
	Close() error
}
