package ical

import "time"

// Override returns the component to change for a change of one occurrence: the
// override that there is, or a new one behind the master, made of what governs the
// occurrence now, with its RECURRENCE-ID, start and end and without recurrence
// properties. Alarms and all else are copied. The zone is that of [NewObject]; an
// empty UID stands for any.
//
// For the occurrence with which a THISANDFUTURE override begins it returns that
// one: a change of it is one of all that follow.
//
// Errors: ErrNoOccurrence, also for an object that does not recur; *LimitError.
func (c *Calendar) Override(uid string, id Time, zone *time.Location) (*Component, error) {
	f, err := NewObject(c, zone).find(uid, id, true)
	if err != nil {
		return nil, err
	}
	if f.m == nil {
		return f.e.comp, nil
	}
	in := f.instance()
	comp := in.Component.Clone()
	for _, name := range []string{"RRULE", "RDATE", "EXRULE", "EXDATE", "RECURRENCE-ID"} {
		comp.Remove(name)
	}
	comp.SetTime("RECURRENCE-ID", in.RecurrenceID)
	if f.e.begins {
		comp.SetTime("DTSTART", in.Local)
		c.setEnd(comp, f)
	} else {
		comp.SetTime("DUE", in.Local)
	}
	at := 0
	for i, n := range c.nodes {
		if n.comp != nil && n.comp.name == comp.name && n.comp.Text("UID") == f.s.uid {
			at = i + 1
		}
	}
	c.insert(at, comp)
	return comp, nil
}

// setEnd makes an end that is written as an instant follow the start; a DURATION
// stays, unless the occurrence has a length of its own.
func (c *Calendar) setEnd(comp *Component, f found) {
	name := "DTEND"
	if comp.name == "VTODO" {
		name = "DUE"
	}
	form, err := comp.Time(name)
	if err != nil {
		clk := clock{loc: f.m.loc}
		if f.e.length.end(f.wall, f.at, &clk) == f.end {
			return
		}
		form = f.e.start
		comp.Remove("DURATION")
	}
	loc := f.m.loc
	if form.TZID != "" && !form.UTC {
		if l, err := c.Zone(form.TZID); err == nil {
			loc = l
		}
	}
	if form.UTC {
		loc = time.UTC
	}
	comp.SetTime(name, form.at(wallAt(f.end, loc)))
}

// Exclude takes one occurrence out: an override for it is removed and the master
// gets an EXDATE, written like its DTSTART. An override without a master is just
// removed. Arguments and errors are those of Override. Whether any instance is left
// is for the caller to see.
func (c *Calendar) Exclude(uid string, id Time, zone *time.Location) error {
	f, err := NewObject(c, zone).find(uid, id, true)
	if err != nil {
		return err
	}
	if f.m == nil && !f.e.future {
		c.RemoveComponent(f.e.comp)
	}
	m := f.m
	if m == nil && len(f.s.masters) > 0 {
		m = f.s.masters[0]
	}
	if m == nil {
		c.RemoveComponent(f.e.comp)
		return nil
	}
	key := f.ridWall
	if f.m == nil {
		key = f.e.key
		if !m.start.Date {
			key = wallAt(key, m.loc)
		}
	}
	ex := NewProperty("EXDATE", "")
	ex.SetTime(m.start.at(key))
	m.comp.Add(ex)
	return nil
}
