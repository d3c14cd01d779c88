// Package nextcloud is what Nextcloud has beside CalDAV: logging in without giving the
// password away, the user's real id, the server's state, and its calendar trash.
//
// All of it goes through a [caldav.Client] and so keeps to its rules: one origin, limits,
// and errors without credentials.
//
// # Logging in
//
// Login Flow v2 gives a program an app password of its own, which the user can revoke, and
// works with two-factor authentication. [Start] asks the server for a page, which the user
// opens in a browser; [Flow.Wait] returns when the user has agreed there. What the server
// answers with, the page, the address to poll and its own, must have the origin that the
// user typed.
//
//	c, err := caldav.New(address, &caldav.Options{UserAgent: "Perdure on " + host})
//	flow, err := nextcloud.Start(ctx, c)
//	fmt.Println("Open", flow.Page)
//	grant, err := flow.Wait(ctx)
//	c = c.As(grant.Credential)
//
// # The trash
//
// Nextcloud keeps what is deleted for 30 days (unless set otherwise). A deleted calendar
// still answers at its address, stays listed in the home with another type, and its name
// is taken; a deleted object's UID can't be used again in its calendar. Package caldav
// knows all of this; [Server.PurgeCalendar] deletes a calendar past the trash.
package nextcloud
