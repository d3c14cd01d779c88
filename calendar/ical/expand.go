package ical

import (
	"cmp"
	"slices"
	"time"
)

// Instance is one occurrence of an event, a to-do or a journal entry.
type Instance struct {
	Start, End time.Time // instants, in the zone in which the event was written
	AllDay     bool      // Start and End are midnights; End is the day after the last
	Local      Time      // the start as it would be written
	// RecurrenceID identifies the occurrence: its original start, as it would be
	// written. Zero if the object does not recur.
	RecurrenceID Time
	Override     bool       // Component has a RECURRENCE-ID
	Component    *Component // the master or the override that says all the rest
}

// ExpandOptions bound an expansion. Zero fields stand for the defaults.
type ExpandOptions struct {
	MaxInstances int // default 10,000
	MaxSteps     int // periods and occurrences looked at; default 500,000
}

const defaultSteps = 500_000

func tooManySteps(limit int) *LimitError {
	return &LimitError{What: "number of recurrence steps", Limit: limit, Size: limit + 1}
}

func (o *ExpandOptions) withDefaults() ExpandOptions {
	var d ExpandOptions
	if o != nil {
		d = *o
	}
	if d.MaxInstances <= 0 {
		d.MaxInstances = 10_000
	}
	if d.MaxSteps <= 0 {
		d.MaxSteps = defaultSteps
	}
	return d
}

// Expansion is the answer of [Object.Expand].
type Expansion struct {
	Instances []Instance // by start, then by end
	// Truncated says which limit cut the list short, nil if it is whole. After too
	// many instances these are the first ones; after too many steps any may lack.
	Truncated *LimitError
}

// Expand returns the instances that overlap [from, to): those that last no time
// if they begin in it. A zero from or to is no bound. STATUS and everything else
// that an event says does not matter. The work is bounded by the options, not by
// how long ago a rule began.
func (o *Object) Expand(from, to time.Time, opts *ExpandOptions) Expansion {
	opt := opts.withDefaults()
	w := newWalk(from, to, opt.MaxSteps)
	w.perRule = opt.MaxInstances + 1
	var all []found
	o.visit("", w, func(f *found) bool {
		if !f.overlaps(w.from, w.to) {
			return false
		}
		all = append(all, *f)
		return true
	})
	slices.SortStableFunc(all, func(a, b found) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.end, b.end))
	})
	var res Expansion
	if len(all) > opt.MaxInstances {
		res.Truncated = &LimitError{What: "number of instances", Limit: opt.MaxInstances, Size: opt.MaxInstances + 1}
		all = all[:opt.MaxInstances]
	}
	if w.budget < 0 {
		res.Truncated = tooManySteps(opt.MaxSteps)
	}
	res.Instances = make([]Instance, len(all))
	for i := range all {
		res.Instances[i] = all[i].instance()
	}
	return res
}

// Expand is NewObject and [Object.Expand] in one.
func Expand(cal *Calendar, from, to time.Time, zone *time.Location, opts *ExpandOptions) Expansion {
	return NewObject(cal, zone).Expand(from, to, opts)
}

// Occurrence returns the instance with a recurrence id, wherever it was moved to.
// The id may be written in any form that means the same time. An empty UID stands
// for any. The error is ErrNoOccurrence or a *LimitError.
func (o *Object) Occurrence(uid string, id Time) (Instance, error) {
	f, err := o.find(uid, id, false)
	if err != nil {
		return Instance{}, err
	}
	return f.instance(), nil
}

func (o *Object) find(uid string, id Time, recurring bool) (found, error) {
	budget := defaultSteps
	for _, s := range o.series {
		if uid != "" && s.uid != uid {
			continue
		}
		f, ok := o.occurrence(s, id, &budget)
		if budget < 0 {
			return found{}, tooManySteps(defaultSteps)
		}
		if ok && (f.recurring || !recurring) {
			return f, nil
		}
	}
	return found{}, ErrNoOccurrence
}

func (o *Object) occurrence(s *series, id Time, budget *int) (f found, ok bool) {
	for _, m := range s.masters {
		key := o.keyOf(m, id)
		if e := s.byKey[key]; e != nil {
			return s.overridden(e), true
		}
		wall := key
		if !m.start.Date {
			wall = wallAt(key, m.loc)
		}
		g := generator{m: m, lo: wall - slack, hi: wall + slack, budget: budget, clock: clock{loc: m.loc}}
		g.run(func(wall, at int64, l *length) bool {
			if m.keyAt(wall, at) != key {
				return true
			}
			f, ok = s.place(m, wall, at, l, &g.clock), true
			return false
		})
		if ok {
			return f, true
		}
	}
	if len(s.masters) == 0 {
		for _, e := range s.overrides {
			if e.key == o.keyOf(&entry{start: e.rid, loc: o.location(e.rid)}, id) {
				return s.overridden(e), true
			}
		}
	}
	return f, false
}

