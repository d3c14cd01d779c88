package ical

import (
	"slices"
	"time"
)

// NewTimezone writes a zone as a VTIMEZONE under the given TZID, right from the
// given time on. Where the zone's changes follow a yearly rule today, it has that
// rule and no end; changes before are listed one by one. A zone without such a
// rule (Morocco, whose clocks follow Ramadan) has every change known up to 2100.
// A zero from stands for 1970.
func NewTimezone(tzid string, loc *time.Location, from time.Time) *Component {
	start := from.Unix()
	if from.IsZero() {
		start = 0
	}
	v := NewComponent("VTIMEZONE")
	v.Add(NewProperty("TZID", dropControls(tzid)))
	if isZoneName(loc.String()) && loc.String() != tzid {
		v.Add(NewProperty("X-LIC-LOCATION", loc.String()))
	}
	all := transitions(loc, start)
	rules, n := yearlyTail(all)
	for _, part := range listParts(all[:n]) {
		v.AddComponent(part)
	}
	for _, r := range rules {
		part := r.first.part()
		part.Add(NewProperty("RRULE", r.rule.String()))
		v.AddComponent(part)
	}
	return v
}

// EnsureTimezones adds a VTIMEZONE for each TZID that the calendar uses and has
// none for. It removes none and changes none. The TZIDs that name no known zone
// are returned.
func (c *Calendar) EnsureTimezones() (unknown []string) {
	have := make(map[string]bool)
	at := 0
	for i, n := range c.nodes {
		if n.comp == nil {
			continue
		}
		if n.comp.name == "VTIMEZONE" {
			have[n.comp.Text("TZID")] = true
			at = i + 1
		} else if at == 0 {
			at = i
		}
	}
	if at == 0 {
		at = len(c.nodes)
	}
	for _, u := range c.usedZones() {
		if have[u.tzid] {
			continue
		}
		loc, err := c.Zone(u.tzid)
		if err != nil {
			unknown = append(unknown, u.tzid)
			continue
		}
		// Half a year earlier, for alarms and for readers that look back.
		c.insert(at, NewTimezone(u.tzid, loc, u.from.AddDate(0, -6, 0)))
		at++
	}
	return unknown
}

type usedZone struct {
	tzid string
	from time.Time
}

// usedZones returns the TZIDs that appear outside VTIMEZONEs, in order of
// appearance, each with the earliest time that has it.
func (c *Calendar) usedZones() []usedZone {
	var used []usedZone
	c.walk(func(comp *Component) {
		for _, n := range comp.nodes {
			if n.prop == nil || n.prop.name == "" {
				continue
			}
			tzid := n.prop.Param("TZID")
			if tzid == "" {
				continue
			}
			i := slices.IndexFunc(used, func(u usedZone) bool { return u.tzid == tzid })
			if i < 0 {
				i = len(used)
				used = append(used, usedZone{tzid: tzid, from: wallTime(zoneUntil)})
			}
			times, _ := n.prop.Times()
			for _, t := range times {
				if t.Wall.Before(used[i].from) {
					used[i].from = t.Wall
				}
			}
		}
	})
	return used
}

// transitions returns the changes of a zone from the last one before start up to
// 2100. The first is where the state at start began, or stands for it.
func transitions(loc *time.Location, start int64) []transition {
	t := time.Unix(max(start, zoneFrom), 0).In(loc)
	begin, end := t.ZoneBounds()
	name, off := t.Zone()
	first := transition{from: off, to: off, name: name, dst: t.IsDST()}
	if begin.IsZero() || begin.Unix() < zoneFrom {
		first.at = min(start, 0) - int64(off)
		if start < 0 {
			first.at = dayNumber(t.Year(), 1, 1)*daySeconds - int64(off)
		}
	} else {
		first.at = begin.Unix()
		first.from = int(offsetAt(first.at-1, loc))
	}
	all := []transition{first}
	for !end.IsZero() && end.Unix() < zoneUntil {
		// ZoneBounds also ends a stretch where nothing changes: at the turn of a
		// year that comes by rule and, in leap years, a day early and for good.
		if !end.After(t) {
			end = t.AddDate(0, 0, 1)
		}
		t = end.In(loc)
		last := all[len(all)-1]
		name, off = t.Zone()
		if off != last.to || name != last.name || t.IsDST() != last.dst {
			all = append(all, transition{at: t.Unix(), from: last.to, to: off, name: name, dst: t.IsDST()})
		}
		_, end = t.ZoneBounds()
	}
	return all
}

func (t transition) wall() int64 { return t.at + int64(t.from) }

