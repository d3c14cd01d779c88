package calendar

import (
	"fmt"
	"slices"
	"time"

	"github.com/perdure/perdure/calendar/ical"
)

// schedule is the time part of a change to one component.
type schedule struct {
	cal    *ical.Calendar
	comp   *ical.Component
	change *EventChange
	zone   *time.Location // the user's

	warnings []string // what was understood otherwise than it was written
}

// form is how a start or end is written.
type form struct {
	loc  *time.Location
	tzid string // "" with utc unset is floating
	utc  bool
}

// write writes an instant. Of two hours that a zone's clocks show alike it has words for
// the first alone (RFC 5545, section 3.3.5); the second is written in UTC.
func (f form) write(at time.Time) ical.Time {
	if f.utc {
		return ical.UTCTime(at)
	}
	t := ical.LocalTime(at, f.loc, f.tzid)
	if f.tzid != "" && !t.In(f.loc).Equal(at) {
		return ical.UTCTime(at)
	}
	return t
}

// formIn writes times in a zone.
func formIn(loc *time.Location) form {
	if loc == time.UTC || loc.String() == "UTC" {
		return form{loc: time.UTC, utc: true}
	}
	return form{loc: loc, tzid: loc.String()}
}

// apply moves the component and returns its old and its new start.
//
//  1. A start alone keeps the length, on the calendar for days, exactly for times.
//  2. A date makes an all-day event, a time one that is not; isAllDay settles it.
//  3. An event stays in the zone in which it was written, unless timeZone names another.
//     Beside an end alone timeZone says only how that is read: the start stays, and with
//     it the occurrences of a series.
func (s *schedule) apply() (was, is ical.Time, err error) {
	c := s.change
	was, readErr := s.comp.Time("DTSTART")
	if readErr != nil && !c.Start.Set {
		return was, is, invalid("start", "it is missing; %s.", dateHelp)
	}
	read := s.zone
	if c.TimeZone.Value != "" {
		if read, err = loadZone("timeZone", c.TimeZone.Value); err != nil {
			return was, is, err
		}
	}
	var start, end written
	if c.Start.Set {
		if start, err = parseWritten("start", c.Start.Value); err != nil {
			return was, is, err
		}
	}
	if c.End.Set && c.End.Value != "" {
		if end, err = parseWritten("end", c.End.Value); err != nil {
			return was, is, err
		}
	}
	s.warnOfGaps("start", c.Start.Value, start, read)
	s.warnOfGaps("end", c.End.Value, end, read)
	if s.allDay(was, start) {
		is, err = s.applyDays(was, start, end, read)
	} else {
		is, err = s.applyTimes(was, start, end, read)
	}
	return was, is, err
}

// warnOfGaps tells of a time that no clock shows, as they are put forward then. It is read
// with the offset of before (RFC 5545, section 3.3.5).
func (s *schedule) warnOfGaps(field, sent string, w written, read *time.Location) {
	if w.date || w.instant || w.wall.IsZero() {
		return
	}
	const minutes = "2006-01-02T15:04"
	if at := w.in(read).In(read); at.Format(minutes) != w.wall.Format(minutes) {
		s.warnings = append(s.warnings, fmt.Sprintf("%s: clocks in %s never show %s, as they are put forward then; it was read as %s", field, read, clip(sent, 60), at.Format(minutes)))
	}
}

func (s *schedule) allDay(was ical.Time, start written) bool {
	switch {
	case s.change.IsAllDay.Set:
		return s.change.IsAllDay.Value
	case s.change.Start.Set:
		return start.date
	}
	return was.Date
}

// days is how many days an all-day event lasts, or would if it were one.
func (s *schedule) days(was ical.Time) int {
	if was.IsZero() {
		return 1
	}
	last := ical.DateOf(s.wallEnd(was).Date()).Wall
	first := ical.DateOf(was.Wall.Date()).Wall
	n := int(last.Sub(first).Hours()) / 24
	if end := s.wallEnd(was); !was.Date && !end.Equal(last) {
		n++ // it reaches into that day
	}
	return max(n, 1)
}