// found is an instance before it is dressed up.
type found struct {
	s         *series
	m, e      *entry // the master, nil for an override; where the properties come from
	at, end   int64
	wall      int64 // of the start, in the master's zone
	ridWall   int64
	recurring bool
}

func (f *found) overlaps(from, to int64) bool {
	if f.at == f.end {
		return from <= f.at && f.at < to
	}
	return f.at < to && f.end > from
}

func (f *found) instance() Instance {
	in := Instance{Component: f.e.comp, AllDay: f.e.start.Date, Override: !f.e.rid.IsZero(), Local: f.e.start}
	loc := f.e.loc
	if f.m != nil {
		loc = f.m.loc
		if f.e == f.m || f.e.start.Date == f.m.start.Date {
			in.Local = f.m.start.at(f.wall)
		} else {
			in.Local = Time{Wall: wallTime(f.wall), Date: f.e.start.Date}
			if !in.Local.Date {
				in.Local.TZID, in.Local.UTC = f.e.start.TZID, f.e.start.UTC
			}
		}
		if f.recurring {
			in.RecurrenceID = f.m.start.at(f.ridWall)
		}
	} else {
		in.RecurrenceID = f.e.rid
	}
	in.Start, in.End = time.Unix(f.at, 0).In(loc), time.Unix(f.end, 0).In(loc)
	return in
}

// walk is one pass over an object.
type walk struct {
	from, to int64 // instants; noEnd and -noEnd for none
	budget   int
	perRule  int // how many accepted instances of one rule are enough; 0: all
	stop     bool
}

func newWalk(from, to time.Time, steps int) *walk {
	w := &walk{from: -noEnd, to: noEnd, budget: steps}
	if !from.IsZero() {
		w.from = ceilUnix(from)
	}
	if !to.IsZero() {
		w.to = ceilUnix(to)
	}
	return w
}

// ceilUnix keeps comparisons right for bounds with fractions: all times in
// calendars are whole seconds.
func ceilUnix(t time.Time) int64 {
	if t.Nanosecond() > 0 {
		return t.Unix() + 1
	}
	return t.Unix()
}

// visit calls fn for each instance of a kind ("" for all) that touches the walk's
// window, in no order. fn says whether the instance was accepted, and may stop the
// walk.
func (o *Object) visit(kind string, w *walk, fn func(*found) bool) {
	for _, s := range o.series {
		if kind != "" && s.kind != kind {
			continue
		}
		for _, m := range s.masters {
			if w.stop {
				return
			}
			s.visit(m, w, fn)
		}
		for _, e := range s.overrides {
			if w.stop {
				return
			}
			if e.future && len(s.masters) > 0 && s.masters[0].exdates[e.key] {
				continue // it still governs what comes later
			}
			if f := s.overridden(e); f.at <= w.to && f.end >= w.from {
				fn(&f)
			}
		}
	}
}

func (s *series) visit(m *entry, w *walk, fn func(*found) bool) {
	g := generator{m: m, lo: minWall, hi: maxWall, budget: &w.budget, clock: clock{loc: m.loc}}
	early, late := s.reach(m)
	if w.from > -noEnd {
		g.lo = max(g.lo, w.from-late)
	}
	if w.to < noEnd {
		g.hi = min(g.hi, w.to-early)
	}
	left := w.perRule
	g.run(func(wall, at int64, l *length) bool {
		if s.byKey != nil && s.byKey[m.keyAt(wall, at)] != nil {
			return true
		}
		f := s.place(m, wall, at, l, &g.clock)
		if f.at <= w.to && f.end >= w.from && fn(&f) {
			if left--; left == 0 {
				g.ruleDone = true
			}
		}
		return !w.stop
	})
}

// keyAt is keyOf for an occurrence of m's own.
func (m *entry) keyAt(wall, at int64) int64 {
	if m.start.Date {
		return wall
	}
	return at
}

// overridden is the instance of an override.
func (s *series) overridden(e *entry) found {
	c := clock{loc: e.loc}
	return found{s: s, e: e, at: e.at, end: e.length.end(e.start.wall(), e.at, &c), wall: e.start.wall(), recurring: true}
}

