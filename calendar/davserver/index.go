package davserver

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/perdure/perdure/calendar/ical"
)

// The index of first and last instants. An object that takes time from first to
// last has one entry, and a range [start, end) concerns it if first < end and
// last >= start. One order can't serve both conditions, so the entries are sorted by
// length into a few levels; within a level an object that begins before
// start-width is over before start, and a query reads only what begins between
// start-width and end. The last level is for what has no bound; it is read up to end.
//
// The index is a superset: whether an object really has an instance in a range is
// read off the object. Dates and floating times depend on the calendar's zone, so
// everything goes in with a margin on either side: the index need not change when
// the zone does.

// span is the time that an object takes, in Unix seconds, both ends inclusive.
type span struct {
	First, Last int64
}

const (
	always  = math.MinInt64
	forever = math.MaxInt64
)

// zoneMargin is more than any zone's clocks differ from UTC, in seconds.
const zoneMargin = 26 * 60 * 60

const day = 24 * 60 * 60

// levels are the widths of the index's levels, in seconds.
var levels = [...]int64{4 * day, 64 * day, 1024 * day, forever}

func (s span) level() int {
	for i, width := range levels[:len(levels)-1] {
		if s.First != always && s.Last != forever && s.Last-s.First <= width {
			return i
		}
	}
	return len(levels) - 1
}

// key is where an object stands in the index.
func (s span) key(name string) string { return levelKey(s.level(), s.First) + name }

func levelKey(level int, first int64) string {
	b := make([]byte, 0, 10)
	b = append(b, indexPrefix[0], byte('0'+level))
	return string(binary.BigEndian.AppendUint64(b, uint64(first)^1<<63)) // in the order of signed numbers
}

// levelKeyLen is the length of what stands before the name.
const levelKeyLen = 1 + 1 + 8

// from returns where a query that begins at start begins to read a level.
func from(level int, start int64) int64 {
	if width := levels[level]; width != forever && start >= always+width {
		return start - width
	}
	return always
}

// seconds returns an instant as the index has it; the zero Time is the end of time given.
func seconds(t time.Time, zero int64) int64 {
	if t.IsZero() {
		return zero
	}
	return t.Unix()
}

// spanOf returns where an object goes in the index. An object that no range can
// match goes where every query finds it: that is rare, and the object decides.
func spanOf(o *ical.Object) span {
	e, ok := o.Extent()
	if !ok {
		return span{always, forever}
	}
	s := span{seconds(e.First, always), seconds(e.Last, forever)}
	if s.First != always {
		s.First -= zoneMargin
	}
	if s.Last != forever {
		s.Last += zoneMargin
	}
	return s
}