// wallEnd is the end as a clock shows it where the start's does.
func (s *schedule) wallEnd(was ical.Time) time.Time {
	if end, err := s.comp.Time("DTEND"); err == nil {
		if end.Date == was.Date && end.UTC == was.UTC && end.TZID == was.TZID {
			return end.Wall
		}
		at, _ := s.cal.Instant(end, s.zone)
		loc, _ := s.location(was)
		return ical.LocalTime(at, loc, "").Wall
	}
	if d, err := s.comp.Duration("DURATION"); err == nil {
		return was.Wall.AddDate(0, 0, d.Days).Add(d.Time)
	}
	if was.Date {
		return was.Wall.AddDate(0, 0, 1)
	}
	return was.Wall
}

// location is the zone that a time is in.
func (s *schedule) location(t ical.Time) (*time.Location, error) {
	switch {
	case t.UTC:
		return time.UTC, nil
	case t.TZID == "":
		return s.zone, nil
	}
	loc, err := s.cal.Zone(t.TZID)
	if err != nil {
		loc = s.zone
	}
	return loc, err
}

func (s *schedule) applyDays(was ical.Time, start, end written, read *time.Location) (ical.Time, error) {
	day := func(w written) time.Time {
		if w.instant {
			return w.wall.In(read)
		}
		return w.wall
	}
	if c := s.change; c.End.Set && c.End.Value != "" && !end.date && !c.IsAllDay.Set {
		return was, invalid("end", "%s has a time of day, but the event is all-day; send its last day, for example %s, or a start with a time of day.",
			clip(c.End.Value, 60), day(end).Format(time.DateOnly))
	}
	n := s.days(was)
	is := ical.DateOf(was.Wall.Date())
	if s.change.Start.Set {
		is = ical.DateOf(day(start).Date())
	}
	switch {
	case s.change.End.Set && s.change.End.Value == "":
		n = 1
	case s.change.End.Set: // inclusive
		last := ical.DateOf(day(end).Date())
		if last.Wall.Before(is.Wall) {
			return is, invalid("end", "%s is before the start %s; send the last day of the event, which may be the day of the start.",
				last.Wall.Format(time.DateOnly), is.Wall.Format(time.DateOnly))
		}
		n = int(last.Wall.Sub(is.Wall).Hours())/24 + 1
	}
	s.comp.SetTime("DTSTART", is)
	if s.comp.Property("DURATION") != nil && was.Date && n == s.days(was) {
		return is, nil
	}
	s.comp.Remove("DURATION")
	s.comp.SetTime("DTEND", ical.DateOf(is.Wall.AddDate(0, 0, n).Date()))
	return is, nil
}

func (s *schedule) applyTimes(was ical.Time, start, end written, read *time.Location) (is ical.Time, err error) {
	c := s.change
	switch {
	case c.Start.Set && start.date:
		return is, invalid("start", "%s has no time of day, which an event needs that is not all-day; send for example %sT09:00:00, or isAllDay true.", c.Start.Value, start.wall.Format(time.DateOnly))
	case c.End.Set && end.date:
		return is, invalid("end", "%s has no time of day, but the start has one; send for example %sT10:00:00.", c.End.Value, end.wall.Format(time.DateOnly))
	case was.Date && !c.Start.Set:
		return is, invalid("start", "an event that was all-day needs a time of day; send start, for example %sT09:00:00.", was.Wall.Format(time.DateOnly))
	}
	f := s.form(was, read, start)
	var from time.Time
	length := time.Hour
	if !was.IsZero() && !was.Date {
		from, _ = s.cal.Instant(was, s.zone)
		length = s.length(was, from)
	}
	is = was
	if c.Start.Set {
		from = start.in(read)
		is = f.write(from)
	} else if s.rezones() {
		is = f.write(from)
	}
	if is.UTC && !f.utc && s.recurs() {
		return is, invalid("start", "%s is in the hour that %s has twice, and a series there begins in the first of them; send another start.", Moment{Time: from}, f.tzid)
	}
	to := from.Add(length)
	if c.End.Set && c.End.Value != "" {
		if to = end.in(read); to.Before(from) {
			return is, invalid("end", "%s is before the start %s; send a later time, or start as well.", Moment{Time: to}, Moment{Time: from})
		}
	}
	s.comp.SetTime("DTSTART", is)
	switch {
	case c.End.Set && c.End.Value == "":
		s.comp.Remove("DTEND")
		s.comp.Remove("DURATION")
	case !c.End.Set && s.comp.Property("DURATION") != nil && !was.Date:
	case !c.End.Set && s.comp.Property("DTEND") == nil && !was.IsZero() && !was.Date: // it has no length
	case to.Equal(from): // a DTEND has to be later (RFC 5545, section 3.8.2.2), and Cyrus sees to it
		s.comp.Remove("DTEND")
		s.comp.Remove("DURATION")
	default:
		s.comp.Remove("DURATION")
		s.comp.SetTime("DTEND", f.write(to))
	}
	return is, nil
}