// place turns an occurrence into an instance: moved and lengthened as the override
// says that governs it.
func (s *series) place(m *entry, wall, at int64, l *length, c *clock) found {
	f := found{s: s, m: m, e: m, at: at, wall: wall, ridWall: wall, recurring: s.recurs(m)}
	if len(s.ranges) > 0 {
		f.e = s.source(m, m.keyAt(wall, at))
		if f.e != m {
			l = nil
		}
		if f.e.delta != 0 || f.e.start.Date != m.start.Date {
			f.wall += f.e.delta
			if f.e.start.Date {
				f.wall = dayOf(f.wall) * daySeconds
			}
			f.at = c.instant(f.wall)
		}
	}
	if l == nil {
		l = &f.e.length
	}
	f.end = l.end(f.wall, f.at, c)
	return f
}

func (l *length) end(wall, at int64, c *clock) int64 {
	if l.days != 0 {
		at = c.instant(wall + l.days*daySeconds)
	}
	return at + l.secs
}

// generator yields the occurrences of a master as its rules and dates have them,
// without those that EXDATE and EXRULE exclude: first the RDATEs, then DTSTART and
// the rules. No occurrence comes twice.
type generator struct {
	m        *entry
	lo, hi   int64 // walls, of occurrences
	budget   *int
	clock    clock
	seen     map[int64]bool
	excluded map[int64]bool // by EXRULE
	ruleDone bool           // the present rule need not go on
}

func (g *generator) run(fn func(wall, at int64, l *length) bool) {
	m := g.m
	fine := false
	for _, r := range m.rules {
		// Over a change of clocks, two times of one day may be one instant.
		fine = fine || r.Freq > Daily || len(r.ByHour) > 1 || len(r.ByMinute) > 1
	}
	if fine || len(m.rules) > 1 || len(m.rdates) > 0 {
		g.seen = make(map[int64]bool)
	}
	for _, r := range m.exrules {
		g.each(r, true, func(wall, at int64) bool {
			set(&g.excluded, at)
			return true
		})
	}
	for i := range m.rdates {
		r := &m.rdates[i]
		if r.wall >= g.lo && r.wall <= g.hi && !g.emit(r.wall, r.at, r.length, fn) {
			return
		}
	}
	if len(m.rules) == 0 {
		if wall := m.start.wall(); wall >= g.lo && wall <= g.hi {
			g.emit(wall, m.at, nil, fn)
		}
		return
	}
	for _, r := range m.rules {
		more := true
		g.ruleDone = false
		g.each(r, false, func(wall, at int64) bool {
			more = g.emit(wall, at, nil, fn)
			return more && !g.ruleDone
		})
		if !more {
			return
		}
	}
}

// emit hands on an occurrence unless it is excluded or was there before.
func (g *generator) emit(wall, at int64, l *length, fn func(wall, at int64, l *length) bool) bool {
	m := g.m
	if g.seen != nil {
		if g.seen[at] {
			return true
		}
		g.seen[at] = true
	}
	if m.exdates != nil && m.exdates[m.keyAt(wall, at)] ||
		m.exdays != nil && m.exdays[dayOf(wall)] ||
		g.excluded != nil && g.excluded[at] {
		return true
	}
	return fn(wall, at, l)
}

// each yields the occurrences of one rule between lo and hi.
func (g *generator) each(r *Rule, exclusion bool, fn func(wall, at int64) bool) {
	m := g.m
	hi, until := g.hi, noEnd
	if u := r.Until; !u.IsZero() {
		if u.UTC && !m.start.Date {
			// Compared as instants, which differs where a wall comes twice.
			until = u.wall()
			hi = min(hi, g.clock.wall(until)+slack)
		} else {
			hi = min(hi, untilWall(u))
		}
	}
	it := newIterator(r, m.start.wall(), m.start.Date, g.budget)
	if exclusion {
		it.noStart = true
		it.after = it.start - 1
	} else if hi < it.start && g.hi >= it.start {
		hi = it.start // DTSTART is an instance even if UNTIL lies before it
	}
	it.seek(g.lo)
	for {
		wall, ok := it.next(hi)
		if !ok {
			return
		}
		if wall < g.lo {
			continue
		}
		at := g.clock.instant(wall)
		if at > until && wall != it.start {
			continue
		}
		if !fn(wall, at) {
			return
		}
	}
}
