// Package calendar is the application's domain: calendars and events as assistants
// work with them, and the [Service] that reads and writes them on a CalDAV server,
// fast and without losing anything.
//
// # A tour
//
// A Service answers for many users; [Service.User] is the handle on one.
//
//	svc := calendar.New(accounts, runtime.Namespace("CalendarCache"), settings, nil)
//	me := svc.User("me")
//	page, err := me.ListEvents(ctx, calendar.Query{Start: "2026-03-09", End: "2026-03-15"})
//	made, err := me.CreateEvent(ctx, "", calendar.EventChange{
//		Title: calendar.To("Dentist"), Start: calendar.To("2026-03-10T09:00"),
//	}, nil)
//	moved, err := me.UpdateEvent(ctx, made.Event.CalendarID, made.Event.ID,
//		calendar.EventChange{Start: calendar.To("2026-03-11T09:00")}, calendar.Edit{})
//
// [Calendar] and [Event] have the fields and JSON names of mcp-nextcloud-calendar. What
// iCalendar says beyond them stays in the object: a change touches what it names and
// nothing else.
//
// # The copy
//
// Of each calendar that was asked for there is a whole copy in CalendarCache: every
// object as it is stored, with its entity tag, and the calendar's ctag and sync token.
// Ranges, expansion and filters are answered from it. Within the TTL nothing is asked;
// then the ctag decides, and only what changed is fetched. A write goes to the server
// and into the copy. While the server is down the last copy is served, marked as stale
// with its age. How this stays right is written at the top of refresh.go and of
// calcache/copy.go.
//
// # Time
//
// A date or time that a caller sends is a date, a local time, or a time with an offset.
// A local one is read in the zone given with it, else in the user's: his setting, else
// the calendar's zone, else that of the default calendar, else the server's, else UTC. Results name the
// zone. Instants are given back in UTC, all-day events as dates with an inclusive end.
//
// # Ids
//
// Ids are opaque. All occurrences of a series share the series' id and differ by their
// recurrence id; without one a change acts on the whole series.
//
// # Errors
//
// What a person can act upon is a [*Problem], in which errors.Is finds its kind.
package calendar
