package calendar

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/perdure/perdure/calendar/ical"
)

// setRecurrence writes a rule, or takes one away. was is what the caller may have read: what
// of it is sent back stays as the event's move has left it. What was said about occurrences
// that the event does not have any more goes, and is returned as recurrence ids: an override
// that stays would be shown as one more occurrence. An exception that the caller adds has to be one of an occurrence.
// Local times among the exceptions are read in the zone read.
func setRecurrence(cal *ical.Calendar, comp *ical.Component, r, was *Recurrence, zone, read *time.Location) (dropped []string, err error) {
	if r == nil {
		for _, name := range []string{"RRULE", "RDATE", "EXRULE", "EXDATE"} {
			comp.Remove(name)
		}
		return pruneOverrides(cal, comp, zone)
	}
	start, err := comp.Time("DTSTART")
	if err != nil {
		return nil, invalid("recurrenceRule", "this event has no start that can be read; send start as well.")
	}
	if !r.sameRule(was) {
		rule, err := r.rule(start, zone)
		if err != nil {
			return nil, err
		}
		if err := endsAfter(cal, rule, start, zone); err != nil {
			return nil, err
		}
		if old := comp.Property("RRULE"); old != nil {
			if before, err := old.Rule(); err == nil {
				rule.WeekStart = before.WeekStart
				if err := r.keepRest(rule, before, was); err != nil {
					return nil, err
				}
			}
		}
		comp.SetValue("RRULE", rule.String())
		comp.Remove("EXRULE")
	}
	if r.ExDates != nil && (was == nil || !slices.Equal(r.ExDates, was.ExDates)) {
		comp.Remove("EXDATE")
		had := make(map[ical.Time]bool)
		if was != nil {
			for _, s := range was.ExDates {
				if t, err := exDate(s, start, read, cal); err == nil {
					had[t] = true
				}
			}
		}
		makes := maker(cal, comp, zone)
		for _, s := range r.ExDates {
			t, err := exDate(s, start, read, cal)
			if err != nil {
				return nil, err
			}
			if ok, err := makes(t); !ok && err == nil && !had[t] {
				return nil, invalid("recurrenceRule.exDates", "%q is no occurrence of the series; send dates or times of its occurrences, such as %s, or leave it out.",
					clip(s, 60), recurrenceID(cal, start, zone))
			}
			p := ical.NewProperty("EXDATE", "")
			p.SetTime(t)
			comp.Add(p)
		}
	}
	return pruneOverrides(cal, comp, zone)
}

// sameRule says whether two rules are the same apart from their exceptions. A caller
// that sends back what it read does not mean to change what it could not see.
func (r *Recurrence) sameRule(read *Recurrence) bool {
	return read != nil && r.Frequency == read.Frequency && max(r.Interval, 1) == read.Interval &&
		r.Until == read.Until && r.Count == read.Count && r.sameDays(read)
}

func (r *Recurrence) sameDays(read *Recurrence) bool {
	return slices.Equal(r.ByDay, read.ByDay) && slices.Equal(r.ByMonthDay, read.ByMonthDay) &&
		slices.Equal(r.ByMonth, read.ByMonth) && slices.Equal(r.BySetPos, read.BySetPos)
}

// keepRest keeps the parts of a rule that a Recurrence has no words for: the times of the
// day, and the days of the year as long as no other days are asked for.
func (r *Recurrence) keepRest(rule, was *ical.Rule, read *Recurrence) error {
	if !slices.Contains(frequencies, read.Frequency) {
		return nil // every few hours, say: a rule by the day has nothing in common with it
	}
	rule.BySecond, rule.ByMinute, rule.ByHour = was.BySecond, was.ByMinute, was.ByHour
	if len(was.ByYearDay)+len(was.ByWeekNo) == 0 {
		return nil
	}
	if r.Frequency != read.Frequency || !r.sameDays(read) {
		return invalid("recurrenceRule", "the series goes by days or weeks of the year, which can't be combined with other days; send null first to take the rule away, then the new one.")
	}
	rule.ByYearDay, rule.ByWeekNo = was.ByYearDay, was.ByWeekNo
	return nil
}

// rule is the iCalendar rule for an event that starts at start.
func (r *Recurrence) rule(start ical.Time, zone *time.Location) (*ical.Rule, error) {
	parts := []string{"FREQ=" + strings.ToUpper(r.Frequency)}
	if len(r.ByDay) > 0 {
		parts = append(parts, "BYDAY="+strings.Join(r.ByDay, ","))
	}
	rule, err := ical.ParseRule(strings.Join(parts, ";"))
	if err != nil {
		return nil, invalid("recurrenceRule", `it can't be read; send for example {"frequency":"weekly","byDay":["MO"]}.`)
	}
	rule.Interval, rule.Count = r.Interval, r.Count
	rule.ByMonthDay, rule.ByMonth, rule.BySetPos = r.ByMonthDay, r.ByMonth, r.BySetPos
	if r.Until != "" {
		if rule.Until, err = until(r.Until, start, zone); err != nil {
			return nil, err
		}
	}
	return rule, nil
}

// endsAfter refuses a rule that is over before the event begins: nobody would see that event again.
func endsAfter(cal *ical.Calendar, rule *ical.Rule, start ical.Time, zone *time.Location) error {
	if rule.Until.IsZero() {
		return nil
	}
	last, _ := cal.Instant(rule.Until, zone)
	first, _ := cal.Instant(start, zone)
	if last.Before(first) {
		return invalid("recurrenceRule.until", "%s is before the start %s; send a later date, or start as well.",
			Moment{Time: last, AllDay: start.Date}, Moment{Time: first, AllDay: start.Date})
	}
	return nil
}

