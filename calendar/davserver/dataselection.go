package davserver

import (
	"net/http"
	"strings"
	"time"

	"github.com/perdure/perdure/calendar/ical"
)

// dataSelection is a calendar-data element of a request: which parts of an object
// to answer, and in which form (RFC 4791, section 9.6).
type dataSelection struct {
	comp   *compSelection
	expand *timeRange
	limit  *timeRange // limit-recurrence-set
}

// compSelection is a comp element: what to keep of a component.
type compSelection struct {
	name     string
	allProps bool
	allComps bool
	props    map[string]bool // name: with its value
	comps    []compSelection
}

func parseDataSelection(e *element) (*dataSelection, error) {
	if t, ok := e.attr("content-type"); ok && !isCalendarType(t) {
		return nil, refuse(cal("supported-calendar-data"), "Objects are text/calendar.")
	}
	if v, ok := e.attr("version"); ok && v != "2.0" {
		return nil, refuse(cal("supported-calendar-data"), "Objects have version 2.0.")
	}
	d := new(dataSelection)
	var err error
	for _, c := range e.elements() {
		switch c.Name {
		case cal("comp"):
			d.comp, err = parseCompSelection(c)
		case cal("expand"):
			d.expand, err = parseWholeRange(c)
		case cal("limit-recurrence-set"):
			d.limit, err = parseWholeRange(c)
		}
		if err != nil {
			return nil, err
		}
	}
	return d, nil
}

// parseWholeRange reads a range that has both ends.
func parseWholeRange(e *element) (*timeRange, error) {
	r, err := parseTimeRange(e)
	if err != nil || r.start.IsZero() || r.end.IsZero() {
		return nil, status(http.StatusBadRequest, e.Name.Local+" needs a start and an end.")
	}
	return r, nil
}

func parseCompSelection(e *element) (*compSelection, error) {
	name, ok := e.attr("name")
	if !ok {
		return nil, status(http.StatusBadRequest, "A comp has no name.")
	}
	// One that says nothing means all, as the example of RFC 4791, section 7.8.1, has it.
	empty := len(e.elements()) == 0
	s := &compSelection{name: strings.ToUpper(name), allProps: empty, allComps: empty, props: make(map[string]bool)}
	for _, c := range e.elements() {
		switch c.Name {
		case cal("allprop"):
			s.allProps = true
		case cal("allcomp"):
			s.allComps = true
		case cal("prop"):
			if name, ok := c.attr("name"); ok {
				novalue, _ := c.attr("novalue")
				s.props[strings.ToUpper(name)] = novalue != "yes"
			}
		case cal("comp"):
			inner, err := parseCompSelection(c)
			if err != nil {
				return nil, err
			}
			s.comps = append(s.comps, *inner)
		}
	}
	return s, nil
}

// of returns what a client gets of an object: the bytes as they were stored unless it
// wants something else. budget is how many instances may be written still.
func (d *dataSelection) of(data []byte, parsed *read, info *calendarInfo, budget *int) (string, error) {
	if d.comp == nil && d.expand == nil && d.limit == nil {
		return string(data), nil
	}
	if parsed == nil {
		var err error
		if parsed, err = readObject(data, info.zone()); err != nil {
			return "", err
		}
	}
	out := parsed.calendar
	var err error
	switch {
	case d.expand != nil:
		out, err = expanded(parsed, d.expand, budget)
	case d.limit != nil:
		out = limited(parsed, d.limit)
	}
	if err != nil {
		return "", err
	}
	if d.comp != nil {
		if out == parsed.calendar {
			out = out.Clone()
		}
		d.comp.apply(out.Component)
	}
	return string(out.Bytes()), nil
}

// apply removes what is not selected.
func (s *compSelection) apply(comp *ical.Component) {
	for _, p := range comp.Properties("") {
		value, named := s.props[p.Name()]
		switch {
		case named && !value:
			p.SetValue("")
		case !named && !s.allProps:
			comp.RemoveProperty(p)
		}
	}
	for _, c := range comp.Components("") {
		kept := s.allComps
		for i := range s.comps {
			if s.comps[i].name == c.Name() {
				s.comps[i].apply(c)
				kept = true
			}
		}
		if !kept {
			comp.RemoveComponent(c)
		}
	}
}

