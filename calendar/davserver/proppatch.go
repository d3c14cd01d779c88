package davserver

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"net/http"
	"time"

	"github.com/perdure/perdure/calendar/ical"
	"github.com/perdure/perdure/durable"
)

// propertyChange is one instruction of a propertyupdate.
type propertyChange struct {
	name   xml.Name
	xml    string
	remove bool
	bad    *failure // why it can't be done
}

// checkProperty returns why a client may not give a property this value, nil if it may.
func checkProperty(e *element) *failure {
	if isProtected(e.Name) {
		return refuse(dav("cannot-modify-protected-property"), "")
	}
	if e.Name == cal("calendar-timezone") {
		if _, err := readTimezone(e.text()); err != nil {
			return refuse(cal("valid-calendar-data"), "")
		}
	}
	return nil
}

// readTimezone reads a calendar-timezone property: a calendar with one VTIMEZONE
// and nothing else (RFC 4791, section 5.2.2).
func readTimezone(text string) (*time.Location, error) {
	c, err := ical.Parse([]byte(text), nil)
	if err != nil {
		return nil, fmt.Errorf("calendar-timezone: %w", err)
	}
	all := c.Components("")
	if len(all) != 1 || all[0].Name() != "VTIMEZONE" {
		return nil, fmt.Errorf("calendar-timezone: %w", ical.ErrUnknownZone)
	}
	return c.Zone(all[0].Text("TZID"))
}

// zone returns the zone in which a calendar's dates and floating times are read.
func (i *calendarInfo) zone() *time.Location {
	text := i.text(cal("calendar-timezone"))
	if text == "" {
		return time.UTC
	}
	loc, err := readTimezone(text)
	if err != nil {
		return time.UTC // it was checked when it was set
	}
	return loc
}

// text returns the text of a property that a client has set.
func (i *calendarInfo) text(name xml.Name) string {
	stored, ok := i.Properties[propertyKey(name)]
	if !ok {
		return ""
	}
	e, err := parseXML([]byte(stored))
	if err != nil {
		return ""
	}
	return e.text()
}

func parseChanges(body *element) (changes []propertyChange, bad bool) {
	for _, part := range body.elements() {
		if part.Name != dav("set") && part.Name != dav("remove") {
			continue
		}
		for _, p := range part.child(dav("prop")).elements() {
			c := propertyChange{name: p.Name, remove: part.Name == dav("remove")}
			if c.remove {
				if isProtected(p.Name) {
					c.bad = refuse(dav("cannot-modify-protected-property"), "")
				}
			} else {
				c.xml, c.bad = p.xml(), checkProperty(p)
			}
			bad = bad || c.bad != nil
			changes = append(changes, c)
		}
	}
	return changes, bad
}

func (s *Server) proppatch(w http.ResponseWriter, r *request) error {
	body, err := s.readXML(w, r)
	if err != nil {
		return err
	}
	if body == nil || body.Name != dav("propertyupdate") {
		return status(http.StatusBadRequest, "The body is no propertyupdate.")
	}
	ctx := r.Context()
	stub, err := s.load(ctx, &resource{s: s, user: r.user, target: r.target})
	if err != nil {
		return err
	}
	changes, bad := parseChanges(body)
	if r.kind != calendarKind { // nothing else has properties of a client's
		for i := range changes {
			if changes[i].bad == nil {
				changes[i].bad = refuse(xml.Name{}, "")
			}
		}
		bad = len(changes) > 0
	}
	if !bad {
		args := patchArgs{Set: make(map[string]string)}
		for _, c := range changes { // in their order: the last word counts
			key := propertyKey(c.name)
			delete(args.Set, key)
			if c.remove {
				args.Remove = append(args.Remove, key)
			} else {
				args.Set[key] = c.xml
			}
		}
		args.Remove = without(args.Remove, args.Set)
		if err := durable.Exec(ctx, stub, (*calendar).Patch, args); err != nil {
			return err
		}
		s.changed(r.user, r.target.calendar, "")
	}
	m := newMultistatus(w, r.Request)
	m.b.WriteString("<D:response>")
	m.href(s.href(r.target))
	writePropstats(&m.b, changes)
	m.b.WriteString("</D:response>\n")
	return m.end("")
}

func without(keys []string, set map[string]string) []string {
	var out []string
	for _, k := range keys {
		if _, is := set[k]; !is {
			out = append(out, k)
		}
	}
	return out
}

// writePropstats tells how each change went: all of them well, or none, and why.
func writePropstats(b *bytes.Buffer, changes []propertyChange) {
	failed := false
	for _, c := range changes {
		failed = failed || c.bad != nil
	}
	if len(changes) == 0 {
		b.WriteString("<D:status>" + statusLine(http.StatusOK) + "</D:status>")
	}
	for _, c := range changes {
		code := http.StatusOK
		switch {
		case c.bad != nil:
			code = c.bad.status
		case failed:
			code = http.StatusFailedDependency
		}
		b.WriteString("<D:propstat><D:prop>")
		emptyTag(b, c.name)
		b.WriteString("</D:prop><D:status>" + statusLine(code) + "</D:status>")
		if c.bad != nil && c.bad.condition.Local != "" {
			b.WriteString("<D:error>")
			c.bad.writeCondition(b)
			b.WriteString("</D:error>")
		}
		b.WriteString("</D:propstat>")
	}
}

func emptyElement(name xml.Name) string {
	var b bytes.Buffer
	emptyTag(&b, name)
	return b.String()
}