// part is a STANDARD or DAYLIGHT that begins with this transition.
func (t transition) part() *Component {
	p := NewComponent("STANDARD")
	if t.dst {
		p = NewComponent("DAYLIGHT")
	}
	p.Add(NewProperty("DTSTART", Time{Wall: wallTime(t.wall())}.String()))
	p.Add(NewProperty("TZOFFSETFROM", formatOffset(t.from)))
	p.Add(NewProperty("TZOFFSETTO", formatOffset(t.to)))
	p.Add(NewProperty("TZNAME", EscapeText(t.name)))
	return p
}

// listParts writes transitions out one by one, those of a kind in one part.
func listParts(all []transition) []*Component {
	var kinds []transition
	var parts []*Component
	var dates [][]string
	for _, t := range all {
		kind := t
		kind.at = 0
		i := slices.Index(kinds, kind)
		if i < 0 {
			kinds = append(kinds, kind)
			parts = append(parts, t.part())
			dates = append(dates, nil)
			i = len(kinds) - 1
		}
		dates[i] = append(dates[i], Time{Wall: wallTime(t.wall())}.String())
	}
	for i, d := range dates {
		if len(d) == 1 {
			continue
		}
		// DTSTART is among them: libical and ical.js do not count it beside an RDATE.
		// A line each: ical.js sees the first of a list only.
		for _, v := range d {
			parts[i].Add(NewProperty("RDATE", v))
		}
	}
	return parts
}

// yearly is a transition that comes every year by a rule.
type yearly struct {
	first transition
	rule  *Rule
}

// minTail is how many years a rule must hold to be taken for one: enough to see
// all dates that a weekday of a month can have.
const minTail = 28

// yearlyTail finds the rules by which the last transitions come, and how many
// transitions there are before.
func yearlyTail(all []transition) (rules []yearly, before int) {
	last := len(all) - 1
	if last < 2*minTail || all[last].wall() < dayNumber(2098, 1, 1)*daySeconds {
		return nil, len(all)
	}
	// Two a year, alternating, with the same time of day and offsets.
	n := last - 1
	for n > 0 && sameKind(all[n-1], all[n+1]) {
		n--
	}
	// The oldest ones may have come by an earlier rule: take away until one fits.
	for ; last-n >= 2*minTail; n++ {
		a, okA := yearlyRule(all[n:], 0)
		b, okB := yearlyRule(all[n:], 1)
		if okA && okB {
			return []yearly{{all[n], a}, {all[n+1], b}}, n
		}
	}
	return nil, len(all)
}

func sameKind(a, b transition) bool {
	return a.from == b.from && a.to == b.to && a.dst == b.dst && a.name == b.name &&
		timeOfDay(a.wall()) == timeOfDay(b.wall())
}

// yearlyRule finds a rule for every second transition. They must be one a year.
func yearlyRule(all []transition, from int) (*Rule, bool) {
	days := make([]int64, 0, len(all)/2+1)
	for i := from; i < len(all); i += 2 {
		days = append(days, dayOf(all[i].wall()))
	}
	y0, _, _ := civil(days[0])
	wd := time.Weekday(weekday(days[0]))
	nth, back, oneMonth := 0, 0, 0
	first, late := [2]int{32, 0}, [2]int{367, 0} // least and greatest day of the month, and from the year's end
	for i, day := range days {
		y, m, d := civil(day)
		if y != y0+i || time.Weekday(weekday(day)) != wd {
			return nil, false
		}
		fromEnd := int(dayNumber(y+1, 1, 1) - day)
		n, b := (d-1)/7+1, (daysIn(y, m)-d)/7+1
		if i == 0 {
			nth, back, oneMonth = n, b, m
		}
		if n != nth {
			nth = 0
		}
		if b != back {
			back = 0
		}
		if m != oneMonth {
			oneMonth = 0
		}
		first = [2]int{min(first[0], d), max(first[1], d)}
		late = [2]int{min(late[0], fromEnd), max(late[1], fromEnd)}
	}
	r := &Rule{Freq: Yearly, WeekStart: time.Monday, ByDay: []WeekdayNum{{Day: wd}}}
	switch {
	case oneMonth != 0 && back == 1:
		r.ByDay[0].N = -1
	case oneMonth != 0 && nth != 0:
		r.ByDay[0].N = nth
	case oneMonth != 0 && first[1]-first[0] == 6:
		r.ByMonthDay = span(first[0])
	case late[1]-late[0] == 6: // "the day after the last Thursday" may be in two months
		r.ByYearDay = span(-late[1])
		return r, true
	default:
		return nil, false
	}
	r.ByMonth = []int{oneMonth}
	return r, true
}

// span returns seven numbers.
func span(from int) []int {
	out := make([]int, 7)
	for i := range out {
		out[i] = from + i
	}
	return out
}