// until writes the end of a rule as RFC 5545 wants it: a date if the start is one, in
// local time if the start is floating, else in UTC. A date includes that day.
func until(s string, start ical.Time, zone *time.Location) (ical.Time, error) {
	w, err := parseWritten("recurrenceRule.until", s)
	if err != nil {
		return ical.Time{}, err
	}
	if start.Date {
		day := w.wall
		if w.instant {
			day = w.wall.In(zone)
		}
		return ical.DateOf(day.Date()), nil
	}
	loc := zone
	if start.UTC {
		loc = time.UTC
	} else if z := namedZone(start.TZID); z != nil {
		loc = z
	}
	at := w.in(loc)
	if w.date {
		at = written{wall: w.wall.AddDate(0, 0, 1)}.in(loc).Add(-time.Second)
	}
	if start.Floating() {
		return ical.LocalTime(at, loc, ""), nil
	}
	return ical.UTCTime(at), nil
}

// exDate writes an exception like the start that it excludes: a date alone means the
// occurrence of that day, a local time is one in zone.
func exDate(s string, start ical.Time, zone *time.Location, cal *ical.Calendar) (ical.Time, error) {
	w, err := parseWritten("recurrenceRule.exDates", s)
	if err != nil {
		return ical.Time{}, err
	}
	loc := zone
	if start.UTC {
		loc = time.UTC
	} else if z, err := cal.Zone(start.TZID); err == nil {
		loc = z
	}
	switch {
	case start.Date && w.instant:
		return ical.DateOf(w.wall.In(zone).Date()), nil
	case start.Date:
		return ical.DateOf(w.wall.Date()), nil
	case w.date:
		y, m, d := w.wall.Date()
		t := start
		t.Wall = time.Date(y, m, d, start.Wall.Hour(), start.Wall.Minute(), start.Wall.Second(), 0, time.UTC)
		return t, nil
	case start.UTC:
		return ical.UTCTime(w.in(zone)), nil
	}
	return ical.LocalTime(w.in(zone), loc, start.TZID), nil
}

// pruneOverrides removes the overrides of comp's series, and the exceptions, for
// occurrences that its rule does not make. It returns the ids of the overrides.
func pruneOverrides(cal *ical.Calendar, comp *ical.Component, zone *time.Location) (dropped []string, err error) {
	uid := comp.Text("UID")
	has := maker(cal, comp, zone)
	for _, c := range overrides(cal, uid) {
		id, err := c.Time("RECURRENCE-ID")
		if err != nil {
			continue
		}
		ok, err := has(id)
		if err != nil {
			return nil, tooMuch(err)
		}
		if !ok {
			cal.RemoveComponent(c)
			dropped = append(dropped, recurrenceID(cal, id, zone))
		}
	}
	for _, p := range comp.Properties("EXDATE") {
		times, err := p.Times()
		if err != nil {
			continue // what can't be read is kept
		}
		kept := slices.DeleteFunc(slices.Clone(times), func(t ical.Time) bool { ok, err := has(t); return !ok && err == nil })
		writeTimes(comp, p, times, kept)
	}
	return dropped, nil
}

// maker returns a function that says whether comp's series, its exceptions aside, has an
// occurrence with this original start.
func maker(cal *ical.Calendar, comp *ical.Component, zone *time.Location) func(ical.Time) (bool, error) {
	uid := comp.Text("UID")
	set := ical.NewObject(alone(cal, comp, "EXDATE"), zone)
	recurs := comp.Property("RRULE") != nil || comp.Property("RDATE") != nil
	return func(t ical.Time) (bool, error) {
		if !recurs {
			return false, nil
		}
		_, err := set.Occurrence(uid, t)
		if errors.Is(err, ical.ErrNoOccurrence) {
			return false, nil
		}
		return true, err
	}
}

// alone is a calendar with one component of another, less some properties, and the zones
// in which it is read.
func alone(cal *ical.Calendar, comp *ical.Component, without ...string) *ical.Calendar {
	out := ical.New("")
	for _, tz := range cal.Components("VTIMEZONE") {
		out.AddComponent(tz.Clone())
	}
	comp = comp.Clone()
	for _, name := range without {
		comp.Remove(name)
	}
	out.AddComponent(comp)
	return out
}

// writeTimes replaces the values of an EXDATE or RDATE line; without any the line goes.
func writeTimes(comp *ical.Component, p *ical.Property, was, now []ical.Time) {
	if slices.Equal(was, now) {
		return
	}
	if len(now) == 0 {
		comp.RemoveProperty(p)
		return
	}
	p.SetTime(now[0])
	values := make([]string, len(now))
	for i, t := range now {
		values[i] = t.String()
	}
	p.SetValue(strings.Join(values, ","))
}

// overrides are the components of a series that stand for one occurrence each.
func overrides(cal *ical.Calendar, uid string) []*ical.Component {
	var out []*ical.Component
	for _, c := range cal.Components("VEVENT") {
		if c.Property("RECURRENCE-ID") != nil && c.Text("UID") == uid {
			out = append(out, c)
		}
	}
	return out
}

func tooMuch(err error) error {
	return &Problem{Kind: ErrInvalid, Field: "recurrenceRule", Err: err,
		Text: fmt.Sprintf("this rule has too many occurrences to work with; send one with fewer, for example %s.", `{"frequency":"daily"}`)}
}
