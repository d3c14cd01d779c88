package ical

import "time"

// clock turns walls into instants in one zone. It remembers the stretch between
// two changes of the clocks in which the last answer lay: recurrences come in
// order. Not for several goroutines.
type clock struct {
	loc        *time.Location
	off        int64
	start, end int64 // the stretch, as instants
	known      bool
}

const noEnd = int64(1) << 60

// slack is more than any offset from UTC, and more than any jump of a clock:
// Samoa's, over the date line, was 24 hours.
const slack = 26 * 3600

func (c *clock) instant(wall int64) int64 {
	if c.known {
		if u := wall - c.off; u > c.start+slack && u < c.end-slack {
			return u
		}
	}
	u := instantAt(wall, c.loc)
	c.look(u)
	return u
}

func (c *clock) wall(instant int64) int64 {
	if !c.known || instant < c.start || instant >= c.end {
		c.look(instant)
	}
	return instant + c.off
}

func (c *clock) look(instant int64) {
	t := time.Unix(instant, 0).In(c.loc)
	start, end := t.ZoneBounds()
	c.start, c.end, c.known = -noEnd, noEnd, true
	if !start.IsZero() {
		c.start = start.Unix()
	}
	if !end.IsZero() {
		c.end = end.Unix()
	}
	_, off := t.Zone()
	c.off = int64(off)
}

func offsetAt(instant int64, loc *time.Location) int64 {
	_, off := time.Unix(instant, 0).In(loc).Zone()
	return int64(off)
}

func wallAt(instant int64, loc *time.Location) int64 { return instant + offsetAt(instant, loc) }

// instantAt finds the instant at which the clocks of loc show a wall. time.Date
// does not promise which one that is around a change; RFC 5545 (3.3.5) does: the
// first of two, and the offset before the gap where there is none.
func instantAt(wall int64, loc *time.Location) int64 {
	before, after := offsetAt(wall-slack, loc), offsetAt(wall+slack, loc)
	a, b := wall-before, wall-after
	okA, okB := offsetAt(a, loc) == before, offsetAt(b, loc) == after
	switch {
	case okA && okB:
		return min(a, b)
	case okA:
		return a
	case okB:
		return b
	}
	// A gap, or a third offset between two changes that are close together.
	if mid := offsetAt(a, loc); offsetAt(wall-mid, loc) == mid {
		return wall - mid
	}
	return a
}
