// Package calcache is the class CalendarCache: copies of calendars, events and
// preferences that can be had again elsewhere, each for a limited time, for any
// number of users in one object.
//
// # Requests
//
//	GET, PUT /calendars            a user's calendars
//	GET, PUT /events/{calendar}    the events of one calendar; its id is one path segment, percent-decoded
//	GET, PUT /preferences          a user's preferences
//	DELETE   /clear                200 {"success":true,"clearedEntries":N}: forgets all of a user
//
// The query parameter userId says whose: "default" if it is absent or empty. What
// is put is a JSON object or array; it replaces what was there and is answered
// with {"success":true}. A GET returns it as it was sent (numbers digit for digit,
// members in order) with X-Cache: HIT and its age in milliseconds in
// X-Cache-Age, or 404 {"error":"Cache miss"} with X-Cache: MISS. Other errors are {"error"}
// too: 400 for a bad request, 413 with "limit" and "size" for an entry that is too
// large to store. Whatever the answer, the object goes on, and after an error
// nothing has changed.
//
// # Lifetime
//
// An entry lives for CACHE_TTL (a variable, default 5m), preferences for
// PREFERENCES_TTL (default 24h), from the moment they were put. Then they are gone; an alarm
// deletes them.
//
// # Storage
//
//	e USER c             a user's calendars
//	e USER e CALENDAR    events of one calendar
//	e USER p             preferences
//	x DUE KEY            an entry of the expiry index for one of the above
//
// USER and CALENDAR are an id's length in bytes, a colon and the id; or, for an id of
// over 256 bytes, # and its SHA-256 in hex. Either says where it ends, so no two
// entries share a key, whatever their ids hold.
// A value is a CBOR map of the kind (1: the letter above), when it was put (2), its
// due time in the index (3), and the JSON (4).
package calcache
