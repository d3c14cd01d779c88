// Package davserver is a CalDAV server whose calendars are durable objects.
//
//	rt, err := durable.Open(store, &durable.Options{Classes: davserver.Classes()})
//	dav := davserver.New(rt, nil)
//	mux.Handle("/dav/", authenticate(dav))              // sets davserver.WithUser
//	mux.Handle("/.well-known/caldav", dav)
//
// # What it speaks
//
// WebDAV (RFC 4918) without locks, COPY and MOVE; CalDAV (RFC 4791) with
// calendar-query, calendar-multiget and free-busy-query, expand and
// limit-recurrence-set; collection synchronisation (RFC 6578) with limits; extended
// MKCOL (RFC 5689); current-user-principal (RFC 5397); Prefer: return=minimal (RFC
// 8144); the collection tag (getctag), calendar-color and calendar-order that
// clients ask for. There is no scheduling.
//
//	PREFIX                                     where discovery begins
//	PREFIX principals/USER/                    the user
//	PREFIX calendars/USER/                     his calendars
//	PREFIX calendars/USER/CALENDAR/            one
//	PREFIX calendars/USER/CALENDAR/OBJECT      an event, a to-do or a journal entry
//
// USER is the user's name or id. A user sees his own paths; all others are 404. Objects
// keep the bytes that were sent: a strong ETag in the answer to a PUT says so.
//
// # Choices where the standards leave one
//
//   - Nothing is repaired: what is not valid is refused with the precondition that
//     names what is wrong. Missing VTIMEZONEs, an end before the start and
//     the like are valid enough.
//   - The UID of an object can't change, and no two objects of a calendar share one
//     (no-uid-conflict).
//   - Dates and floating times are read in the calendar's calendar-timezone, or in
//     the timezone of a query, else in UTC.
//   - An object that takes too much work to match (a rule with a part that
//     almost never comes true) is part of the answer.
//   - The ETag is a hash of the bytes: the same data again changes nothing.
//   - Changing a property of a calendar moves its ctag and sync token.
//   - A PROPFIND without Depth means Depth: 1.
//
// # Storage
//
// Home, one object per user id:
//
//	h            {1: created, 2: next order}, once the user has had a calendar
//	n NAME       {1: id of the Calendar, 2: order}
//
// Calendar, one object per random id:
//
//	c            {1: created, 2: components, 3: number of the last change, 4: modified}
//	p {NS}NAME   a property that a client has set: its element, as text
//	o NAME       an object: {1: ETag, 2: size, 3: UID, 4: component, 5: modified, 6: {First, Last}}
//	d NAME 0 I   its bytes, piece I of 120 KiB
//	u UID        the name of the object with that UID
//	x L F NAME   index: Last of an object of level L that begins at F
//	l N          change N: the object's name, "" for a change of properties
//
// All values are CBOR. Times are Unix milliseconds, First and Last seconds. NAME is decoded; 0
// is a zero byte, which no name holds, I a byte from '0' on. L is a byte from '0' on: spans of
// up to 4, 64 and 1024 days, and all others. F is eight bytes, big-endian, with the sign
// flipped; N is eight bytes, big-endian. Entries of the change log older than
// 10,000 changes are deleted.
//
// A calendar is made and then entered in Home, taken out of Home and then erased. What
// breaks off in between leaves a Calendar that has no name: space, but nothing that
// anybody could see.
package davserver
