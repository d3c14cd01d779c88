package calmcp

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/durable/durabletest"
)

// Quiet waits until no request of a session is under way and its log is saved.
func Quiet(ctx context.Context, stub *durable.Stub) bool {
	for range 20000 {
		quiet := false
		err := durabletest.Run(ctx, stub, func(_ context.Context, _ *durable.State, s *mcpSession) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			quiet = s.requests == 0 && !s.sse && (s.live == nil || !s.live.log.any())
			return nil
		})
		if err != nil {
			return false
		}
		if quiet {
			return true
		}
		time.Sleep(time.Millisecond)
	}
	return false
}

// Index returns the sessions in a user's index.
func Index(ctx context.Context, stub *durable.Stub) (all []string, err error) {
	err = durabletest.Run(ctx, stub, func(_ context.Context, _ *durable.State, u *mcpUser) error {
		for id := range u.sessions {
			all = append(all, id)
		}
		return nil
	})
	return all, err
}

// NoteCalls is what happens when calls of a session take longer than a second.
func NoteCalls(h *Handler, session string) {
	var l *live
	_ = durabletest.Run(context.Background(), h.session(session), func(_ context.Context, _ *durable.State, s *mcpSession) error {
		l = s.live
		return nil
	})
	l.mu.Lock()
	var posts []*post
	for _, p := range l.posts {
		posts = append(posts, p)
	}
	l.mu.Unlock()
	for _, p := range posts {
		l.noteCalls(p)
	}
}

// LeaveStreams puts n sessions of HTTP+SSE into a user's index that are not there any more,
// each with two long subscriptions.
func LeaveStreams(ctx context.Context, stub *durable.Stub, n int) error {
	for i := range n {
		err := durabletest.Run(ctx, stub, func(ctx context.Context, st *durable.State, u *mcpUser) error {
			id := fmt.Sprintf("%0*d", idLength, i)
			_, err := u.Enter(ctx, entry{id, sessionEntry{st.Now().UnixMilli(), true}, n + 1})
			for j := range 2 {
				err = cmp.Or(err, u.Watch(ctx, watch{id, strings.Repeat(fmt.Sprint(j), 1000)}))
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
