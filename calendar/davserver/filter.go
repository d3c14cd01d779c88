package davserver

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/perdure/perdure/calendar/ical"
)

// filter is a CALDAV:filter (RFC 4791, section 9.7): the comp-filter on VCALENDAR.
type filter struct{ compFilter }

type compFilter struct {
	name    string
	absent  bool // is-not-defined
	within  *timeRange
	props   []propFilter
	comps   []compFilter
	isAlarm bool
}

type propFilter struct {
	name   string
	absent bool
	within *timeRange
	text   *textMatch
	params []paramFilter
}

type paramFilter struct {
	name   string
	absent bool
	text   *textMatch
}

// timeRange is [start, end); a zero bound is none.
type timeRange struct{ start, end time.Time }

// maxConditions bounds the elements of a filter: each is held against each object, so that
// their number multiplies the work of a query.
const maxConditions = 200

func invalidFilter(text string) error {
	return refuse(cal("valid-filter"), "The filter is not valid: "+text+".")
}

func parseFilter(e *element) (*filter, error) {
	if e.count() > maxConditions {
		return nil, refuse(cal("supported-filter"), fmt.Sprintf("The filter has more than %d conditions.", maxConditions))
	}
	parts := e.elements()
	if len(parts) != 1 || parts[0].Name != cal("comp-filter") {
		return nil, invalidFilter("it is not one comp-filter")
	}
	top, err := parseCompFilter(parts[0])
	if err != nil {
		return nil, err
	}
	if top.name != "VCALENDAR" {
		return nil, invalidFilter("it does not begin with VCALENDAR")
	}
	if top.within != nil {
		return nil, unsupportedFilter(top.name)
	}
	return &filter{*top}, nil
}

func unsupportedFilter(component string) error {
	return &failure{
		status: http.StatusForbidden, condition: cal("supported-filter"), inner: compFilterElement(component),
		text: "Such a component has no time.",
	}
}

func compFilterElement(name string) string {
	var b bytes.Buffer
	b.WriteString(`<C:comp-filter name="`)
	escapeAttr(&b, name)
	b.WriteString(`"/>`)
	return b.String()
}

func filterName(e *element) (string, error) {
	name, ok := e.attr("name")
	if !ok || name == "" {
		return "", invalidFilter("a name is missing")
	}
	return strings.ToUpper(name), nil
}

func parseCompFilter(e *element) (*compFilter, error) {
	name, err := filterName(e)
	if err != nil {
		return nil, err
	}
	f := &compFilter{name: name, isAlarm: name == "VALARM"}
	for _, c := range e.elements() {
		switch c.Name {
		case cal("is-not-defined"):
			f.absent = true
		case cal("time-range"):
			switch name {
			case "VEVENT", "VTODO", "VJOURNAL", "VFREEBUSY", "VALARM", "VCALENDAR":
			default:
				return nil, unsupportedFilter(name)
			}
			f.within, err = parseTimeRange(c)
		case cal("prop-filter"):
			var p *propFilter
			if p, err = parsePropFilter(c); err == nil {
				f.props = append(f.props, *p)
			}
		case cal("comp-filter"):
			var inner *compFilter
			if inner, err = parseCompFilter(c); err == nil {
				f.comps = append(f.comps, *inner)
			}
		default:
			err = invalidFilter("a comp-filter does not hold " + c.Name.Local)
		}
		if err != nil {
			return nil, err
		}
	}
	if f.absent && len(e.elements()) > 1 {
		return nil, invalidFilter("is-not-defined stands alone")
	}
	return f, nil
}

func parsePropFilter(e *element) (*propFilter, error) {
	name, err := filterName(e)
	if err != nil {
		return nil, err
	}
	f := &propFilter{name: name}
	for _, c := range e.elements() {
		switch c.Name {
		case cal("is-not-defined"):
			f.absent = true
		case cal("time-range"):
			f.within, err = parseTimeRange(c)
		case cal("text-match"):
			f.text, err = parseTextMatch(c)
		case cal("param-filter"):
			var p *paramFilter
			if p, err = parseParamFilter(c); err == nil {
				f.params = append(f.params, *p)
			}
		default:
			err = invalidFilter("a prop-filter does not hold " + c.Name.Local)
		}
		if err != nil {
			return nil, err
		}
	}
	if f.absent && len(e.elements()) > 1 || f.within != nil && f.text != nil {
		return nil, invalidFilter("conditions exclude each other")
	}
	return f, nil
}

func parseParamFilter(e *element) (*paramFilter, error) {
	name, err := filterName(e)
	if err != nil {
		return nil, err
	}
	f := &paramFilter{name: name}
	for _, c := range e.elements() {
		switch c.Name {
		case cal("is-not-defined"):
			f.absent = true
		case cal("text-match"):
			f.text, err = parseTextMatch(c)
		default:
			err = invalidFilter("a param-filter does not hold " + c.Name.Local)
		}
		if err != nil {
			return nil, err
		}
	}
	return f, nil
}

// parseTimeRange reads the attributes start and end: times in UTC, one at least.
func parseTimeRange(e *element) (*timeRange, error) {
	r := new(timeRange)
	given := false
	for _, bound := range []struct {
		name string
		at   *time.Time
	}{{"start", &r.start}, {"end", &r.end}} {
		text, ok := e.attr(bound.name)
		if !ok {
			continue
		}
		t, err := ical.ParseTime(text, "")
		if err != nil || !t.UTC {
			return nil, invalidFilter(bound.name + " is not a time in UTC")
		}
		*bound.at = t.Wall
		given = true
	}
	if !given || !r.start.IsZero() && !r.end.IsZero() && !r.start.Before(r.end) {
		return nil, invalidFilter("a time-range has no extent")
	}
	return r, nil
}

// hint returns what the filter says of the kind of component and of time, as far as the index
// can tell: nil if any object may match.
func (f *filter) hint() (component string, within *timeRange) {
	for i := range f.comps {
		c := &f.comps[i]
		if c.absent || !isObjectComponent(c.name) {
			continue
		}
		// All conditions have to hold, so each alone bounds the result.
		component, within = c.name, c.within
		if within != nil {
			return component, within
		}
	}
	return component, within
}

// trivial reports whether the kind of component says all that the filter wants to know.
func (f *filter) trivial() bool {
	if len(f.props) > 0 || f.absent || len(f.comps) > 1 {
		return false
	}
	for _, c := range f.comps {
		if !isObjectComponent(c.name) || c.absent || c.within != nil || len(c.props)+len(c.comps) > 0 {
			return false
		}
	}
	return true
}

// mayMatchUID reports whether the conditions on the UID let an object with that one pass.
func (f *filter) mayMatchUID(uid string) bool {
	for _, c := range f.comps {
		if c.absent || !isObjectComponent(c.name) {
			continue
		}
		for _, p := range c.props {
			if p.name == "UID" && (p.absent || p.text != nil && !p.text.matches(uid)) {
				return false
			}
		}
	}
	return true
}

func isObjectComponent(name string) bool {
	return name == "VEVENT" || name == "VTODO" || name == "VJOURNAL"
}
