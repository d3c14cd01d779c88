package calmcp

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// watches are the users with open streams that want to hear of changes which nobody tells of by
// himself, as they are made on a server elsewhere: each is looked after now and then.
//
//  1. A user is looked after while a stream of his is held here, however many there are: by
//     one timer, and by one of at most checksAtOnce goroutines while his server is asked.
//  2. A session is held only while its stream is open and it has subscribed to something.
//     Others cost nothing.
//  3. When the last stream is released, a check that runs is told to end.
type watches struct {
	// check looks, and says when to look again. Nil: nobody is looked after.
	check func(ctx context.Context, user string, uris []string) (again time.Duration)

	mu      sync.Mutex
	users   map[string]*watched        // guarded by mu
	due     []*watched                 // guarded by mu; those to look after, in order
	running map[*watched]chan struct{} // guarded by mu; closed when the check has ended
	working int                        // guarded by mu; goroutines
	closed  bool                       // guarded by mu
	work    sync.WaitGroup             // goroutines; Add under mu
}

// watched is a user. Its fields are guarded by watches.mu.
type watched struct {
	user   string
	held   map[any][]string // what streams want to know of, by stream
	timer  *time.Timer
	waits  bool               // it is in due
	soon   bool               // something was added while a check ran
	cancel context.CancelFunc // of the check that runs; nil: none does
}

const (
	checksAtOnce = 8
	checkTime    = 2 * time.Minute // that a check may take
	checkRest    = time.Second     // between two, at least
)

// hold has a user looked after while a stream is open, for what it wants to know of. The key
// is the stream's; holding it again replaces what was said before.
func (w *watches) hold(key any, user string, uris []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.check == nil || w.closed {
		return
	}
	u := w.users[user]
	if u == nil {
		if w.users == nil {
			w.users = make(map[string]*watched)
		}
		u = &watched{user: user, held: make(map[any][]string)}
		u.timer = time.AfterFunc(rand.N(checkRest), func() { w.isDue(u) })
		w.users[user] = u
	} else if before, known := u.held[key]; !known || len(uris) > len(before) {
		// The copies of what is new here may be as old as they like.
		switch {
		case u.cancel != nil:
			u.soon = true
		case !u.waits:
			u.timer.Reset(rand.N(checkRest))
		}
	}
	u.held[key] = uris
}

// release is the end of hold. It may be called without.
func (w *watches) release(key any, user string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	u := w.users[user]
	if u == nil {
		return
	}
	delete(u.held, key)
	if len(u.held) > 0 {
		return
	}
	delete(w.users, user)
	u.timer.Stop()
	if u.cancel != nil {
		u.cancel()
	}
}

// isDue puts a user into the queue when his timer has run out.
func (w *watches) isDue(u *watched) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || u.waits || u.cancel != nil || len(u.held) == 0 {
		return
	}
	u.waits = true
	w.due = append(w.due, u)
	if w.working < checksAtOnce {
		w.working++
		w.work.Go(w.run)
	}
}

// run looks after users until nobody is due.
func (w *watches) run() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.due) > 0 && !w.closed {
		u := w.due[0]
		w.due = w.due[1:]
		u.waits = false
		if len(u.held) > 0 {
			w.lookLocked(u)
		}
	}
	w.working--
}

// lookLocked checks a user; meanwhile mu is not held.
func (w *watches) lookLocked(u *watched) {
	var ctx context.Context
	ctx, u.cancel = context.WithTimeout(context.Background(), checkTime)
	if w.running == nil {
		w.running = make(map[*watched]chan struct{})
	}
	over := make(chan struct{})
	w.running[u], u.soon = over, false
	seen := make(map[string]struct{})
	var uris []string
	for _, some := range u.held {
		for _, uri := range some {
			if _, known := seen[uri]; !known {
				seen[uri] = struct{}{}
				uris = append(uris, uri)
			}
		}
	}
	w.mu.Unlock()
	again := w.check(ctx, u.user, uris)
	w.mu.Lock()
	delete(w.running, u)
	close(over)
	u.cancel()
	u.cancel = nil
	if len(u.held) == 0 {
		return
	}
	again = max(again, checkRest)
	if u.soon {
		again = checkRest
	}
	// Not all users whose streams began together, after a restart, at one moment for ever.
	u.timer.Reset(again + rand.N(again/10))
}

// settle returns when no check of a user runs whose last stream was released before.
func (w *watches) settle(ctx context.Context, user string) error {
	w.mu.Lock()
	var ends []chan struct{}
	for u, over := range w.running {
		if u.user == user && len(u.held) == 0 {
			ends = append(ends, over)
		}
	}
	w.mu.Unlock()
	for _, over := range ends {
		select {
		case <-over:
		case <-ctx.Done():
			return fmt.Errorf("calmcp: wait for a check of user %s: %w", user, context.Cause(ctx))
		}
	}
	return nil
}

// close ends all checks and returns when they have ended. It may be called again.
func (w *watches) close() {
	w.mu.Lock()
	w.closed = true
	for _, u := range w.users {
		u.timer.Stop()
		if u.cancel != nil {
			u.cancel()
		}
	}
	w.mu.Unlock()
	w.work.Wait()
}
