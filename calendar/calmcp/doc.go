// Package calmcp is the calendar as assistants meet it: tools, resources and prompts of the
// Model Context Protocol over a [calendar.Service], and the transports that serve them.
//
// # The surface
//
// A [Surface] is made once. [Surface.Server] makes the server for one caller of it: cheap
// enough to be made for each request, and never shared by two users.
//
//	surface := calmcp.NewSurface(&calmcp.SurfaceOptions{Calendars: service, Sessions: runtime.Namespace("SessionStore")})
//	server := surface.Server(calmcp.Caller{User: "me"}, nil) // an mcp.Server for any transport
//
// A tool is an entry in the tables of tools_*.go: what is listed, and a function over
// [calendar.User]. Around all of them stand the same steps, in tool.go: its arguments are
// checked (arguments.go), its session is found (sessions.go), it runs, the session is
// recorded, and the answer becomes JSON as text and as structured content (result.go). Errors
// become words in one place (errors.go). Text from calendars leaves through one encoder,
// which shows what is invisible (escape.go), and never where the server speaks of itself.
//
// Resources (resources.go) are the same answers under URIs, [Surface.Changed] and
// [Surface.Touches] what a [calendar.Change] means for those who subscribe to them.
//
// # The transports
//
// A [Handler] serves servers like those of a Surface over HTTP, all revisions of the
// protocol on one endpoint, to users whom somebody else has checked:
//
//	link := new(calmcp.Link)
//	runtime, err := durable.Open(store, &durable.Options{Classes: calmcp.Classes(link)})
//	handler := calmcp.NewHandler(runtime, &calmcp.HandlerOptions{Link: link, Server: surface.Server})
//	mux.Handle("/mcp", withUser(handler.MCP())) // calmcp.WithUser in the request's context
//
// It only decides where a request belongs (handler.go, era.go). Sessions of the older
// revisions are objects of class MCPSession, one each (mcpsession.go): they keep what the
// client has said, and bring the SDK's session back from it (mcpsession_live.go), with the
// SDK's stock handler inside Await (mcpsession_serve.go) and an event store over the
// object's storage (eventlog.go). A session of HTTP+SSE is such an object for as long as its
// stream is open (sse.go). What has no session runs in the object of its user, of class
// MCPUser, which is also the index of the user's sessions (mcpuser.go). [Handler.Notify]
// asks it whom to tell. While streams are open that want to know, what changes on servers
// elsewhere is looked for (watch.go). [ServeStdio] is a client of all that on behalf of one on standard
// input (stdio.go).
package calmcp
