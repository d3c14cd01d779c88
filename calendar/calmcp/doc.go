// Package calmcp is the calendar as assistants meet it: tools, resources and prompts of the
// Model Context Protocol over a [calendar.Service], and the transports that serve them.
//
// # The surface
//
// A [Surface] is made once. [Surface.Server] makes the server for one caller of it: cheap
// enough to be made for each request, and never shared by two users.
package calmcp