// length is how long a timed event lasts, exactly.
func (s *schedule) length(was ical.Time, from time.Time) time.Duration {
	if end, err := s.comp.Time("DTEND"); err == nil {
		to, _ := s.cal.Instant(end, s.zone)
		return max(to.Sub(from), 0)
	}
	loc, _ := s.location(was)
	return max(written{wall: s.wallEnd(was)}.in(loc).Sub(from), 0)
}

// recurs says whether the event is a series afterwards.
func (s *schedule) recurs() bool {
	if r := s.change.Recurrence; r.Set {
		return r.Value != nil
	}
	return s.comp.Property("RRULE") != nil
}

// rezones says whether the event moves to another zone.
func (s *schedule) rezones() bool {
	c := s.change
	return c.TimeZone.Value != "" && (c.Start.Set || !c.End.Set)
}

// form is how the new times are written.
func (s *schedule) form(was ical.Time, read *time.Location, start written) form {
	loc, err := s.location(was)
	switch {
	case s.rezones():
		return formIn(read)
	case was.IsZero() || was.Date || err != nil:
		return formIn(read)
	case was.UTC && s.change.Start.Set && !start.instant:
		return formIn(read)
	case was.UTC:
		return form{loc: time.UTC, utc: true}
	}
	return form{loc: loc, tzid: was.TZID}
}

// shift moves a series along with its start: the exceptions, the further dates, the
// overrides, and its rule, of which the days follow if they are to.
func (s *schedule) shift(was, is ical.Time, days bool) error {
	if was == is || was.IsZero() {
		return nil
	}
	before := s.comp.Clone()
	before.SetTime("DTSTART", was)
	if err := s.shiftRule(was, is, days); err != nil {
		return err
	}
	m := s.newMove(before, was, is)
	for _, name := range []string{"EXDATE", "RDATE"} {
		for _, p := range s.comp.Properties(name) {
			times, err := p.Times()
			if err != nil {
				continue // a PERIOD, or broken: kept as it is
			}
			var now []ical.Time
			for _, t := range times {
				if name == "RDATE" {
					now = append(now, s.moved(t, was, is))
				} else if to, ok := m.of(t); ok {
					now = append(now, to)
				}
			}
			writeTimes(s.comp, p, times, now)
		}
	}
	for _, c := range overrides(s.cal, s.comp.Text("UID")) {
		if err := s.shiftOverride(c, m); err != nil {
			return err
		}
	}
	return nil
}

// moved is where the move from was to is takes another time of the series.
func (s *schedule) moved(t, was, is ical.Time) ical.Time {
	wall := t.Wall
	if loc, _ := s.location(was); !t.Date && (t.TZID != was.TZID || t.UTC != was.UTC) {
		at, _ := s.cal.Instant(t, s.zone)
		wall = ical.LocalTime(at, loc, "").Wall
	}
	out := is
	switch {
	case is.Date || was.Date || t.Date:
		days := ical.DateOf(is.Wall.Date()).Wall.Sub(ical.DateOf(was.Wall.Date()).Wall)
		out.Wall = ical.DateOf(wall.Date()).Wall.Add(days)
		if !is.Date && !t.Date || !is.Date && was.Date {
			out.Wall = out.Wall.Add(is.Wall.Sub(ical.DateOf(is.Wall.Date()).Wall))
		} else {
			out = ical.DateOf(out.Wall.Date())
		}
	default:
		out.Wall = wall.Add(is.Wall.Sub(was.Wall))
	}
	return out
}

