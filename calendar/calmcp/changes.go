package calmcp

import (
	"slices"
	"strings"

	"github.com/perdure/perdure/calendar"
)

// calendarsURI is the list of calendars; everything else is below it.
const calendarsURI = "calendar://calendars"

func calendarURI(calendarID string) string       { return calendarsURI + "/" + calendarID }
func eventsURI(calendarID string) string         { return calendarURI(calendarID) + "/events" }
func eventURI(calendarID, eventID string) string { return eventsURI(calendarID) + "/" + eventID }

// Changed returns which resources a change has changed, as far as it names them, and
// whether the list of resources has. A change that does not name what it changed (see
// [calendar.Change]) concerns further ones: ask [Surface.Touches] about each resource
// that somebody has subscribed to.
func (s *Surface) Changed(c calendar.Change) (uris []string, list bool) {
	if c.Calendars {
		uris, list = append(uris, calendarsURI), true
	}
	if c.Calendar != "" {
		uris = append(uris, eventsURI(c.Calendar))
		for _, id := range c.Events {
			uris = append(uris, eventURI(c.Calendar, id))
		}
	}
	return uris, list
}

// Touches says whether a resource may have changed with c.
func (s *Surface) Touches(c calendar.Change, uri string) bool {
	uri, _, _ = strings.Cut(uri, "?")
	rest, ok := strings.CutPrefix(uri, calendarsURI)
	if !ok {
		return false
	}
	parts := strings.Split(strings.TrimPrefix(rest, "/"), "/")
	switch {
	case rest == "" || len(parts) == 1: // the list, or one calendar: a change does not say which
		return c.Calendars
	case parts[0] != c.Calendar || parts[1] != "events":
		return false
	case len(parts) == 2:
		return true
	}
	return len(parts) == 3 && (c.Events == nil || slices.Contains(c.Events, parts[2]))
}
