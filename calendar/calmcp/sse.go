package calmcp

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/perdure/perdure/durable"
)

// serveSSE serves the stream of HTTP+SSE. The session lives as long as the stream, and
// nothing of it is stored: a client whose stream has ended begins a new one. Its user is
// kept here, and checked for each message, which may come from anybody.
func (s *mcpSession) serveSSE(h *Handler, w http.ResponseWriter, r *http.Request, user string) error {
	ctx := r.Context()
	if s.rec != nil || s.live != nil || user == "" {
		return problemNoSession
	}
	l, err := newLive(h, s, user)
	if err != nil {
		return err
	}
	s.live, s.sse = l, true
	s.open()
	defer s.shut()
	if err := s.enterIndex(ctx, h, s.now()); err != nil {
		s.drop(ctx)
		return err
	}
	header := w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-cache, no-transform")
	err = s.st.Await(ctx, func(ctx context.Context) error {
		l.base = context.WithoutCancel(ctx)
		out := newQueue(w, l.stop)
		defer out.close()
		l.sse = &mcp.SSEServerTransport{
			Endpoint: h.opts.MessagesPath + "?sessionId=" + url.QueryEscape(s.id()), Response: out, MaxRequestBodyBytes: -1,
		}
		if _, err := l.server.Connect(context.Background(), l.sse, nil); err != nil {
			return err
		}
		close(l.ready)
		s.stayIn(ctx, h, l)
		l.close()
		return nil
	})
	if err != nil {
		return err
	}
	s.live, s.sse, s.subs = nil, false, map[string]subscription{}
	return durable.Exec(context.WithoutCancel(ctx), h.user(user), (*mcpUser).Leave, s.id())
}

// open says that the stream is open: it is the standalone one, too.
func (s *mcpSession) open() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.standing++
}

func (s *mcpSession) shut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shutLocked()
}

// stayIn returns at the end of the stream. Now and then it says to the index that the
// session is there.
func (s *mcpSession) stayIn(ctx context.Context, h *Handler, l *live) {
	says := time.NewTicker(streamSays)
	defer says.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.life.Done():
			return
		case <-says.C:
			if err := s.enterIndex(ctx, h, s.now()); err != nil {
				h.log.LogAttrs(ctx, slog.LevelWarn, "a stream could not say that it is there", slog.String("user", l.caller.User), slog.Any("error", err))
			}
		}
	}
}

// serveMessage serves a message for the session of an open stream of HTTP+SSE.
func (s *mcpSession) serveMessage(h *Handler, w http.ResponseWriter, r *http.Request, user string) error {
	l := s.live
	if l == nil || !s.sse || l.caller.User != user {
		return problemNoSession
	}
	if !s.enter(h.opts.MaxStreams) {
		return problemBusy(h.opts.MaxStreams)
	}
	defer s.leave()
	return s.st.Await(r.Context(), func(ctx context.Context) error {
		select {
		case <-l.ready:
			l.sse.ServeHTTP(w, r.WithContext(ctx))
		case <-ctx.Done():
		case <-l.life.Done():
			problemNoSession.write(w)
		}
		return nil
	})
}
