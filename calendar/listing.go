package calendar

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/perdure/perdure/calendar/caldav"
)

// listing is a user's calendars at one moment, with the settings that go with them.
type listing struct {
	home     caldav.Home
	origin   string
	all      []collection
	settings Settings
	server   *time.Location
	asked    bool // the server was asked just now, and ctags are of now
	fresh    Freshness
}

// find returns a calendar by its id. Ids are compared, never turned into paths.
func (l *listing) find(id string) (*collection, error) {
	if id == "" {
		return nil, invalid("calendarId", "it is empty; send the id of a calendar as listCalendars gave it.")
	}
	for i := range l.all {
		if l.all[i].ID == id {
			return &l.all[i], nil
		}
	}
	if l.fresh.Stale {
		return nil, unasked("The calendar server does not answer, and its last list has no calendar %q.", clip(id, 80))
	}
	return nil, notFound("There is no calendar %q. Send the id of one of these: %s.", clip(id, 80), l.someIDs())
}

// versionOf is a calendar's version if the server was asked just now, else nil.
func (l *listing) versionOf(c *collection) *caldav.Version {
	if !l.asked {
		return nil
	}
	return &caldav.Version{CTag: c.CTag, SyncToken: c.Token}
}

func (l *listing) someIDs() string {
	var ids []string
	for i := range min(len(l.all), 10) {
		ids = append(ids, l.all[i].ID)
	}
	if len(ids) == 0 {
		return "(the user has no calendars)"
	}
	return strings.Join(ids, ", ")
}

// defaultCalendar is the one that new events go to; nil if the user has none to write to.
func (l *listing) defaultCalendar() *collection {
	writable := func(c *collection) bool { return c.Events && c.Allowed.CanWrite }
	var candidates []*collection
	for i := range l.all {
		if writable(&l.all[i]) {
			candidates = append(candidates, &l.all[i])
		}
	}
	rank := func(c *collection) int {
		switch {
		case c.ID == l.settings.DefaultCalendar:
			return 0
		case c.ID == "personal":
			return 1
		case !c.Shared:
			return 2
		}
		return 3
	}
	if len(candidates) == 0 {
		return nil
	}
	return slices.MinFunc(candidates, func(a, b *collection) int { return cmp.Compare(rank(a), rank(b)) })
}

// usual are the calendars that are meant where none is named.
func (l *listing) usual() []*collection {
	var out []*collection
	for i := range l.all {
		c := &l.all[i]
		if c.Events && !c.isBirthdays() && !slices.Contains(l.settings.HiddenCalendars, c.ID) {
			out = append(out, c)
		}
	}
	return out
}

// zone is the user's time zone: his setting, else the calendar's, else that of his
// default calendar, else the server's.
func (l *listing) zone(c *collection) *time.Location {
	names := []string{l.settings.TimeZone}
	if c != nil {
		names = append(names, c.Zone)
	}
	if d := l.defaultCalendar(); d != nil {
		names = append(names, d.Zone)
	}
	for _, name := range names {
		if loc := namedZone(name); loc != nil {
			return loc
		}
	}
	return l.server
}

// calendar is what callers see of a collection.
func (l *listing) calendar(c *collection) Calendar {
	d := l.defaultCalendar()
	out := Calendar{
		ID: c.ID, DisplayName: c.Name, Color: c.Color, Owner: c.Owner, IsDefault: d != nil && d.ID == c.ID,
		IsShared: c.Shared, IsReadOnly: !c.Allowed.CanWrite, Permissions: c.Allowed, URL: l.origin + c.Href,
		Category: c.Category, Focus: c.Focus, TimeZone: c.Zone, IsHidden: slices.Contains(l.settings.HiddenCalendars, c.ID),
	}
	if out.Color == "" {
		out.Color = DefaultColor
	}
	// The server's word counts; our copy where it never gave any.
	if note, ok := l.settings.Calendars[c.ID]; ok && !note.Kept {
		if out.Category == "" {
			out.Category = note.Category
		}
		if out.Focus == 0 {
			out.Focus = note.Focus
		}
	}
	return out
}
