package calendar

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/perdure/perdure/calendar/ical"
)

// object is a calendar object of a copy: raw, with what a list has to know to pass over
// it without parsing. It is never changed.
type object struct {
	Href string `cbor:"1,keyasint"`
	ETag string `cbor:"2,keyasint,omitempty"`
	Data []byte `cbor:"3,keyasint,omitempty"`

	// First and Last are the bounds of its events in Unix seconds, for times without a
	// zone in UTC; those of an object without events are empty.
	First int64 `cbor:"4,keyasint,omitempty"`
	Last  int64 `cbor:"5,keyasint,omitempty"`
	Event bool  `cbor:"6,keyasint,omitempty"` // it holds a VEVENT that can be read

	Gone bool `cbor:"7,keyasint,omitempty"` // in a copy's blobs: the object was removed

	id string
}

// zoneSlack is by how much times without a zone may lie elsewhere than in UTC.
const zoneSlack = 26 * 3600

const (
	never  = math.MinInt64
	always = math.MaxInt64
)

func newObjectCopy(href, etag string, data []byte) *object {
	o := &object{Href: href, ETag: etag, Data: data, First: always, Last: never, id: eventID(href)}
	cal, err := ical.Parse(data, nil)
	if err != nil || len(cal.Components("VEVENT")) == 0 {
		return o
	}
	extent, ok := ical.NewObject(cal, nil).Extent()
	if !ok {
		return o
	}
	o.Event, o.First, o.Last = true, never, always
	if !extent.First.IsZero() {
		o.First = extent.First.Unix()
	}
	if !extent.Last.IsZero() {
		o.Last = extent.Last.Unix()
	}
	return o
}

// touches says whether an event of the object may lie in [from, to).
func (o *object) touches(from, to time.Time) bool {
	if !o.Event {
		return false
	}
	return (o.First == never || o.First-zoneSlack < to.Unix()) && (o.Last == always || o.Last+zoneSlack >= from.Unix())
}

func (o *object) size() int64 { return int64(len(o.Data)+len(o.Href)*2+len(o.ETag)) + 200 }

// parse reads the object anew, as what is returned may be changed.
func (o *object) parse() (*ical.Calendar, error) {
	cal, err := ical.Parse(o.Data, nil)
	if err != nil {
		return nil, fmt.Errorf("parse %s: %w", o.id, err)
	}
	return cal, nil
}

// encodeObjects writes objects one after the other, as a copy's content has them.
func encodeObjects(list []*object) ([]byte, error) {
	var b bytes.Buffer
	enc := cbor.NewEncoder(&b)
	for _, o := range list {
		if err := enc.Encode(o); err != nil {
			return nil, fmt.Errorf("encode copy: %w", err)
		}
	}
	return b.Bytes(), nil
}

// decodeObjects reads a copy's content; what comes later replaces what came before.
// dead is how many bytes were replaced.
func decodeObjects(content io.Reader) (objects map[string]*object, dead int64, err error) {
	objects = make(map[string]*object)
	dec := cbor.NewDecoder(content)
	for {
		o := new(object)
		err := dec.Decode(o)
		if errors.Is(err, io.EOF) {
			return objects, dead, nil
		}
		if err != nil {
			return nil, 0, fmt.Errorf("decode copy: %w", err)
		}
		if old := objects[o.Href]; old != nil {
			dead += old.size()
		}
		if o.Gone {
			delete(objects, o.Href)
			continue
		}
		o.id = eventID(o.Href)
		objects[o.Href] = o
	}
}
