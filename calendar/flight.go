package calendar

import (
	"context"
	"strings"
	"sync"
)

// flights makes concurrent requests for the same thing one. A flight runs on a goroutine
// and context of its own, so that nobody's leaving fails the others; it is cancelled
// when the last who waits has left.
type flights[T any] struct {
	wg sync.WaitGroup

	mu     sync.Mutex
	flying map[string]*flight[T] // guarded by mu
	closed bool                  // guarded by mu
}

type flight[T any] struct {
	waiting int // guarded by flights.mu
	cancel  context.CancelFunc
	done    chan struct{}
	result  T
	err     error
}

// do returns what fn returns, or what it returns for somebody who asked before.
func (f *flights[T]) do(ctx context.Context, key string, fn func(ctx context.Context) (T, error)) (T, error) {
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		var zero T
		return zero, ErrClosed
	}
	fl := f.flying[key]
	if fl == nil {
		fl = f.startLocked(key, fn)
	}
	fl.waiting++
	f.mu.Unlock()
	select {
	case <-fl.done:
		return fl.result, fl.err
	case <-ctx.Done():
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if fl.waiting--; fl.waiting == 0 {
		fl.cancel()
		f.forgetLocked(key, fl)
	}
	var zero T
	return zero, context.Cause(ctx)
}

func (f *flights[T]) startLocked(key string, fn func(ctx context.Context) (T, error)) *flight[T] {
	ctx, cancel := context.WithCancel(context.Background())
	fl := &flight[T]{cancel: cancel, done: make(chan struct{})}
	if f.flying == nil {
		f.flying = make(map[string]*flight[T])
	}
	f.flying[key] = fl
	f.wg.Go(func() {
		defer cancel()
		fl.result, fl.err = fn(ctx)
		f.mu.Lock()
		f.forgetLocked(key, fl)
		f.mu.Unlock()
		close(fl.done)
	})
	return fl
}

func (f *flights[T]) forgetLocked(key string, fl *flight[T]) {
	if f.flying[key] == fl {
		delete(f.flying, key)
	}
}

// forget lets nobody join the flights under way whose keys begin so: they may have seen
// what was before a write.
func (f *flights[T]) forget(prefix string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for key := range f.flying {
		if strings.HasPrefix(key, prefix) {
			delete(f.flying, key)
		}
	}
}

// close cancels nothing: it waits for what is under way and lets nothing new begin.
func (f *flights[T]) close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.wg.Wait()
}
