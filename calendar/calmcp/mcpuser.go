package calmcp

import (
	"context"

	"github.com/perdure/perdure/durable"
)

func userClass(link *Link) durable.Class {
	return durable.NewClass(UserClass, func(_ context.Context, st *durable.State) (*mcpUser, error) {
		return &mcpUser{st, link}, nil
	}, nil)
}

// mcpUser is an object of class MCPUser.
type mcpUser struct {
	st   *durable.State
	link *Link
}
