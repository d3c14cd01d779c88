package calmcp

import (
	"errors"
	"sync/atomic"

	"github.com/perdure/perdure/durable"
)

// Link joins the objects of [Classes], which are made known before there is a runtime,
// with the [Handler] that is made on it. The zero Link is ready; give the same one to
// both. Until there is a handler, objects answer requests with an error.
type Link struct{ handler atomic.Pointer[Handler] }

// errNoHandler: the program has classes and serves no MCP.
var errNoHandler = errors.New("calmcp: no handler is linked with the classes")

// get returns the handler.
func (l *Link) get() (*Handler, error) {
	if h := l.handler.Load(); h != nil {
		return h, nil
	}
	return nil, errNoHandler
}

// Classes returns the classes that a [Handler] needs: MCPSession, one object for each
// session of the older eras, and MCPUser, one for each user. They are built in: what
// reaches their objects is trusted, so that no gateway may lead there.
func Classes(link *Link) []durable.Class {
	return []durable.Class{sessionClass(link), userClass(link)}
}
