package worker

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/perdure/perdure/calendar"
	"github.com/perdure/perdure/calendar/accounts"
	"github.com/perdure/perdure/calendar/calmcp"
	"github.com/perdure/perdure/calendar/sessions"
)

// Where MCP is served: Streamable HTTP, and the two halves of HTTP+SSE.
const (
	mcpPath      = "/mcp"
	ssePath      = "/sse"
	messagesPath = "/messages"
)

func (w *Worker) openMCP() {
	w.surface = calmcp.NewSurface(&calmcp.SurfaceOptions{
		Calendars: w.calendar, Sessions: w.rt.Namespace(sessions.ClassName),
		Name: w.opts.Name, Version: w.opts.Version, Logger: w.log,
	})
	w.mcp = calmcp.NewHandler(w.rt, &calmcp.HandlerOptions{
		Link: w.opts.Link, Server: w.surface.Server, Check: w.lookElsewhere, MessagesPath: messagesPath, KeepAlive: w.opts.KeepAlive, Logger: w.log,
	})
}

// lookElsewhere has changes found on a user's server that clients have subscribed to.
func (w *Worker) lookElsewhere(ctx context.Context, user string, uris []string) (again time.Duration) {
	again, err := w.surface.Check(ctx, user, uris)
	if err != nil && ctx.Err() == nil && !errors.Is(err, accounts.ErrNoUser) {
		w.log.LogAttrs(ctx, slog.LevelInfo, "a user's calendars could not be checked", slog.String("user", user), slog.Any("error", err))
	}
	return again
}

// serveMCP lets in who brings a user's token. Whose a session is, the handler knows.
func (w *Worker) serveMCP(rw http.ResponseWriter, r *http.Request, path string) {
	w.asUser(rw, r, &w.mcpDoor, func(rw http.ResponseWriter, r *http.Request, u accounts.User) {
		w.serveMCPTo(rw, r, path, u)
	})
}

func (w *Worker) serveMCPTo(rw http.ResponseWriter, r *http.Request, path string, u accounts.User) {
	if w.mcp == nil {
		w.refuse(rw, r, errNoCalendar)
		return
	}
	h := w.mcp.MCP()
	switch path {
	case ssePath:
		h = w.mcp.SSE()
	case messagesPath:
		h = w.mcp.Messages()
	}
	rw.Header().Set("Cache-Control", "no-store") // it is one user's
	ctx := calmcp.WithUser(r.Context(), u.ID)
	if isStream(r) {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(w.streams, cancel)()
	}
	h.ServeHTTP(rw, r.WithContext(ctx))
}

// isStream tells requests that would go on for ever from those that end by themselves.
func isStream(r *http.Request) bool {
	return r.Method == http.MethodGet || r.Header.Get("Mcp-Method") == "subscriptions/listen"
}

// controlMCP serves a program on this machine that speaks for a client of the folder's
// owner, as any user. It counts for no limit: whoever comes this way could do anything.
func (w *Worker) controlMCP(rw http.ResponseWriter, r *http.Request) {
	if !w.running.enter() {
		w.ending(rw, r)
		return
	}
	defer w.running.leave()
	u, err := w.findUser(r)
	if err != nil {
		status, text := controlProblem(err)
		fail(rw, status, text)
		return
	}
	if u.ID != accounts.Me {
		visit, leave := w.visits.enter(r, u.ID, rw)
		defer leave()
		if _, err := w.accounts.Find(visit.Context(), u.ID); err != nil { // anew: see visits
			status, text := controlProblem(err)
			fail(rw, status, text)
			return
		}
		r = visit
	}
	w.serveMCPTo(rw, r, mcpPath, u)
}

// notify tells a user's MCP clients what to read anew.
func (w *Worker) notify(ctx context.Context, c calendar.Change) error {
	if w.mcp == nil {
		return nil
	}
	if c.Calendars || c.Calendar != "" && c.Events == nil {
		_, list := w.surface.Changed(c)
		w.mcp.NotifyTouched(ctx, c.User, func(uri string) bool { return w.surface.Touches(c, uri) }, list)
		return nil
	}
	uris, list := w.surface.Changed(c)
	w.mcp.Notify(ctx, c.User, uris, list)
	return nil
}
