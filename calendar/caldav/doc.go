// Package caldav is a CalDAV client (RFC 4791) that hands over raw iCalendar. It is made
// for servers as they are: each of its odd-looking habits answers a measured one of
// Nextcloud's, Radicale's or Xandikos's, and has a recorded dialogue in testdata.
//
// # A tour
//
// A [Client] speaks with one server as one user. [Client.Discover] finds where the user's
// calendars are, from whatever address a person typed; [Client.ListCalendars] lists them.
//
//	c, err := caldav.New("https://cloud.example.org", &caldav.Options{
//		Credential: caldav.Credential{Username: "alice", Password: appPassword},
//	})
//	home, err := c.Discover(ctx)
//	calendars, err := c.ListCalendars(ctx, home)
//
// To keep a copy of a calendar, [Client.Sync] with the token of the last time tells what
// changed, and [Client.Multiget] reads that. Where it says [ErrSyncUnsupported],
// [Client.ListObjects] gives all entity tags to compare. [Client.GetVersion] is the quick
// question whether anything changed at all.
//
// [Client.CreateObject] and [Client.UpdateObject] never overwrite what the caller has not
// seen: they send If-None-Match and If-Match. What they return is what the server stored.
//
// # Hrefs and entity tags
//
// Hrefs are paths in one canonical spelling, so that equal strings name equal resources;
// collections end in a slash. They come from the server, or from [Join]. Entity tags are
// strong and quoted whatever a proxy did to them. Both are opaque to callers.
//
// # Many users of one server
//
// [Client.As] gives a client for another user. All of them together keep to
// Options.Concurrency, share connections, and respect a pause that the server asked for. A
// credential that the server refused is not sent again by any of them; one not yet proven
// is tried by one request at a time. Clients are cheap, and safe for concurrent use.
//
// # What a server can't do
//
// It can't choose a host: redirects and hrefs that leave the configured scheme, host and
// port are an [OriginError], and plain http is refused except to this machine. It can't
// fill the memory: answers, objects, XML depth and elements have limits, and a document
// type declaration is an error. It can't make an error tell the password.
//
// # Errors
//
// An answer that is no success is a [StatusError], in which errors.Is finds [ErrNotFound]
// and its like. No answer at all is a [TransportError], which says whether a write may
// have happened. A write that happened but could not be read back is a [StoredError].
// Only requests that change nothing are repeated, and only a few times.
package caldav
