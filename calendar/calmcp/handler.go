package calmcp

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/perdure/perdure/durable"
)

// HandlerOptions configures a [Handler]. A zero field means its default.
type HandlerOptions struct {
	// Link is what [Classes] was called with. It is needed.
	Link *Link

	// Server returns a new server for a caller: [Surface.Server]. It is needed. It must use
	// what opts sets, must not wait for anything, and is called again for the same session
	// whenever that comes back into memory; none of its servers is ever shared by two users.
	Server func(c Caller, opts *mcp.ServerOptions) *mcp.Server

	// MessagesPath is where clients of HTTP+SSE send messages. Default: "/messages".
	MessagesPath string

	// KeepAlive is how often an open stream gets a comment, so that nobody on the way
	// takes it for dead. Default: 30 s; negative: never.
	KeepAlive time.Duration

	// SessionTTL is how long a session of the older eras lives from its last use; an open
	// stream uses it. Default: 7 days.
	SessionTTL time.Duration

	// MaxSessions is how many sessions of the older eras a user may have. The one unused
	// for the longest time ends for one more. Default: 256.
	MaxSessions int

	// MaxStreams is how many requests of one session, and how many stateless requests of one
	// user, may be under way, open streams counted in; more are answered 429. Default: 64.
	MaxStreams int

	// MaxSubscriptions is how many resources a session may have subscribed to. Default: 256.
	MaxSubscriptions int

	// MaxBodyBytes bounds a request's body; longer ones are answered 413. Default: 4 MiB.
	MaxBodyBytes int64

	// LogEvents and LogBytes bound what a session keeps of its streams for clients that come
	// back. What is dropped can't be replayed: 400. Defaults: 512 events, 1 MiB.
	LogEvents int
	LogBytes  int

	// Logger receives what no client can be told. Nil discards.
	Logger *slog.Logger
}

// Handler serves the Model Context Protocol, all revisions, to users whom somebody else
// has checked: requests need [WithUser]. It may be used by any goroutine.
type Handler struct {
	rt   *durable.Runtime
	opts HandlerOptions
	log  *slog.Logger

	life context.Context // ends with Close
	end  context.CancelFunc
	wg   sync.WaitGroup
}

// NewHandler returns a handler on a runtime that has the [Classes] of the same [Link].
func NewHandler(rt *durable.Runtime, opts *HandlerOptions) *Handler {
	h := &Handler{rt: rt, opts: *opts, log: opts.Logger}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	h.life, h.end = context.WithCancel(context.Background())
	opts.Link.handler.Store(h)
	return h
}

type userKey struct{}

// WithUser returns a context for requests of a user, by id. What it says is trusted.
func WithUser(ctx context.Context, user string) context.Context {
	return context.WithValue(ctx, userKey{}, user)
}

func userOf(ctx context.Context) (user string, ok bool) {
	user, ok = ctx.Value(userKey{}).(string)
	return user, ok && user != ""
}

// MCP serves /mcp: Streamable HTTP of all revisions, stateless and with sessions.
func (h *Handler) MCP() http.Handler { return http.HandlerFunc(h.unavailable) }

// SSE serves GET /sse: the stream of HTTP+SSE, which is the session.
func (h *Handler) SSE() http.Handler { return http.HandlerFunc(h.unavailable) }

// Messages serves POST /messages?sessionId=: what clients of HTTP+SSE send.
func (h *Handler) Messages() http.Handler { return http.HandlerFunc(h.unavailable) }

func (h *Handler) unavailable(w http.ResponseWriter, r *http.Request) {
	http.Error(w, "the server is shutting down", http.StatusServiceUnavailable)
}

// Notify tells the user's clients, wherever their sessions and streams are, that
// resources have changed: uris to those that have subscribed to them, and, with list, to
// everybody that the list of resources has changed. It returns when sessions whose client
// is not connected have written it down.
func (h *Handler) Notify(ctx context.Context, user string, uris []string, list bool) {}

// NotifyTouched is Notify for what can't be listed: each resource that a client of the user
// has subscribed to is one that has changed if touched says so.
func (h *Handler) NotifyTouched(ctx context.Context, user string, touched func(uri string) bool, list bool) {
}

// EndUser ends all streams and sessions of a user who was removed, and deletes what is
// kept of them. It may be called again.
func (h *Handler) EndUser(ctx context.Context, user string) error { return nil }

// Close ends all streams and returns when their requests are over. Later requests are
// answered 503. It may be called again.
func (h *Handler) Close() error {
	h.end()
	h.wg.Wait()
	return nil
}
