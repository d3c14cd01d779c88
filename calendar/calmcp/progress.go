package calmcp

import (
	"context"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// A call that takes longer than progressAfter tells its client so, if it gave a token,
// and again every progressEvery.
const (
	progressAfter = time.Second
	progressEvery = 5 * time.Second
)

// progress begins to report on a request. The caller calls stop before it answers.
func progress(ctx context.Context, session *mcp.ServerSession, token any, message string) (stop func()) {
	if token == nil || session == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		timer := time.NewTimer(progressAfter)
		defer timer.Stop()
		begun := time.Now()
		for {
			select {
			case <-ctx.Done():
				return
			case <-timer.C:
			}
			// Seconds are all that is known of how far it is.
			err := session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{
				ProgressToken: token, Progress: time.Since(begun).Seconds(), Message: message,
			})
			if err != nil {
				return
			}
			timer.Reset(progressEvery)
		}
	}()
	return func() { cancel(); <-done }
}
