package worker

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"
)

// errExpelled is why the request of a user who was removed ends.
var errExpelled = errors.New("the user was removed")

// visits are the requests that run on behalf of users, so that a removal can end them.
//
//  1. A visit begins before the user's secret is checked, and a removal takes the secret
//     away before it ends visits: a request is either refused or ended.
type visits struct {
	mu      sync.Mutex
	running map[string]map[*visit]struct{} // guarded by mu; by user id
}

type visit struct {
	end  context.CancelCauseFunc
	over chan struct{}
}

// enter begins a visit. The request goes on with the returned context; leave ends it.
func (v *visits) enter(ctx context.Context, id string, rw http.ResponseWriter) (_ context.Context, leave func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	this := &visit{cancel, make(chan struct{})}
	v.mu.Lock()
	if v.running == nil {
		v.running = make(map[string]map[*visit]struct{})
	}
	if v.running[id] == nil {
		v.running[id] = make(map[*visit]struct{})
	}
	v.running[id][this] = struct{}{}
	v.mu.Unlock()
	// A handler that reads a body does not look at the context.
	stop := context.AfterFunc(ctx, func() {
		if context.Cause(ctx) == errExpelled {
			http.NewResponseController(rw).SetReadDeadline(time.Unix(1, 0))
		}
	})
	return ctx, func() {
		stop()
		cancel(nil)
		v.mu.Lock()
		delete(v.running[id], this)
		if len(v.running[id]) == 0 {
			delete(v.running, id)
		}
		v.mu.Unlock()
		close(this.over)
	}
}

// expel ends a user's visits and returns when they are over, or ctx's error.
func (v *visits) expel(ctx context.Context, id string) error {
	v.mu.Lock()
	var all []*visit
	for this := range v.running[id] {
		all = append(all, this)
	}
	v.mu.Unlock()
	for _, this := range all {
		this.end(errExpelled)
	}
	for _, this := range all {
		select {
		case <-this.over:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}
