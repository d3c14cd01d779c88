package worker

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
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

// enter begins a visit. It goes on with the returned request, whose context ends when the
// visitor is expelled; leave ends it.
func (v *visits) enter(r *http.Request, id string, rw http.ResponseWriter) (_ *http.Request, leave func()) {
	ctx, cancel := context.WithCancelCause(r.Context())
	r = r.WithContext(ctx)
	body := &visitBody{ReadCloser: r.Body}
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = body
	} else {
		body.read.Store(true)
	}
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
	// A handler that reads a body does not look at the context. (Where nothing is left to
	// read, the server waits for the connection's next request already: it would be ended.)
	stop := context.AfterFunc(ctx, func() {
		if context.Cause(ctx) == errExpelled && !body.read.Load() {
			http.NewResponseController(rw).SetReadDeadline(time.Unix(1, 0))
		}
	})
	return r, func() {
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

// visitBody notes when all of a body has been read.
type visitBody struct {
	io.ReadCloser
	read atomic.Bool
}

func (b *visitBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.read.Store(true)
	}
	return n, err
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
