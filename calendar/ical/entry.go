package ical

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// maxRules bounds the RRULEs of one component; one is usual.
const maxRules = 32

// entry is one VEVENT, VTODO or VJOURNAL, read for recurrence.
type entry struct {
	comp   *Component
	start  Time // DTSTART; for a VTODO without one, DUE
	loc    *time.Location
	at     int64 // the instant of start
	dated  bool  // has a start
	due    bool  // a VTODO with DUE
	begins bool  // has a DTSTART of its own
	long   bool  // has an end or a duration of its own
	length length

	rules, exrules []*Rule
	rdates         []rdate
	exdates        map[int64]bool // by key
	exdays         map[int64]bool // by day: an EXDATE that is a DATE where start is none

	rid    Time // RECURRENCE-ID; zero for a master
	key    int64
	future bool  // RANGE=THISANDFUTURE
	delta  int64 // by how much its occurrences are moved, on the clock
}

// length is how long instances are.
type length struct {
	days int64 // nominal: on the clock
	secs int64 // exact
}

// rdate is one more occurrence; length is set for a PERIOD.
type rdate struct {
	wall   int64
	at     int64
	length *length
}

func (o *Object) newEntry(comp *Component) *entry {
	e := &entry{comp: comp, loc: o.zone}
	if t, ok := o.time(comp, "RECURRENCE-ID"); ok {
		e.rid = t
		e.future = strings.EqualFold(comp.Property("RECURRENCE-ID").Param("RANGE"), "THISANDFUTURE")
	}
	e.start, e.begins = o.time(comp, "DTSTART")
	e.dated = e.begins
	end := "DTEND"
	if comp.name == "VTODO" {
		end = "DUE"
		due, ok := o.time(comp, "DUE")
		e.due = ok
		if ok && !e.begins {
			e.start, e.dated = due, true
		}
	}
	if !e.dated {
		return e
	}
	e.loc = o.location(e.start)
	e.at = instantAt(e.start.wall(), e.loc)
	if e.start.Date {
		e.length = length{days: 1}
		if comp.name == "VTODO" {
			e.length.days = 0
		}
	}
	if e.begins {
		e.readLength(o, end)
	}
	if !e.rid.IsZero() {
		return e
	}
	e.rules = o.rules(e, "RRULE")
	e.exrules = o.rules(e, "EXRULE")
	o.readDates(e)
	return e
}

// readLength reads DTEND or DUE, else DURATION. The end gives an exact length, a
// duration a nominal one (RFC 5545, section 3.8.5.3). An end before the start
// counts for nothing.
func (e *entry) readLength(o *Object, end string) {
	if t, ok := o.time(e.comp, end); ok && end != "" {
		at := instantAt(t.wall(), o.location(t))
		e.long = true
		switch {
		case e.start.Date && t.Date:
			if d := dayOf(t.wall()) - dayOf(e.start.wall()); d > 0 {
				e.length = length{days: d}
			} else if d < 0 {
				o.warn(e.comp, end+" lies before the start")
			}
		case at >= e.at:
			e.length = length{secs: at - e.at}
		default:
			e.length = length{}
			o.warn(e.comp, end+" lies before the start")
		}
		return
	}
	if e.comp.Property("DURATION") == nil || e.comp.name == "VJOURNAL" {
		return
	}
	d, err := e.comp.Duration("DURATION")
	switch {
	case err != nil:
		o.warn(e.comp, err.Error())
	case d.seconds() < 0:
		o.warn(e.comp, "DURATION is negative")
	default:
		e.long = true
		e.length = length{days: int64(d.Days), secs: int64(d.Time / time.Second)}
	}
}

// max is the longest that an instance can be, changes of clocks included.
func (l length) max() int64 { return l.days*daySeconds + l.secs + slack }

// time reads a property; a value that can't be read is a warning.
func (o *Object) time(comp *Component, name string) (Time, bool) {
	t, err := comp.Time(name)
	if err != nil && !errors.Is(err, ErrNoProperty) {
		o.warn(comp, name+": "+err.Error())
	}
	return t, err == nil
}

