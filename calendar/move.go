package calendar

import (
	"time"

	"github.com/perdure/perdure/calendar/ical"
)

// move is where the move of a series takes what was said about its occurrences. The same
// number of days for all of them would be wrong where the rule counts in months: a series
// on the second Tuesday that goes to Wednesdays moves by eight days in one month and by one
// in the next, and one from the 28th to the 5th by as many as the month has. An exception
// or an override that is beside its occurrence brings that back as it was before.
//
// So each occurrence goes to the one that takes its place: in the months of a monthly or
// yearly series that of the same month, counted from the start; else that of the same
// number.
type move struct {
	s       *schedule
	was, is ical.Time
	to      map[int64]ical.Time // by the instant of an occurrence before; zero: nothing takes its place
}

// newMove compares a series as it was before with the schedule's component. Beyond the
// occurrences that are expanded, and for times that are none, the distance of the starts counts.
func (s *schedule) newMove(before *ical.Component, was, is ical.Time) *move {
	m := &move{s: s, was: was, is: is}
	p := before.Property("RRULE")
	if p == nil || before.Property("EXDATE") == nil && len(overrides(s.cal, before.Text("UID"))) == 0 {
		return m
	}
	rule, err := p.Rule()
	if err != nil {
		return m
	}
	months := rule.Freq <= ical.Monthly
	for _, d := range rule.ByDay {
		months = months && d.N != 0 // several a month, from the start on
	}
	old, now := s.places(before, months), s.places(s.comp, months)
	m.to = make(map[int64]ical.Time, len(old.at))
	for at, place := range old.at {
		m.to[at] = now.in[place]
	}
	return m
}

// of is where the move takes the time of an occurrence; not ok if nothing is there.
func (m *move) of(t ical.Time) (to ical.Time, ok bool) {
	if t.Date == m.was.Date {
		at, _ := m.s.cal.Instant(t, m.s.zone)
		if to, had := m.to[at.Unix()]; had {
			return to, !to.IsZero()
		}
	}
	return m.s.moved(t, m.was, m.is), true
}

// place is which occurrence of a series one is.
type place struct{ month, number int }

// places are the occurrences of a series by their instants, and the times by their place.
type places struct {
	at map[int64]place
	in map[place]ical.Time
}

// places numbers the occurrences that the rule of a master makes, in each month anew or
// altogether.
func (s *schedule) places(master *ical.Component, months bool) places {
	p := places{make(map[int64]place), make(map[place]ical.Time)}
	bare := ical.NewObject(alone(s.cal, master, "EXDATE", "RDATE", "EXRULE"), s.zone)
	monthOf := func(t ical.Time) int { return t.Wall.Year()*12 + int(t.Wall.Month()) }
	first, last := 0, place{}
	for i, in := range bare.Expand(time.Time{}, time.Time{}, nil).Instances {
		at := place{number: i}
		if months {
			if i == 0 {
				first = monthOf(in.RecurrenceID)
			}
			at = place{month: monthOf(in.RecurrenceID) - first}
			if i > 0 && at.month == last.month {
				at.number = last.number + 1
			}
		}
		last = at
		p.at[in.Start.Unix()], p.in[at] = at, in.RecurrenceID
	}
	return p
}
