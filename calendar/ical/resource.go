package ical

import "errors"

// Reasons for which a calendar is no calendar object resource.
var (
	ErrMethod      = errors.New("ical: METHOD in a stored object")
	ErrNoComponent = errors.New("ical: no VEVENT, VTODO, VJOURNAL or VFREEBUSY")
	ErrMixedKinds  = errors.New("ical: components of several kinds")
	ErrNoUID       = errors.New("ical: component without UID")
	ErrManyUIDs    = errors.New("ical: components with different UIDs")
	ErrManyMasters = errors.New("ical: two components with one UID and no RECURRENCE-ID")
	ErrNoStart     = errors.New("ical: VEVENT without DTSTART")
)

// Resource returns the kind and the UID of a calendar object resource (RFC 4791,
// section 4.1), or why the calendar is none: one of the errors above, or a
// *ValueError for a DTSTART, DTEND, DUE, DURATION, RECURRENCE-ID or RRULE that can't be
// read. Kind and UID are those of the first component, if there is one, also beside
// an error. It does not ask for properties that nothing here needs, such as DTSTAMP.
func (c *Calendar) Resource() (kind, uid string, err error) {
	note := func(e error) {
		if err == nil {
			err = e
		}
	}
	masters, n := 0, 0
	for _, comp := range c.Components("") {
		switch comp.name {
		case "VEVENT", "VTODO", "VJOURNAL", "VFREEBUSY":
		default:
			continue
		}
		id := comp.Text("UID")
		if n++; n == 1 {
			kind, uid = comp.name, id
		}
		if comp.Property("RECURRENCE-ID") == nil {
			masters++
		}
		switch {
		case id == "":
			note(ErrNoUID)
		case comp.name != kind:
			note(ErrMixedKinds)
		case id != uid:
			note(ErrManyUIDs)
		case masters > 1:
			note(ErrManyMasters)
		case comp.name == "VEVENT" && comp.Property("DTSTART") == nil:
			note(ErrNoStart)
		default:
			note(comp.checkValues())
		}
	}
	if n == 0 {
		note(ErrNoComponent)
	}
	if c.Property("METHOD") != nil {
		note(ErrMethod)
	}
	return kind, uid, err
}

func (c *Component) checkValues() error {
	for _, name := range []string{"DTSTART", "DTEND", "DUE", "RECURRENCE-ID"} {
		if _, err := c.Time(name); err != nil && !errors.Is(err, ErrNoProperty) {
			return err
		}
	}
	if _, err := c.Duration("DURATION"); err != nil && !errors.Is(err, ErrNoProperty) {
		return err
	}
	for _, p := range c.Properties("RRULE") {
		if _, err := p.Rule(); err != nil {
			return err
		}
	}
	return nil
}
