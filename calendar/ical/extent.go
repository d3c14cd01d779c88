package ical

import "time"

// Extent is the time that an object may touch, for an index.
type Extent struct {
	First time.Time // no instance begins before; zero: unbounded
	Last  time.Time // no instance ends after; zero: unbounded, or too much work to tell
}

// Extent returns bounds of all instances, alarms apart. They may be wider than
// need be (an excluded first instance, the time up to UNTIL) and are never
// narrower. ok is false if there is no instance that a time range could match.
// A to-do without dates has no bounds.
//
// The bounds of an object with floating times or dates are for the zone given to
// NewObject; where it is asked about in others, widen them by 26 hours.
func (o *Object) Extent() (e Extent, ok bool) {
	b := bounds{first: noEnd, last: -noEnd}
	budget := defaultSteps
	for _, s := range o.series {
		for _, m := range s.masters {
			s.extend(&b, m, &budget)
		}
		for _, e := range s.overrides {
			f := s.overridden(e)
			b.add(f.at, f.end)
		}
		if len(s.undated) > 0 && s.kind == "VTODO" {
			b.add(-noEnd, noEnd)
		}
	}
	for _, comp := range o.others {
		for _, p := range o.busy(comp) {
			b.add(p[0], p[1])
		}
	}
	if b.first > b.last {
		return Extent{}, false
	}
	if b.first > -noEnd {
		e.First = time.Unix(b.first, 0).UTC()
	}
	if b.last < noEnd {
		e.Last = time.Unix(b.last, 0).UTC()
	}
	return e, true
}

type bounds struct{ first, last int64 }

func (b *bounds) add(first, last int64) {
	b.first, b.last = min(b.first, first), max(b.last, last)
}

// extend adds what a master and its THISANDFUTURE overrides make.
func (s *series) extend(b *bounds, m *entry, budget *int) {
	c := clock{loc: m.loc}
	add := func(wall, at int64, l *length) {
		if l == nil {
			l = &m.length
		}
		b.add(at, l.end(wall, at, &c))
		for _, e := range s.ranges {
			moved := wall + e.delta
			if e.start.Date {
				moved = dayOf(moved) * daySeconds
			}
			at := c.instant(moved)
			b.add(at, e.length.end(moved, at, &c))
		}
	}
	add(m.start.wall(), m.at, nil)
	for _, r := range m.rdates {
		add(r.wall, r.at, r.length)
	}
	for _, r := range m.rules {
		switch {
		case r.Count > 0:
			wall, ok := lastOf(r, m, budget)
			if !ok {
				b.last = noEnd
				continue
			}
			add(wall, c.instant(wall), nil)
		case !r.Until.IsZero() && r.Until.UTC && !m.start.Date:
			if at := r.Until.wall(); at > m.at {
				add(c.wall(at), at, nil)
			}
		case !r.Until.IsZero():
			if wall := untilWall(r.Until); wall > m.start.wall() {
				add(wall, c.instant(wall), nil)
			}
		default:
			b.last = noEnd
		}
	}
}

// lastOf finds the last occurrence of a rule with COUNT.
func lastOf(r *Rule, m *entry, budget *int) (last int64, ok bool) {
	it := newIterator(r, m.start.wall(), m.start.Date, budget)
	last = it.start
	if it.onePerPeriod() {
		begins, ok := it.begins(int64(r.Count) - 1)
		if !ok {
			return maxWall, true
		}
		return begins + it.start - it.base, true
	}
	for wall, ok := it.next(maxWall); ok; wall, ok = it.next(maxWall) {
		last = wall
	}
	return last, !it.exhausted()
}
