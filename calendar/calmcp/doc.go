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
package calmcp
