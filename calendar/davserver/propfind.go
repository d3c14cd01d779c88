package davserver

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/perdure/perdure/durable"
)

// Limits on the properties that a request asks for. The answer names each of them again
// for each resource, also those that nobody has, so that a short request could make an
// answer without end.
const (
	maxAsked      = 300     // names, and the parts of calendar-data
	maxAskedBytes = 8 << 10 // of all names with their namespaces
)

// selection is which properties a request asks for, each once.
type selection struct {
	all     bool // allprop
	names   bool // propname
	list    []xml.Name
	include []xml.Name // with allprop
}

// of returns the selected properties of a resource.
func (sel *selection) of(r *resource) []property {
	names := sel.list
	switch {
	case sel.names:
		all := r.names(true)
		props := make([]property, len(all))
		for i, n := range all {
			props[i] = r.property(n)
			if props[i].found {
				props[i].xml = emptyElement(n)
			}
		}
		return props
	case sel.all:
		names = r.names(false)
		for _, n := range sel.include {
			if !slices.Contains(names, n) {
				names = append(names, n)
			}
		}
	}
	props := make([]property, 0, len(names))
	for _, n := range names {
		props = append(props, r.property(n))
	}
	return props
}

// parseSelection reads what stands in a propfind or in a report beside its conditions.
func parseSelection(e *element) (*selection, error) {
	sel := new(selection)
	for _, c := range e.elements() {
		switch c.Name {
		case dav("prop"):
			var err error
			sel.list, err = askedNames(c)
			return sel, err
		case dav("allprop"):
			sel.all = true
		case dav("propname"):
			sel.names = true
		case dav("include"):
			var err error
			if sel.include, err = askedNames(c); err != nil {
				return nil, err
			}
		}
	}
	if sel.all && sel.names {
		return nil, status(http.StatusBadRequest, "Both allprop and propname.")
	}
	return sel, nil
}

// askedNames returns the names of the properties in e within the limits.
func askedNames(e *element) ([]xml.Name, error) {
	if e.count() > maxAsked {
		return nil, status(http.StatusBadRequest, fmt.Sprintf("More than %d properties are asked for.", maxAsked))
	}
	var names []xml.Name
	size := 0
	for _, p := range e.elements() {
		if slices.Contains(names, p.Name) {
			continue
		}
		names = append(names, p.Name)
		size += len(p.Name.Space) + len(p.Name.Local)
	}
	if size > maxAskedBytes {
		return nil, status(http.StatusBadRequest, fmt.Sprintf("The names of the properties are longer than %d bytes.", maxAskedBytes))
	}
	return names, nil
}

func (s *Server) propfind(w http.ResponseWriter, r *request) error {
	d, err := depth(r, 1)
	if err != nil {
		return err
	}
	if d < 0 {
		return refuse(dav("propfind-finite-depth"), "Depth must be 0 or 1.")
	}
	body, err := s.readXML(w, r)
	if err != nil {
		return err
	}
	sel := &selection{all: true}
	if body != nil {
		if body.Name != dav("propfind") {
			return status(http.StatusBadRequest, "The body is no propfind.")
		}
		if sel, err = parseSelection(body); err != nil {
			return err
		}
		if !sel.all && !sel.names && sel.list == nil && body.child(dav("prop")) == nil {
			return status(http.StatusBadRequest, "The propfind asks for nothing.")
		}
	}
	ctx := r.Context()
	res := &resource{s: s, user: r.user, target: r.target}
	stub, err := s.load(ctx, res)
	if err != nil {
		return err
	}
	m := newMultistatus(w, r.Request)
	err = m.response(s.href(r.target), sel.of(res))
	if err == nil && d == 1 {
		err = s.members(ctx, m, res, stub, sel)
	}
	if err != nil {
		return m.abort(ctx, err)
	}
	return m.end("")
}

// load reads what properties of a resource need. The stub is that of its calendar.
func (s *Server) load(ctx context.Context, r *resource) (*durable.Stub, error) {
	if r.kind != calendarKind && r.kind != objectKind {
		return nil, nil
	}
	stub, err := s.calendar(ctx, r.user, r.target.calendar)
	if err != nil {
		return nil, err
	}
	info, err := durable.Call0(ctx, stub, (*calendar).Info)
	if err != nil {
		return nil, err
	}
	r.info = &info
	if r.kind == objectKind {
		res, err := durable.Call(ctx, stub, (*calendar).Read, readArgs{Names: []string{r.target.object}})
		if err != nil {
			return nil, err
		}
		if len(res.Objects) == 0 {
			return nil, errNoObject
		}
		r.obj = &res.Objects[0]
	}
	return stub, nil
}

// members adds what is directly inside a collection.
func (s *Server) members(ctx context.Context, m *multistatus, r *resource, stub *durable.Stub, sel *selection) error {
	add := func(t target, info *calendarInfo) error {
		return m.response(s.href(t), sel.of(&resource{s: s, user: r.user, target: t, info: info}))
	}
	segment := r.user.segment()
	switch r.kind {
	case rootKind:
		if err := add(target{kind: principalsAll}, nil); err != nil {
			return err
		}
		return add(target{kind: homesAll}, nil)
	case principalsAll:
		return add(target{kind: principalKind, user: segment}, nil)
	case homesAll:
		return add(target{kind: homeKind, user: segment}, nil)
	case homeKind:
		return s.eachCalendar(ctx, r.user, func(name string, info *calendarInfo) error {
			return add(target{kind: calendarKind, user: r.target.user, calendar: name}, info)
		})
	case calendarKind:
		return s.eachObject(ctx, stub, func(o *object) error {
			t := target{kind: objectKind, user: r.target.user, calendar: r.target.calendar, object: o.Name}
			return m.response(s.href(t), sel.of(&resource{s: s, user: r.user, target: t, info: r.info, obj: o}))
		})
	}
	return nil
}

// eachCalendar calls fn for the user's calendars.
func (s *Server) eachCalendar(ctx context.Context, u User, fn func(name string, info *calendarInfo) error) error {
	list, err := durable.Call0(ctx, s.home(u), (*home).Calendars)
	if err != nil {
		return err
	}
	for _, c := range list {
		stub, err := s.calendarByID(c.ID)
		if err != nil {
			return err
		}
		info, err := durable.Call0(ctx, stub, (*calendar).Info)
		if errors.Is(err, errNoCalendar) {
			continue // deleted meanwhile
		}
		if err != nil {
			return err
		}
		if err := fn(c.Name, &info); err != nil {
			return err
		}
	}
	return nil
}

// listPage is how many objects a call to List returns.
const listPage = 2000

// eachObject calls fn for the objects of a calendar, without their data.
func (s *Server) eachObject(ctx context.Context, stub *durable.Stub, fn func(o *object) error) error {
	after := ""
	for {
		page, err := durable.Call(ctx, stub, (*calendar).List, listArgs{After: after, Limit: listPage})
		if err != nil {
			return err
		}
		for i := range page {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := fn(&page[i]); err != nil {
				return err
			}
		}
		if len(page) < listPage {
			return nil
		}
		after = page[len(page)-1].Name
	}
}
