package calmcp

import (
	"context"
	"errors"
	"io"
	"net/http"
)

// StdioOptions configures [ServeStdio].
type StdioOptions struct {
	// Client reaches a [Handler]'s MCP, in this process by [InProcess] or in another. It is needed.
	Client *http.Client

	// URL is that of the endpoint. Default: "http://perdure/mcp".
	URL string

	// Header is added to each request.
	Header http.Header
}

// ServeStdio serves one client that speaks newline-delimited JSON-RPC: it passes on what
// comes from in to the server that opts.Client reaches, and writes what that sends to out,
// notifications and requests of the server's own included. It returns nil after the end of
// in, when requests under way have been answered, and ctx's error when that ends.
func ServeStdio(ctx context.Context, in io.Reader, out io.Writer, opts *StdioOptions) error {
	return errors.ErrUnsupported
}

// InProcess returns a transport to a handler in this process whose answers arrive as they
// are written, for requests of the given user.
func InProcess(h *Handler, user string) http.RoundTripper { return nil }
