package ical

import (
	"fmt"
	"strings"
	"time"
)

// Time is a DATE or DATE-TIME as it is written (RFC 5545, sections 3.3.4 and
// 3.3.5): what the clock shows, and how its zone is named. It becomes an instant
// only together with a zone: see [Calendar.Instant]. A Time that is neither Date
// nor UTC and has no TZID is floating. Times are comparable.
type Time struct {
	Wall time.Time // what the clock shows, always in time.UTC; midnight for a DATE
	Date bool      // a DATE
	UTC  bool      // ends in Z
	TZID string    // the TZID parameter
}

// DateOf returns a DATE.
func DateOf(year int, month time.Month, day int) Time {
	return Time{Wall: time.Date(year, month, day, 0, 0, 0, 0, time.UTC), Date: true}
}

// UTCTime returns an instant as a DATE-TIME in UTC.
func UTCTime(t time.Time) Time {
	return Time{Wall: t.UTC().Truncate(time.Second), UTC: true}
}

// LocalTime returns an instant as a DATE-TIME in a zone under the given TZID;
// with an empty TZID it is floating.
func LocalTime(t time.Time, loc *time.Location, tzid string) Time {
	return Time{Wall: wallTime(wallAt(t.Unix(), loc)), TZID: tzid}
}

// ParseTime reads a DATE or DATE-TIME. The TZID is that of the parameter; it
// does not apply to dates and to times in UTC, and is dropped there.
func ParseTime(value, tzid string) (Time, error) {
	v := strings.TrimSpace(value)
	t := Time{TZID: tzid}
	switch {
	case len(v) == 8:
		t.Date, t.TZID = true, ""
		v += "T000000"
	case len(v) == 16 && (v[15] == 'Z' || v[15] == 'z'):
		t.UTC, t.TZID = true, ""
		v = v[:15]
	}
	var n [6]int
	ok := len(v) == 15 && (v[8] == 'T' || v[8] == 't')
	for i, part := range [6][2]int{{0, 4}, {4, 6}, {6, 8}, {9, 11}, {11, 13}, {13, 15}} {
		for j := part[0]; ok && j < part[1]; j++ {
			ok = '0' <= v[j] && v[j] <= '9'
			n[i] = n[i]*10 + int(v[j]-'0')
		}
	}
	if !ok {
		return Time{}, badValue("date or date-time", value, "")
	}
	if n[5] == 60 {
		n[5] = 59 // a leap second: no clock here shows it
	}
	if n[0] < 1 || n[1] < 1 || n[1] > 12 || n[2] < 1 || n[2] > daysIn(n[0], n[1]) || n[3] > 23 || n[4] > 59 || n[5] > 59 {
		return Time{}, badValue("date or date-time", value, "out of range")
	}
	t.Wall = wallTime(dayNumber(n[0], n[1], n[2])*daySeconds + int64(n[3]*3600+n[4]*60+n[5]))
	return t, nil
}

// String writes the value without its parameters: "20260310",
// "20260310T090000Z". The year is four digits.
func (t Time) String() string {
	y, m, d := t.Wall.Date()
	s := fmt.Sprintf("%04d%02d%02d", y, m, d)
	if t.Date {
		return s
	}
	s += fmt.Sprintf("T%02d%02d%02d", t.Wall.Hour(), t.Wall.Minute(), t.Wall.Second())
	if t.UTC {
		s += "Z"
	}
	return s
}

// IsZero reports whether t is the zero Time.
func (t Time) IsZero() bool { return t == Time{} }

// Floating reports whether t is a DATE-TIME without a zone.
func (t Time) Floating() bool { return !t.Date && !t.UTC && t.TZID == "" }

// In returns the instant of t if its clock stands in loc. A time that the clocks
// skip is read with the offset before the gap, one that they show twice is the
// first (RFC 5545, section 3.3.5). For UTC, loc does not matter.
func (t Time) In(loc *time.Location) time.Time {
	if t.UTC {
		return t.Wall.In(loc)
	}
	return time.Unix(instantAt(t.wall(), loc), 0).In(loc)
}

func (t Time) wall() int64 { return wallOf(t.Wall) }

func (t Time) day() Time {
	return Time{Wall: wallTime(dayOf(t.wall()) * daySeconds), Date: true}
}

// at returns t with another reading of the clock.
func (t Time) at(wall int64) Time {
	t.Wall = wallTime(wall)
	return t
}

// Period is a PERIOD value (RFC 5545, section 3.3.9): End is set, or Duration if
// HasDuration.
type Period struct {
	Start, End  Time
	Duration    Duration
	HasDuration bool
}

// Periods returns the value as a list of PERIOD values. Those that can be read
// are returned even if there is an error.
func (p *Property) Periods() ([]Period, error) {
	var out []Period
	var first error
	for _, v := range SplitList(p.Value()) {
		per, err := parsePeriod(v, p.Param("TZID"))
		if err == nil {
			out = append(out, per)
		} else if first == nil {
			first = err
		}
	}
	return out, first
}

func parsePeriod(v, tzid string) (Period, error) {
	from, to, ok := strings.Cut(v, "/")
	if !ok {
		return Period{}, badValue("period", v, "")
	}
	start, err := ParseTime(from, tzid)
	if err != nil {
		return Period{}, err
	}
	if end, err := ParseTime(to, tzid); err == nil {
		return Period{Start: start, End: end}, nil
	}
	d, err := ParseDuration(to)
	if err != nil {
		return Period{}, badValue("period", v, "")
	}
	return Period{Start: start, Duration: d, HasDuration: true}, nil
}
