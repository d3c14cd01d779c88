package ical

import "time"

// Matches reports whether a component of a kind ("VEVENT", "VTODO", "VJOURNAL",
// "VFREEBUSY"; "" for any) overlaps [from, to) by the rules of RFC 4791, section
// 9.9. A zero from or to is no bound. A *LimitError says that the answer, false,
// is not known.
func (o *Object) Matches(kind string, from, to time.Time) (bool, error) {
	w := newWalk(from, to, defaultSteps)
	hit := false
	o.visit(kind, w, func(f *found) bool {
		hit = f.matches(w.from, w.to)
		w.stop = hit
		return hit
	})
	for _, s := range o.series {
		if s.kind == "VTODO" && (kind == "" || kind == "VTODO") {
			for _, e := range s.undated {
				hit = hit || o.undatedTodo(e.comp, w.from, w.to)
			}
		}
	}
	if kind == "" || kind == "VFREEBUSY" {
		for _, comp := range o.others {
			hit = hit || o.freeBusyMatches(comp, w.from, w.to)
		}
	}
	if !hit && w.budget < 0 {
		return false, tooManySteps(defaultSteps)
	}
	return hit, nil
}

// matches is a row of the tables in RFC 4791, section 9.9.
func (f *found) matches(from, to int64) bool {
	if f.s.kind != "VTODO" {
		return f.overlaps(from, to)
	}
	e := f.e
	switch {
	case !e.begins: // DUE alone
		return from < f.end && to >= f.end
	case e.due && e.long:
		return (from < f.end || from <= f.at) && (to > f.at || to >= f.end)
	case e.long: // DURATION
		return from <= f.end && (to > f.at || to >= f.end)
	}
	return from <= f.at && to > f.at
}

// undatedTodo is for a VTODO with neither DTSTART nor DUE.
func (o *Object) undatedTodo(comp *Component, from, to int64) bool {
	created, okCreated := o.instantOf(comp, "CREATED")
	completed, okCompleted := o.instantOf(comp, "COMPLETED")
	switch {
	case okCreated && okCompleted:
		return (from <= created || from <= completed) && (to >= created || to >= completed)
	case okCompleted:
		return from <= completed && to >= completed
	case okCreated:
		return to > created
	}
	return true
}

func (o *Object) instantOf(comp *Component, name string) (int64, bool) {
	t, err := comp.Time(name)
	if err != nil {
		return 0, false
	}
	return instantAt(t.wall(), o.location(t)), true
}

func (o *Object) freeBusyMatches(comp *Component, from, to int64) bool {
	start, ok1 := o.instantOf(comp, "DTSTART")
	end, ok2 := o.instantOf(comp, "DTEND")
	if ok1 && ok2 {
		return from <= end && to > start
	}
	for _, p := range o.busy(comp) {
		if from < p[1] && to > p[0] {
			return true
		}
	}
	return false
}

// busy returns what a VFREEBUSY covers: from DTSTART to DTEND, or else its periods.
func (o *Object) busy(comp *Component) (out [][2]int64) {
	start, ok1 := o.instantOf(comp, "DTSTART")
	end, ok2 := o.instantOf(comp, "DTEND")
	if ok1 && ok2 {
		return [][2]int64{{start, end}}
	}
	for _, p := range comp.Properties("FREEBUSY") {
		periods, _ := p.Periods()
		for _, per := range periods {
			c := clock{loc: o.location(per.Start)}
			at := c.instant(per.Start.wall())
			end := at
			if per.HasDuration {
				l := length{days: int64(per.Duration.Days), secs: int64(per.Duration.Time / time.Second)}
				end = l.end(per.Start.wall(), at, &c)
			} else {
				end = instantAt(per.End.wall(), o.location(per.End))
			}
			out = append(out, [2]int64{at, end})
		}
	}
	return out
}

// MatchesAlarm reports whether an alarm of a component of a kind goes off in
// [from, to), its repetitions included (RFC 4791, section 9.9). Errors are those
// of Matches.
func (o *Object) MatchesAlarm(kind string, from, to time.Time) (bool, error) {
	w := newWalk(from, to, defaultSteps)
	first, last := int64(0), int64(0)
	hit := false
	alarms := make(map[*entry][]alarm)
	each := func(e *entry) {
		alarms[e] = alarmsOf(e.comp)
		for _, a := range alarms[e] {
			if a.fixed {
				hit = hit || a.fires(instantAt(a.at.wall(), o.location(a.at)), w.from, w.to)
				continue
			}
			first, last = min(first, a.offset), max(last, a.offset+a.repeat*a.pause)
		}
	}
	for _, s := range o.series {
		if kind == "" || s.kind == kind {
			for _, list := range [][]*entry{s.masters, s.overrides, s.undated} {
				for _, e := range list {
					each(e)
				}
			}
		}
	}
	if hit {
		return true, nil
	}
	// An alarm may go off long before or after its instance: look at those too.
	wide := *w
	if w.from > -noEnd {
		wide.from -= last + slack
	}
	if w.to < noEnd {
		wide.to -= first - slack
	}
	o.visit(kind, &wide, func(f *found) bool {
		for _, a := range alarms[f.e] {
			if a.fixed {
				continue
			}
			at := f.at
			if a.fromEnd {
				at = f.end
			}
			if a.fires(at+a.offset, w.from, w.to) {
				hit = true
				wide.stop = true
			}
		}
		return hit
	})
	if !hit && wide.budget < 0 {
		return false, tooManySteps(defaultSteps)
	}
	return hit, nil
}

// alarm is a VALARM's trigger.
type alarm struct {
	fixed         bool // at an instant of its own
	at            Time
	fromEnd       bool
	offset        int64
	repeat, pause int64
}

// maxAlarms bounds the VALARMs of one component that are looked at.
const maxAlarms = 64

func alarmsOf(comp *Component) (out []alarm) {
	for _, v := range comp.Components("VALARM") {
		if len(out) == maxAlarms {
			break
		}
		p := v.Property("TRIGGER")
		if p == nil {
			continue
		}
		a := alarm{fromEnd: upper(p.Param("RELATED")) == "END"}
		if d, err := p.Duration(); err == nil {
			a.offset = d.seconds()
		} else if t, err := p.Time(); err == nil {
			a.fixed, a.at = true, t
		} else {
			continue
		}
		pause, err := v.Duration("DURATION")
		if r := v.Property("REPEAT"); r != nil && err == nil && pause.seconds() > 0 {
			n, _, _, ok := number(r.Value() + ".")
			if ok && n*pause.seconds() < maxDays*daySeconds {
				a.repeat, a.pause = n, pause.seconds()
			}
		}
		out = append(out, a)
	}
	return out
}

// fires reports whether the alarm, first going off at an instant, does so in
// [from, to).
func (a alarm) fires(at, from, to int64) bool {
	if at < from && a.pause > 0 {
		n := min(a.repeat, (from-at+a.pause-1)/a.pause)
		at += n * a.pause
	}
	return from <= at && at < to
}