// location is the zone in which a time is read.
func (o *Object) location(t Time) *time.Location {
	switch {
	case t.UTC:
		return time.UTC
	case t.TZID == "" || t.Date:
		return o.zone
	}
	if loc, ok := o.zones[t.TZID]; ok {
		return loc
	}
	loc, err := o.cal.Zone(t.TZID)
	if err != nil {
		loc = o.zone
	}
	if !o.sealed {
		o.zones[t.TZID] = loc
		if err != nil {
			o.warnings = append(o.warnings, fmt.Sprintf("unknown time zone %q, read in the default zone", t.TZID))
		}
	}
	return loc
}

func (o *Object) rules(e *entry, name string) []*Rule {
	var out []*Rule
	for _, p := range e.comp.Properties(name) {
		r, err := p.Rule()
		switch {
		case err != nil:
			o.warn(e.comp, err.Error())
		case e.start.Date && r.Freq > Daily:
			o.warn(e.comp, "a rule by the hour or less for an event of whole days")
		case len(out) == maxRules:
			o.warn(e.comp, "too many rules")
			return out
		default:
			out = append(out, r)
		}
	}
	return out
}

// readDates reads RDATE and EXDATE.
func (o *Object) readDates(e *entry) {
	for _, p := range e.comp.Properties("RDATE") {
		if strings.Contains(p.Value(), "/") {
			periods, err := p.Periods()
			o.warnErr(e.comp, "RDATE", err)
			for _, per := range periods {
				l := length{days: int64(per.Duration.Days), secs: int64(per.Duration.Time / time.Second)}
				if l.days < 0 || l.secs < 0 {
					l = length{}
				}
				r := o.rdate(e, per.Start)
				if !per.HasDuration {
					l = length{secs: max(0, instantAt(per.End.wall(), o.location(per.End))-r.at)}
				}
				r.length = &l
				e.rdates = append(e.rdates, r)
			}
			continue
		}
		times, err := p.Times()
		o.warnErr(e.comp, "RDATE", err)
		for _, t := range times {
			e.rdates = append(e.rdates, o.rdate(e, t))
		}
	}
	for _, p := range e.comp.Properties("EXDATE") {
		times, err := p.Times()
		o.warnErr(e.comp, "EXDATE", err)
		for _, t := range times {
			if t.Date && !e.start.Date {
				set(&e.exdays, dayOf(t.wall()))
			} else {
				set(&e.exdates, o.keyOf(e, t))
			}
		}
	}
	// Of two at one time, a period says more.
	slices.SortStableFunc(e.rdates, func(a, b rdate) int {
		switch {
		case a.at != b.at:
			return int(max(-1, min(1, a.at-b.at)))
		case a.length != nil && b.length == nil:
			return -1
		case a.length == nil && b.length != nil:
			return 1
		}
		return 0
	})
}

func set(m *map[int64]bool, k int64) {
	if *m == nil {
		*m = make(map[int64]bool)
	}
	(*m)[k] = true
}

// rdate reads a time in the terms of a master: as a date if that is one, on the
// clock of its zone else.
func (o *Object) rdate(e *entry, t Time) rdate {
	key := o.keyOf(e, t)
	if e.start.Date {
		return rdate{wall: key, at: instantAt(key, e.loc)}
	}
	return rdate{wall: wallAt(key, e.loc), at: key}
}

// keyOf is what identifies an occurrence of a master: its date, as the wall of its
// midnight, if the master is of whole days, else its instant. A date given for an
// occurrence that has a time means the one at the master's time of day.
func (o *Object) keyOf(m *entry, t Time) int64 {
	switch {
	case m.start.Date && (t.Date || !t.UTC || timeOfDay(t.wall()) == 0):
		return dayOf(t.wall()) * daySeconds
	case m.start.Date:
		return dayOf(wallAt(t.wall(), o.zone)) * daySeconds
	case t.Date:
		return instantAt(t.wall()+timeOfDay(m.start.wall()), m.loc)
	case t.Floating():
		return instantAt(t.wall(), m.loc) // its TZID was forgotten
	}
	return instantAt(t.wall(), o.location(t))
}

func (o *Object) warnErr(comp *Component, name string, err error) {
	if err != nil {
		o.warn(comp, name+": "+err.Error())
	}
}

func (o *Object) warn(comp *Component, text string) {
	if len(o.warnings) < maxWarnings {
		o.warnings = append(o.warnings, comp.name+" "+comp.Text("UID")+": "+text)
	}
}
