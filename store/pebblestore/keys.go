package pebblestore

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/perdure/perdure/store"
)

// The first byte of every key. docs/format.md has the whole layout.
const (
	tagFormat = 0x00 // the format record
	tagMeta   = 0x01 // metadata
	tagHeader = 0x02 // headers: the registry of objects
	tagName   = 0x03 // named objects by name
	tagAlarm  = 0x04 // alarms by the time of the next attempt
	tagKey    = 0x05 // the objects' keys
)

// formatVersion is the version of the layout. It is raised when an older program
// would misread what a newer one writes.
const formatVersion = 1

// headerVersion is the first byte of a header record.
const headerVersion = 1

const (
	objectLen = 1 + 4 + 32 // tag, namespace, id
	alarmLen  = 1 + 8 + 4 + 32
)

// A header's flags.
const (
	flagNamed = 1 << iota
	flagAlarm
)

func appendObject(k []byte, tag byte, o *store.Object) []byte {
	k = append(k, tag)
	k = binary.BigEndian.AppendUint32(k, o.Namespace)
	return append(k, o.ID[:]...)
}

func appendNamespace(k []byte, tag byte, namespace uint32) []byte {
	return binary.BigEndian.AppendUint32(append(k, tag), namespace)
}

func appendAlarmKey(k []byte, o *store.Object, a store.Alarm) []byte {
	// The flipped sign bit puts times before 1970 first.
	k = binary.BigEndian.AppendUint64(append(k, tagAlarm), uint64(a.Next)^1<<63)
	k = binary.BigEndian.AppendUint32(k, o.Namespace)
	return append(k, o.ID[:]...)
}

// successor returns the smallest key greater than all that begin with prefix, of
// which no byte but the last can overflow. It overwrites prefix.
func successor(prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		prefix[i]++
		if prefix[i] != 0 {
			return prefix[:i+1]
		}
	}
	return nil
}

func appendHeader(v []byte, h *store.Header) []byte {
	var flags byte
	if h.Named {
		flags |= flagNamed
	}
	if h.Alarm != (store.Alarm{}) {
		flags |= flagAlarm
	}
	v = append(v, headerVersion, flags)
	v = binary.BigEndian.AppendUint64(v, uint64(h.Size))
	if h.Alarm != (store.Alarm{}) {
		v = appendAlarm(v, h.Alarm)
		v = binary.BigEndian.AppendUint64(v, uint64(h.Alarm.Next))
	}
	if h.Named {
		v = append(v, h.Name...)
	}
	return v
}

// appendAlarm writes an alarm without Next, which its index key holds.
func appendAlarm(v []byte, a store.Alarm) []byte {
	v = binary.BigEndian.AppendUint64(v, uint64(a.Due))
	return binary.BigEndian.AppendUint32(v, uint32(a.Retries))
}

var errRecord = errors.New("malformed record")

func parseHeader(v []byte) (*store.Header, error) {
	if len(v) < 10 {
		return nil, errRecord
	}
	if v[0] != headerVersion {
		return nil, fmt.Errorf("header of version %d, this program knows %d: %w", v[0], headerVersion, store.ErrNewerFormat)
	}
	flags := v[1]
	h := &store.Header{Size: int64(binary.BigEndian.Uint64(v[2:]))}
	v = v[10:]
	if flags&flagAlarm != 0 {
		if len(v) < 20 {
			return nil, errRecord
		}
		h.Alarm = parseAlarm(v)
		h.Alarm.Next = int64(binary.BigEndian.Uint64(v[12:]))
		v = v[20:]
	}
	if flags&flagNamed != 0 {
		h.Named, h.Name = true, string(v)
	}
	return h, nil
}

// parseAlarm reads what appendAlarm wrote; v is long enough.
func parseAlarm(v []byte) store.Alarm {
	return store.Alarm{
		Due:     int64(binary.BigEndian.Uint64(v)),
		Retries: int(binary.BigEndian.Uint32(v[8:])),
	}
}

func parseDue(k, v []byte) (store.Due, error) {
	if len(k) != alarmLen || len(v) != 12 {
		return store.Due{}, errRecord
	}
	d := store.Due{Alarm: parseAlarm(v)}
	d.Alarm.Next = int64(binary.BigEndian.Uint64(k[1:]) ^ 1<<63)
	d.Object.Namespace = binary.BigEndian.Uint32(k[9:])
	copy(d.Object.ID[:], k[13:])
	return d, nil
}
