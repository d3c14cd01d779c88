package calmcp

import (
	"context"

	"github.com/perdure/perdure/durable"
)

// SessionClass and UserClass are the names of the classes.
const (
	SessionClass = "MCPSession"
	UserClass    = "MCPUser"
)

func sessionClass(link *Link) durable.Class {
	return durable.NewClass(SessionClass, func(_ context.Context, st *durable.State) (*mcpSession, error) {
		return &mcpSession{st, link}, nil
	}, nil)
}

// mcpSession is an object of class MCPSession.
type mcpSession struct {
	st   *durable.State
	link *Link
}
