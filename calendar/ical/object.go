package ical

import (
	"cmp"
	"slices"
	"time"
)

// Object is a calendar read for recurrence: its VEVENTs, VTODOs and VJOURNALs,
// sorted into masters and the overrides that belong to them by UID. CalDAV calls
// a calendar with one UID a calendar object resource; more than one are fine here.
//
// An Object does not follow later changes of the calendar. It may be used by
// several goroutines at once.
//
// What it does where RFC 5545 leaves a choice or files break it:
//
//   - DTSTART is always an instance and counts as the first, unless excluded.
//   - A time of day that the clocks skip is read with the offset before the gap,
//     one that they show twice is the first: an instance is never lost to a change
//     of clocks. Two instances that meet that way are one.
//   - An UNTIL that is a date includes that day. A rule that can't be read counts
//     for nothing.
//   - DTEND gives instances the same exact length, DURATION the same nominal one.
//     Without either, a date lasts a day and a time no time. An end before the
//     start counts for nothing; a DTEND goes before a DURATION.
//   - An EXDATE that is a date excludes what begins on that day. No EXDATE hides an
//     override, which says more, unless its range is THISANDFUTURE.
//   - An override without a master, or for an occurrence that the master does not
//     have, is an instance.
//   - Two masters with one UID both count.
type Object struct {
	cal      *Calendar
	zone     *time.Location
	zones    map[string]*time.Location // by TZID
	sealed   bool                      // read to the end: nothing in here changes any more
	series   []*series
	others   []*Component // VFREEBUSY
	warnings []string
}

// series is what has one UID.
type series struct {
	kind, uid string
	masters   []*entry
	overrides []*entry
	byKey     map[int64]*entry // the overrides
	ranges    []*entry         // those with THISANDFUTURE, by key
	undated   []*entry         // no time at all
}

// NewObject reads a calendar. Floating times and dates are read in the zone given;
// nil means UTC. What can't be read is left out and told by Warnings.
func NewObject(cal *Calendar, zone *time.Location) *Object {
	if zone == nil {
		zone = time.UTC
	}
	o := &Object{cal: cal, zone: zone, zones: make(map[string]*time.Location)}
	index := make(map[[2]string]*series)
	for _, comp := range cal.Components("") {
		switch comp.name {
		case "VEVENT", "VTODO", "VJOURNAL":
		case "VFREEBUSY":
			o.others = append(o.others, comp)
			continue
		default:
			continue
		}
		id := [2]string{comp.name, comp.Text("UID")}
		s := index[id]
		if s == nil {
			s = &series{kind: id[0], uid: id[1]}
			o.series = append(o.series, s)
			if id[1] != "" { // those without UID have nothing to do with each other
				index[id] = s
			}
		}
		e := o.newEntry(comp)
		switch {
		case !e.dated:
			s.undated = append(s.undated, e)
		case e.rid.IsZero():
			s.masters = append(s.masters, e)
		default:
			s.overrides = append(s.overrides, e)
		}
	}
	for _, s := range o.series {
		o.link(s)
	}
	o.sealed = true
	return o
}

// link finds out for which occurrence each override stands.
func (o *Object) link(s *series) {
	if len(s.overrides) == 0 {
		return
	}
	s.byKey = make(map[int64]*entry, len(s.overrides))
	for _, e := range s.overrides {
		m := e
		if len(s.masters) > 0 {
			m = s.masters[0]
		} else {
			// An orphan: its own RECURRENCE-ID says what kind of time is meant.
			m = &entry{start: e.rid, loc: o.location(e.rid)}
		}
		e.key = o.keyOf(m, e.rid)
		if old := s.byKey[e.key]; old == nil || sequence(old) <= sequence(e) {
			s.byKey[e.key] = e
		}
		if e.future {
			was, is := e.key, e.start.wall()
			if !m.start.Date {
				was = wallAt(e.key, m.loc)
			}
			if !e.start.Date {
				is = wallAt(e.at, m.loc)
			}
			e.delta = is - was
			s.ranges = append(s.ranges, e)
		}
	}
	// Of two overrides for one occurrence the one with the higher SEQUENCE counts.
	s.overrides = slices.DeleteFunc(s.overrides, func(e *entry) bool { return s.byKey[e.key] != e })
	s.ranges = slices.DeleteFunc(s.ranges, func(e *entry) bool { return s.byKey[e.key] != e })
	slices.SortFunc(s.ranges, func(a, b *entry) int { return cmp.Compare(a.key, b.key) })
}

func sequence(e *entry) int {
	n := 0
	for _, c := range e.comp.Text("SEQUENCE") {
		if c < '0' || c > '9' || n > 1<<30 {
			break
		}
		n = n*10 + int(c-'0')
	}
	return n
}

// Warnings tells what was left out: values that can't be read, unknown zones.
func (o *Object) Warnings() []string { return o.warnings }

// recurs says whether instances of a master have a recurrence id.
func (s *series) recurs(m *entry) bool {
	return len(m.rules)+len(m.rdates)+len(s.overrides) > 0
}

// source is the entry that an occurrence takes its properties from: the last
// THISANDFUTURE override at or before it, else the master.
func (s *series) source(m *entry, key int64) *entry {
	i, exact := slices.BinarySearchFunc(s.ranges, key, func(e *entry, k int64) int { return cmp.Compare(e.key, k) })
	if exact {
		return s.ranges[i]
	}
	if i == 0 {
		return m
	}
	return s.ranges[i-1]
}

// reach is by how much, on the clock, an instance may begin earlier and end later
// than its occurrence does in the master's rule.
func (s *series) reach(m *entry) (early, late int64) {
	late = m.length.max()
	for _, e := range s.ranges {
		early = min(early, e.delta)
		late = max(late, e.delta+e.length.max())
	}
	return early - slack, late + slack
}
