package pebblestore

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perdure/perdure/store"
)

// The bytes on disk are what docs/format.md says, whatever the code becomes.
func TestFormat(t *testing.T) {
	o := store.Object{Namespace: 0x01020304, ID: [32]byte{0: 0xaa, 31: 0xbb}}
	id := "\xaa" + strings.Repeat("\x00", 30) + "\xbb"
	h := &store.Header{Named: true, Name: "na\x00me", Size: 0x0102, Alarm: store.Alarm{Due: 5, Retries: 2, Next: 7}}
	for name, test := range map[string]struct{ got, want string }{
		"key":        {string(append(appendObject(nil, tagKey, &o), "k"...)), "\x05\x01\x02\x03\x04" + id + "k"},
		"header key": {string(appendObject(nil, tagHeader, &o)), "\x02\x01\x02\x03\x04" + id},
		"alarm key":  {string(appendAlarmKey(nil, &o, h.Alarm)), "\x04\x80\x00\x00\x00\x00\x00\x00\x07\x01\x02\x03\x04" + id},
		"alarm":      {string(appendAlarm(nil, h.Alarm)), "\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x02"},
		"name key":   {string(appendNamespace(nil, tagName, o.Namespace)), "\x03\x01\x02\x03\x04"},
		"metadata":   {string(metaKey("k")), "\x01k"},
		"header": {string(appendHeader(nil, h)), "\x01\x03\x00\x00\x00\x00\x00\x00\x01\x02" +
			"\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x07" + "na\x00me"},
		"empty header": {string(appendHeader(nil, new(store.Header))), "\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00"},
	} {
		if test.got != test.want {
			t.Errorf("%s = %x, want %x", name, test.got, test.want)
		}
	}
	if pebbleFormat != 21 || formatVersion != 1 {
		t.Errorf("formats %d and %d: docs/format.md says otherwise", uint64(pebbleFormat), formatVersion)
	}
}

func TestNewerHeader(t *testing.T) {
	v := appendHeader(nil, new(store.Header))
	v[0]++
	if _, err := parseHeader(v); !errors.Is(err, store.ErrNewerFormat) {
		t.Errorf("parseHeader = %v, want ErrNewerFormat", err)
	}
}

func TestSuccessor(t *testing.T) {
	for in, want := range map[string]string{"a": "b", "a\xff": "b", "\xfe\xff\xff": "\xff", "a\x00": "a\x01"} {
		if got := string(successor([]byte(in))); got != want {
			t.Errorf("successor(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzHeader(f *testing.F) {
	f.Add(appendHeader(nil, new(store.Header)))
	f.Add(appendHeader(nil, &store.Header{Named: true, Name: "n", Size: -1}))
	f.Add(appendHeader(nil, &store.Header{Named: true, Alarm: store.Alarm{Due: -1, Retries: 3, Next: 1 << 62}}))
	f.Add([]byte("\x01\x02\x00"))
	f.Fuzz(func(t *testing.T, v []byte) {
		h, err := parseHeader(v)
		if err != nil {
			return
		}
		again, err := parseHeader(appendHeader(nil, h))
		if err != nil {
			t.Fatalf("parseHeader(appendHeader(%+v)) = %v", h, err)
		}
		if d := cmp.Diff(h, again); d != "" {
			t.Errorf("%x: %s", v, d)
		}
	})
}

func FuzzDue(f *testing.F) {
	a := store.Alarm{Due: 1, Retries: 2, Next: 3}
	o := store.Object{Namespace: 7, ID: [32]byte{9}}
	f.Add(appendAlarmKey(nil, &o, a), appendAlarm(nil, a))
	f.Add([]byte{tagAlarm}, []byte{})
	f.Fuzz(func(t *testing.T, k, v []byte) {
		d, err := parseDue(k, v)
		if err != nil {
			return
		}
		if got := appendAlarmKey(nil, &d.Object, d.Alarm); !bytes.Equal(got[1:], k[1:]) {
			t.Errorf("key %x became %x", k, got)
		}
		if got := appendAlarm(nil, d.Alarm); !bytes.Equal(got, v) {
			t.Errorf("value %x became %x", v, got)
		}
	})
}
