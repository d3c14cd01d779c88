package davserver

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/perdure/perdure/durable"
)

// components are those that a calendar may hold.
var components = []string{"VEVENT", "VTODO", "VJOURNAL"}

// makeCalendar is MKCALENDAR (RFC 4791, section 5.3.1) and the extended MKCOL (RFC 5689).
func (s *Server) makeCalendar(w http.ResponseWriter, r *request) error {
	mkcol := r.Method == "MKCOL"
	body, err := s.readXML(w, r)
	if err != nil {
		return err
	}
	switch {
	case r.kind == objectKind:
		return refuse(cal("calendar-collection-location-ok"), "A calendar cannot hold a collection.")
	case r.kind != calendarKind:
		return &failure{status: http.StatusMethodNotAllowed, condition: dav("resource-must-be-null"), text: "There is something here already."}
	case body == nil && mkcol:
		return refuse(dav("valid-resourcetype"), "Only calendars can be made here.")
	case body != nil && body.Name != dav("mkcol") && mkcol, body != nil && body.Name != cal("mkcalendar") && !mkcol:
		return status(http.StatusUnsupportedMediaType, "The body does not go with the method.")
	}
	ctx := r.Context()
	_, err = s.calendar(ctx, r.user, r.target.calendar)
	if err == nil {
		return errExists
	}
	if !errors.Is(err, errNoCalendar) {
		return err
	}
	args := newCalendarArgs{Components: components, Properties: make(map[string]string)}
	changes, err := args.take(body, mkcol)
	if err != nil {
		return err
	}
	if changes != nil {
		return writeMakeFailure(w, r, changes)
	}
	if err := s.create(ctx, r.user, r.target.calendar, args); err != nil {
		return err
	}
	s.changed(r.user, r.target.calendar, "")
	w.Header().Set("Content-Length", "0")
	w.Header().Set("Cache-Control", "no-cache")
	w.WriteHeader(http.StatusCreated)
	return nil
}

// take reads what the new calendar shall be. It returns changes if some of them
// can't be done: then none is.
func (a *newCalendarArgs) take(body *element, mkcol bool) ([]propertyChange, error) {
	typed := false
	failed := false
	var changes []propertyChange
	for _, set := range body.named(dav("set")) {
		for _, p := range set.child(dav("prop")).elements() {
			c := propertyChange{name: p.Name}
			switch p.Name {
			case dav("resourcetype"):
				typed = p.child(dav("collection")) != nil && p.child(cal("calendar")) != nil && len(p.elements()) == 2
				if !typed {
					return nil, refuse(dav("valid-resourcetype"), "Only calendars can be made here.")
				}
			case cal("supported-calendar-component-set"):
				if a.Components = parseComponents(p); a.Components == nil {
					c.bad = refuse(cal("supported-calendar-component"), "")
				}
			default:
				if c.bad = checkProperty(p); c.bad == nil {
					a.Properties[propertyKey(p.Name)] = p.xml()
				}
			}
			failed = failed || c.bad != nil
			changes = append(changes, c)
		}
	}
	if mkcol && !typed {
		return nil, refuse(dav("valid-resourcetype"), "Only calendars can be made here.")
	}
	if !failed {
		changes = nil
	}
	return changes, nil
}

// parseComponents reads a supported-calendar-component-set. Components that no
// calendar here can hold are left out; nil if that leaves none.
func parseComponents(e *element) []string {
	var out []string
	for _, c := range e.named(cal("comp")) {
		name, _ := c.attr("name")
		if name = strings.ToUpper(name); slices.Contains(components, name) && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

func writeMakeFailure(w http.ResponseWriter, r *request, changes []propertyChange) error {
	root := "C:mkcalendar-response"
	if r.Method == "MKCOL" {
		root = "D:mkcol-response"
	}
	var b bytes.Buffer
	b.WriteString(xml.Header + "<" + root + declarations + ">")
	writePropstats(&b, changes)
	b.WriteString("</" + root + ">\n")
	writeXML(w, r.Request, http.StatusForbidden, b.Bytes())
	return nil
}

// create makes a calendar and enters it in the user's home, in this order: if it
// breaks off between the two, a calendar is left that nobody can reach, and not a name
// that leads nowhere.
func (s *Server) create(ctx context.Context, u User, name string, args newCalendarArgs) error {
	ctx = context.WithoutCancel(ctx)
	stub, err := s.calendars.Get(s.calendars.NewID())
	if err != nil {
		return err
	}
	if err := durable.Exec(ctx, stub, (*calendar).Create, args); err != nil {
		return err
	}
	entry := homeEntryArgs{Name: name, ID: stub.ID().String(), Limit: s.opts.MaxCalendars}
	err = durable.Exec(ctx, s.home(u), (*home).Enter, entry)
	if errors.Is(err, errExists) || errors.Is(err, errFull) {
		s.erase(ctx, stub) // after other errors it may have been entered
	}
	return err
}

// erase deletes a calendar that has no name any more.
func (s *Server) erase(ctx context.Context, stub *durable.Stub) {
	// The name is gone, which the client is told; what is left behind is ours.
	if err := durable.Exec0(context.WithoutCancel(ctx), stub, (*calendar).Erase); err != nil {
		s.log.Error("calendar not erased", "id", stub.ID().String(), "error", err)
	}
}