// shiftOverride moves an override with its series. One that had a time of its own keeps it.
func (s *schedule) shiftOverride(c *ical.Component, m *move) error {
	was, is := m.was, m.is
	id, err := c.Time("RECURRENCE-ID")
	if err != nil {
		return nil
	}
	to, ok := m.of(id)
	if !ok {
		return invalid("start", "the occurrence of %s was changed by itself, and the series has none in its place with the new start; send recurrenceRule as well.",
			recurrenceID(s.cal, id, s.zone))
	}
	start, err := c.Time("DTSTART")
	idAt, _ := s.cal.Instant(id, s.zone)
	startAt, _ := s.cal.Instant(start, s.zone)
	c.SetTime("RECURRENCE-ID", to)
	if err != nil || !idAt.Equal(startAt) || start.Date != id.Date {
		return nil
	}
	end, endErr := c.Time("DTEND")
	c.SetTime("DTSTART", to)
	if endErr == nil && was.Date == is.Date {
		now := s.moved(end, was, is)
		now.Wall = now.Wall.Add(to.Wall.Sub(s.moved(id, was, is).Wall))
		c.SetTime("DTEND", now)
	} else if endErr == nil {
		c.Remove("DTEND")
		if d, err := s.comp.Duration("DURATION"); err == nil {
			c.SetDuration("DURATION", d)
		} else if end, err := s.comp.Time("DTEND"); err == nil {
			now, _ := c.Time("DTSTART")
			now.Wall = now.Wall.Add(end.Wall.Sub(is.Wall))
			c.SetTime("DTEND", now)
		}
	}
	return nil
}

// shiftRule follows a move to another day. Only what can't be meant otherwise is
// changed: else the caller has to send the rule.
func (s *schedule) shiftRule(was, is ical.Time, follow bool) error {
	p := s.comp.Property("RRULE")
	if p == nil {
		return nil
	}
	rule, err := p.Rule()
	if err != nil {
		return nil
	}
	old := *rule
	if !rule.Until.IsZero() {
		switch u := rule.Until; {
		case is.Date:
			rule.Until = ical.DateOf(s.moved(u, was, is).Wall.Date())
		case is.Floating():
			rule.Until = s.moved(u, was, is)
		default:
			to := s.moved(u, was, is)
			if u.Date { // all of that day
				to.Date = false
				to.Wall = ical.DateOf(to.Wall.Date()).Wall.Add(24*time.Hour - time.Second)
			}
			at, _ := s.cal.Instant(to, s.zone)
			rule.Until = ical.UTCTime(at)
		}
	}
	days := int(ical.DateOf(is.Wall.Date()).Wall.Sub(ical.DateOf(was.Wall.Date()).Wall).Hours()) / 24
	if follow && days != 0 && !followDay(rule, was.Wall, is.Wall, days) {
		return invalid("start", "the series' rule names days that do not fit the new start; send recurrenceRule as well.")
	}
	if old.String() != rule.String() {
		p.SetValue(rule.String())
	}
	return nil
}

func followDay(r *ical.Rule, was, is time.Time, days int) bool {
	if len(r.ByYearDay)+len(r.ByWeekNo)+len(r.BySetPos) > 0 {
		return false
	}
	if len(r.ByMonth) > 0 && was.Month() != is.Month() {
		if !slices.Equal(r.ByMonth, []int{int(was.Month())}) {
			return false
		}
		r.ByMonth = []int{int(is.Month())}
	}
	switch {
	case len(r.ByMonthDay) > 0 && len(r.ByDay) > 0:
		return false
	case len(r.ByMonthDay) > 0:
		if !slices.Equal(r.ByMonthDay, []int{was.Day()}) {
			return false
		}
		r.ByMonthDay = []int{is.Day()}
	case len(r.ByDay) == 0:
	case r.Freq == ical.Weekly:
		by := slices.Clone(r.ByDay)
		for i := range by {
			by[i].Day = time.Weekday(((int(by[i].Day)+days)%7 + 7) % 7)
		}
		r.ByDay = by
	case len(r.ByDay) == 1 && r.ByDay[0].N != 0 && r.ByDay[0].Day == was.Weekday() && r.Freq == ical.Monthly:
		n := (is.Day()-1)/7 + 1
		if last := is.AddDate(0, 0, 7).Month() != is.Month(); n == 5 || r.ByDay[0].N == -1 && last {
			n = -1
		}
		r.ByDay = []ical.WeekdayNum{{N: n, Day: is.Weekday()}}
	default:
		// Every weekday of a month or of five: right if the new day is one of them too.
		return slices.Contains(r.ByDay, ical.WeekdayNum{Day: is.Weekday()})
	}
	return true
}
