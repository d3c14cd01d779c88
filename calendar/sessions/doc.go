// Package sessions is the class SessionStore: sessions with a sliding lifetime,
// any number of them in one object.
//
// # Requests
//
//	POST   /create   {"sessionId"?, "userId"?, "data"?}   200 {"sessionId","session"}
//	GET    /get?id=                                       200 {"session"}
//	POST   /update   {"sessionId", "data"?}               200 {"session"}, data merged member by member
//	DELETE /delete?id=                                    200 {"success"}
//
// A session is {"id","createdAt","updatedAt","userId"?,"data"}, times in Unix
// milliseconds. Errors are {"error"}: 400 for a bad request, 404 for a session
// that is not there, 409 for a sessionId that is taken, 413 with "limit" and "size"
// for a session that is too large to store. Whatever the answer, the object goes
// on, and after an error nothing has changed.
// What is in data comes back as it was sent: numbers digit for digit, members in
// order; of members with the same name the last value counts.
//
// In the same process the methods of [Store] do the same for a session and its user: see
// [Store.Find] and [Store.Visit]. There another user's session is like none.
//
// # Lifetime
//
// A session lives for SESSION_TTL (a variable, default 1h) from its last get or
// update; an alarm deletes it afterwards. The renewal is written only when the last
// one written is at least a 60th of the lifetime old; in between it is kept in
// memory. So eviction or a crash may cost a session up to a 60th of its
// lifetime, and most gets write nothing.
//
// # Storage
//
//	s ID       a session: CBOR map of createdAt (1), updatedAt as last written (2),
//	           due time in the index (3), userId as JSON (4, absent if not given), data as JSON (5)
//	x DUE ID   an entry of the expiry index
//
// Each request reads and writes the keys of its own session only: its cost does
// not depend on how many there are.
package sessions