// expanded writes each instance in a range as a component of its own, in UTC (RFC
// 4791, section 9.6.5). Dates and floating times have no zone and stay as they are.
func expanded(r *read, within *timeRange, budget *int) (*ical.Calendar, error) {
	x := r.instances().Expand(within.start, within.end, &ical.ExpandOptions{MaxInstances: max(*budget, 1)})
	if x.Truncated != nil || len(x.Instances) > *budget {
		return nil, tooManyResults()
	}
	*budget -= len(x.Instances)
	if len(x.Instances) == 0 && !recurs(r.calendar) {
		return r.calendar, nil // a to-do without a date, say
	}
	out := r.calendar.Clone()
	for _, c := range out.Components("") {
		out.RemoveComponent(c)
	}
	for i := range x.Instances {
		out.AddComponent(r.instance(&x.Instances[i]))
	}
	return out, nil
}

func recurs(c *ical.Calendar) bool {
	for _, comp := range c.Components("") {
		for _, name := range []string{"RRULE", "RDATE", "RECURRENCE-ID"} {
			if isObjectComponent(comp.Name()) && comp.Property(name) != nil {
				return true
			}
		}
	}
	return false
}

func (r *read) instance(in *ical.Instance) *ical.Component {
	comp := in.Component.Clone()
	for _, name := range []string{"RRULE", "RDATE", "EXRULE", "EXDATE", "RECURRENCE-ID"} {
		comp.Remove(name)
	}
	write := func(at time.Time) ical.Time {
		switch {
		case in.AllDay:
			return ical.DateOf(at.Date())
		case in.Local.Floating():
			return ical.LocalTime(at, at.Location(), "")
		}
		return ical.UTCTime(at)
	}
	for _, end := range []string{"DTEND", "DUE"} {
		if comp.Property(end) != nil {
			comp.SetTime(end, write(in.End))
		}
	}
	if comp.Property("DTSTART") != nil {
		comp.SetTime("DTSTART", write(in.Start))
	}
	if !in.RecurrenceID.IsZero() {
		comp.SetTime("RECURRENCE-ID", r.utc(in.RecurrenceID))
	}
	return comp
}

func (r *read) utc(t ical.Time) ical.Time {
	if t.Date || t.Floating() {
		return t
	}
	at, _ := r.calendar.Instant(t, r.zone) // an unknown zone is read as the calendar's
	return ical.UTCTime(at)
}

// limited leaves out overrides that have nothing to do with a range, neither where
// they are nor where they would have been (RFC 4791, section 9.6.6).
func limited(r *read, within *timeRange) *ical.Calendar {
	out := r.calendar.Clone()
	touched := make(map[*ical.Component]bool)
	x := r.instances().Expand(within.start, within.end, nil)
	for _, in := range x.Instances {
		touched[in.Component] = true
	}
	kept := out.Components("")
	for i, comp := range r.calendar.Components("") {
		p := comp.Property("RECURRENCE-ID")
		if p == nil || touched[comp] || x.Truncated != nil || p.Param("RANGE") != "" {
			continue
		}
		t, err := p.Time()
		if err != nil {
			continue
		}
		at, _ := r.calendar.Instant(t, r.zone)
		if !at.Before(within.end) || at.Add(r.masterLength()).Before(within.start) {
			out.RemoveComponent(kept[i])
		}
	}
	return out
}

// masterLength is how long an instance lasts that was not changed.
func (r *read) masterLength() time.Duration {
	for _, comp := range r.calendar.Components("") {
		if !isObjectComponent(comp.Name()) || comp.Property("RECURRENCE-ID") != nil {
			continue
		}
		if d, err := comp.Duration("DURATION"); err == nil {
			return time.Duration(d.Days)*24*time.Hour + d.Time
		}
		start, err := comp.Time("DTSTART")
		if err != nil {
			return 0
		}
		for _, name := range []string{"DTEND", "DUE"} {
			if end, err := comp.Time(name); err == nil {
				from, _ := r.calendar.Instant(start, r.zone)
				to, _ := r.calendar.Instant(end, r.zone)
				return to.Sub(from)
			}
		}
		if start.Date {
			return 24 * time.Hour
		}
	}
	return 0
}
