package calmcp

import (
	"log/slog"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/perdure/perdure/calendar"
	"github.com/perdure/perdure/durable"
)

// Caller is for whom a server is made.
type Caller struct {
	User    string // user id
	Session string // MCP session id of the older eras; "" in the stateless one
}

// SurfaceOptions configures a [Surface].
type SurfaceOptions struct {
	// Calendars answers for the users' calendars. It is needed.
	Calendars *calendar.Service

	// Sessions is the namespace of class SessionStore, which holds what tools remember
	// of a session. Nil remembers nothing.
	Sessions *durable.Namespace

	Name    string // of the server; default "nextcloud-calendar-server"
	Version string

	// Logger receives what no client can be told. Nil discards.
	Logger *slog.Logger
}

// Surface is the tools, resources and prompts, for any number of callers. It may be used
// by any goroutine.
type Surface struct {
	opts    SurfaceOptions
	log     *slog.Logger
	schemas *mcp.SchemaCache
}

// NewSurface returns the surface of a calendar service.
func NewSurface(opts *SurfaceOptions) *Surface {
	s := &Surface{opts: *opts, log: opts.Logger, schemas: mcp.NewSchemaCache()}
	if s.opts.Name == "" {
		s.opts.Name = "nextcloud-calendar-server"
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	return s
}

// Server returns a new server with all tools, resources and prompts for one caller. What
// opts sets is kept: a transport's session id, subscriptions, keep-alive and logger.
func (s *Surface) Server(c Caller, opts *mcp.ServerOptions) *mcp.Server {
	var o mcp.ServerOptions
	if opts != nil {
		o = *opts
	}
	o.SchemaCache = s.schemas
	return mcp.NewServer(&mcp.Implementation{Name: s.opts.Name, Version: s.opts.Version}, &o)
}
