package davserver

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/perdure/perdure/durable"
)

// get answers GET and HEAD: objects as they were sent.
func (s *Server) get(w http.ResponseWriter, r *request) error {
	if r.kind != objectKind {
		if _, err := s.load(r.Context(), &resource{s: s, user: r.user, target: r.target}); err != nil {
			return err
		}
		return notAllowed()
	}
	ctx := r.Context()
	stub, err := s.calendar(ctx, r.user, r.target.calendar)
	if err != nil {
		return err
	}
	args := readArgs{Names: []string{r.target.object}, Data: true}
	res, err := durable.Call(ctx, stub, (*calendar).Read, args)
	if err != nil {
		return err
	}
	if len(res.Objects) == 0 {
		return errNoObject
	}
	o := &res.Objects[0]
	c := conditionsOf(r.Header)
	h := w.Header()
	h.Set("ETag", `"`+o.Record.ETag+`"`)
	h.Set("Last-Modified", httpTime(o.Record.Modified))
	if !(conditions{Match: c.Match}).hold(o.Record.ETag, true) {
		return errCondition
	}
	if !(conditions{NoneMatch: c.NoneMatch}).hold(o.Record.ETag, true) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	h.Set("Content-Type", contentType(o.Record.Component))
	h.Set("Content-Length", strconv.Itoa(len(o.Data)))
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodGet {
		w.Write(o.Data)
	}
	return nil
}

// put stores an object exactly as it is sent, so that its ETag holds at once.
func (s *Server) put(w http.ResponseWriter, r *request) error {
	if r.kind != objectKind {
		return notAllowed()
	}
	if r.Header.Get("Content-Range") != "" {
		return status(http.StatusBadRequest, "A part of an object cannot be stored.")
	}
	ctx := r.Context()
	stub, err := s.calendar(ctx, r.user, r.target.calendar)
	if errors.Is(err, errNoCalendar) {
		return status(http.StatusConflict, "There is no such calendar.")
	}
	if err != nil {
		return err
	}
	if !isCalendarType(r.Header.Get("Content-Type")) {
		return refuse(cal("supported-calendar-data"), "Only text/calendar can be stored.")
	}
	data, err := s.readBody(w, r, s.opts.MaxObject)
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return refuse(cal("max-resource-size"), fmt.Sprintf("The object is larger than %d bytes.", tooLarge.Limit))
	}
	if err != nil {
		return err
	}
	info, err := durable.Call0(ctx, stub, (*calendar).Info)
	if err != nil {
		return err
	}
	args, err := examine(data, info.Record.Components)
	if err != nil {
		return err
	}
	args.Name, args.Conditions = r.target.object, conditionsOf(r.Header)
	res, err := durable.Call(ctx, stub, (*calendar).Put, args)
	if err != nil {
		return err
	}
	if res.ConflictsAt != "" {
		t := r.target
		t.object = res.ConflictsAt
		return &failure{
			status: http.StatusForbidden, condition: cal("no-uid-conflict"), inner: hrefElement(s.href(t)),
			text: "The UID belongs to another object, or the object has another UID.",
		}
	}
	if !res.Unchanged {
		s.changed(r.user, r.target.calendar, r.target.object)
	}
	w.Header().Set("ETag", `"`+args.ETag+`"`)
	if res.Created {
		w.Header().Set("Content-Length", "0")
		w.WriteHeader(http.StatusCreated)
		return nil
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// delete deletes an object or a whole calendar.
func (s *Server) delete(w http.ResponseWriter, r *request) error {
	ctx := r.Context()
	conds := conditionsOf(r.Header)
	switch r.kind {
	case objectKind:
		stub, err := s.calendar(ctx, r.user, r.target.calendar)
		if err != nil {
			return err
		}
		args := removeArgs{Name: r.target.object, Conditions: conds}
		if err := durable.Exec(ctx, stub, (*calendar).Remove, args); err != nil {
			return err
		}
	case calendarKind:
		if _, err := s.calendar(ctx, r.user, r.target.calendar); err != nil {
			return err
		}
		if !conds.hold("", true) { // a collection has no tag
			return errCondition
		}
		id, err := durable.Call(ctx, s.home(r.user), (*home).Leave, r.target.calendar)
		if err != nil {
			return err
		}
		// The one that Leave took out: by now the name may have been another calendar's
		// than when it was looked up.
		stub, err := s.calendarByID(id)
		if err != nil {
			return err
		}
		s.erase(ctx, stub)
	default:
		return status(http.StatusForbidden, "This cannot be deleted.")
	}
	s.changed(r.user, r.target.calendar, r.target.object)
	w.WriteHeader(http.StatusNoContent)
	return nil
}
