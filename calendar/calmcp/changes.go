package calmcp

import (
	"context"
	"slices"
	"time"

	"github.com/perdure/perdure/calendar"
)

// Changed returns which resources a change has changed, as far as it names them, and
// whether the list of resources has. A change that does not name what it changed (see
// [calendar.Change]) concerns further ones: ask [Surface.Touches] about each resource
// that somebody has subscribed to.
func (s *Surface) Changed(c calendar.Change) (uris []string, list bool) {
	if c.Calendars {
		uris, list = append(uris, calendarsURI), true
	}
	if c.Calendars || c.Calendar != "" {
		uris = append(uris, agendaURI)
	}
	if c.Calendar != "" {
		uris = append(uris, eventsURI(c.Calendar))
		for _, id := range c.Events {
			uris = append(uris, eventURI(c.Calendar, id))
		}
	}
	return uris, list
}

// Check has the copies of what somebody has subscribed to compared with the user's server
// where a read would, so that a [calendar.Change] comes of what differs. It returns when to
// look again.
func (s *Surface) Check(ctx context.Context, user string, uris []string) (again time.Duration, err error) {
	var calendars []string
	usual := false
	for _, uri := range uris {
		switch r, _ := parseURI(uri); {
		case r.kind == "agenda":
			usual = true
		case r.kind != "" && r.calendarID != "" && !slices.Contains(calendars, r.calendarID):
			calendars = append(calendars, r.calendarID)
		}
	}
	return s.opts.Calendars.User(user).Refresh(ctx, calendars, usual)
}

// Touches says whether a resource may have changed with c.
func (s *Surface) Touches(c calendar.Change, uri string) bool {
	r, ok := parseURI(uri)
	if !ok {
		return false
	}
	switch r.kind {
	case "agenda":
		return c.Calendar != "" || c.Calendars // of all calendars, so of which there are as well
	case "events":
		return r.calendarID == c.Calendar
	case "event":
		return r.calendarID == c.Calendar && (c.Events == nil || slices.Contains(c.Events, r.eventID))
	}
	return c.Calendars // a change does not say which calendar
}
