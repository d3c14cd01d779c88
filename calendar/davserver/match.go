package davserver

import (
	"errors"
	"time"

	"github.com/perdure/perdure/calendar/ical"
)

// read is an object's data, read as far as a request has needed it.
type read struct {
	calendar *ical.Calendar
	zone     *time.Location // for dates and floating times
	object   *ical.Object
}

// readObject parses stored data, which was checked when it was stored.
func readObject(data []byte, zone *time.Location) (*read, error) {
	c, err := ical.Parse(data, objectLimits)
	if err != nil {
		return nil, err
	}
	return &read{calendar: c, zone: zone}, nil
}

func (r *read) instances() *ical.Object {
	if r.object == nil {
		r.object = ical.NewObject(r.calendar, r.zone)
	}
	return r.object
}

// matches reports whether an object passes the filter. Where it would take too much
// work to tell, it does: a client that sees one object too many loses nothing.
func (f *filter) matches(r *read) bool {
	return f.ownProps(r, r.calendar.Component) && f.children(r, r.calendar.Component, "")
}

func (f *compFilter) ownProps(r *read, comp *ical.Component) bool {
	for i := range f.props {
		if !f.props[i].matches(r, comp) {
			return false
		}
	}
	return true
}

// children reports whether the filters on what is inside a component hold. kind is
// that of the component, if it is inside the calendar.
func (f *compFilter) children(r *read, comp *ical.Component, kind string) bool {
	for i := range f.comps {
		c := &f.comps[i]
		inner := comp.Components(c.name)
		if c.absent {
			if len(inner) > 0 {
				return false
			}
			continue
		}
		if !c.any(r, inner, kind) {
			return false
		}
	}
	return true
}

// any reports whether one of some components of one kind passes.
func (f *compFilter) any(r *read, list []*ical.Component, parent string) bool {
	var passed []*ical.Component
	for _, comp := range list {
		if f.ownProps(r, comp) && f.children(r, comp, f.name) {
			passed = append(passed, comp)
		}
	}
	if len(passed) == 0 || f.within == nil {
		return len(passed) > 0
	}
	o := r.instances()
	if f.isAlarm {
		hit, err := o.MatchesAlarm(parent, f.within.start, f.within.end)
		return hit || err != nil
	}
	hit, err := o.Matches(f.name, f.within.start, f.within.end)
	if err != nil || !hit || len(passed) == len(list) {
		return hit || err != nil
	}
	// One and the same instance has to be in the range and to pass the rest.
	x := o.Expand(f.within.start, f.within.end, nil)
	for _, in := range x.Instances {
		for _, comp := range passed {
			if in.Component == comp {
				return true
			}
		}
	}
	return x.Truncated != nil
}

func (f *propFilter) matches(r *read, comp *ical.Component) bool {
	props := comp.Properties(f.name)
	if f.absent {
		return len(props) == 0
	}
	for _, p := range props {
		if f.one(r, p) {
			return true
		}
	}
	return false
}

func (f *propFilter) one(r *read, p *ical.Property) bool {
	switch {
	case f.text != nil && !f.text.matches(p.Text()):
		return false
	case f.within != nil && !f.within.holds(r, p):
		return false
	}
	for i := range f.params {
		if !f.params[i].matches(p) {
			return false
		}
	}
	return true
}

// holds reports whether a property's time is in the range.
func (w *timeRange) holds(r *read, p *ical.Property) bool {
	t, err := p.Time()
	if err != nil {
		return false
	}
	at, err := r.calendar.Instant(t, r.zone)
	if err != nil && !errors.Is(err, ical.ErrUnknownZone) {
		return false
	}
	return (w.start.IsZero() || !at.Before(w.start)) && (w.end.IsZero() || at.Before(w.end))
}

func (f *paramFilter) matches(p *ical.Property) bool {
	values := p.ParamValues(f.name)
	if f.absent {
		return values == nil
	}
	if f.text == nil {
		return values != nil
	}
	for _, v := range values {
		if f.text.matches(v) {
			return true
		}
	}
	return false
}
