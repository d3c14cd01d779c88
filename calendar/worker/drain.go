package worker

import (
	"context"
	"net/http"
	"sync"
)

// running are the requests that have been let in, so that the end can wait for them.
type running struct {
	mu     sync.Mutex
	n      int           // guarded by mu
	ending chan struct{} // guarded by mu; not nil once nobody is let in, closed once nobody is inside
}

func (q *running) enter() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ending != nil {
		return false
	}
	q.n++
	return true
}

func (q *running) leave() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.n--; q.n == 0 && q.ending != nil {
		close(q.ending)
	}
}

func (q *running) isEnding() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.ending != nil
}

func (q *running) count() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.n
}

// end lets nobody in any more. The channel is closed when nobody is inside.
func (q *running) end() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ending == nil {
		q.ending = make(chan struct{})
		if q.n == 0 {
			close(q.ending)
		}
	}
	return q.ending
}

// Announce has /health say from now on that this server is about to end, so that nobody
// sends it new work. It takes requests as before.
func (w *Worker) Announce() { w.leaving.Store(true) }

// Drain is the first step of an end in good order: requests but those to /health are
// refused from now on, MCP's streams end, and Drain returns when those that run have ended.
// When ctx ends, what runs of MCP is cut off, and Drain returns ctx's error. The runtime may
// then be shut down, and [Worker.Close] comes last.
func (w *Worker) Drain(ctx context.Context) error {
	over := w.running.end()
	w.endStreams()
	defer w.closeMCP()
	select {
	case <-over:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Running returns how many requests have not ended, but for those to /health.
func (w *Worker) Running() int { return w.running.count() }

// Close ends what the worker does by itself. It may be called without [Worker.Drain], and
// more than once.
func (w *Worker) Close() error {
	w.running.end()
	w.endStreams()
	w.closeMCP()
	w.news.close()
	if w.calendar == nil {
		return nil
	}
	return w.calendar.Close()
}

func (w *Worker) closeMCP() {
	if w.mcp != nil {
		w.mcp.Close()
	}
}

// EndingHeader is in the answer to a request that came after the end had begun: nothing of it
// was done, and whoever holds the data next can be asked.
const EndingHeader = "Perdure-Ending"

// ending answers a request that has come too late.
func (w *Worker) ending(rw http.ResponseWriter, r *http.Request) {
	rw.Header().Set("Connection", "close")
	rw.Header().Set(EndingHeader, "true")
	w.refuse(rw, r, context.Canceled)
}
