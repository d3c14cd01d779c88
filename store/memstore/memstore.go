// Package memstore is a storage engine in memory, for tests and for programs
// whose state may die with them.
//
// It keeps what is durable apart from what is on its way, so that a test can
// hold commits back ([Store.Hold]), fail them ([Store.FailCommits]) and take the
// power away ([Store.Crash]). It starts no goroutine (with Options.SyncDelay a
// timer) and works inside a testing/synctest bubble if it is made there.
package memstore

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/perdure/perdure/store"
)

// Options of New.
type Options struct {
	// SyncDelay is how long a sync takes: a batch is durable when a sync that
	// began after its Apply has ended, and one sync runs at a time, so batches
	// that arrive during one share the next. 0: a batch is durable at once.
	SyncDelay time.Duration
}

// Store is a store.Store in memory. Everything it shows is durable in the sense
// of surviving Crash; batches that are on their way are shown by no method.
//
// It checks what other engines rely on: that Batch.Prev is the header there is,
// and that Ops are in order. A batch that is wrong breaks the store.
type Store struct {
	opts Options

	// mu is held for short, bounded work only: never while waiting, and never
	// while a caller's function runs.
	mu      sync.Mutex
	state   state // durable
	err     error // what every call returns, once broken, crashed or closed
	closing bool
	fail    func(*store.Batch) error

	queue    []*commit // not yet durable, in the order of Apply
	current  *commit   // the one that has left queue and is not finished
	taken    uint64    // batches that have left queue
	synced   uint64    // how many may have left it
	syncing  bool      // a timer of SyncDelay runs
	draining bool      // some goroutine is in drainLocked
	holds    int
}

var _ store.Store = (*Store)(nil)

// New returns an empty store. Options may be nil.
func New(opts *Options) *Store {
	s := new(Store)
	if opts != nil {
		s.opts = *opts
	}
	return s
}

// Crash takes the power away. It returns a new store with what was durable and
// the same options; s returns ErrClosed from then on, and ErrBroken from the Wait
// of commits that were on their way. Holds and FailCommits do not carry over.
func (s *Store) Crash() *Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	after := s.imageLocked()
	s.failLocked(fmt.Errorf("%w: power lost", store.ErrBroken))
	s.err = store.ErrClosed
	return after
}

// Image returns a new store with what is durable now and the same options. s is
// not affected.
func (s *Store) Image() *Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.imageLocked()
}

func (s *Store) imageLocked() *Store {
	image := New(&s.opts)
	image.state = s.state
	return image
}

// Close waits for the commits under way, for the release of holds too.
// The first Close of a broken store returns ErrBroken.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closing || s.err == store.ErrClosed {
		s.mu.Unlock()
		return nil
	}
	s.closing = true
	waiting := append([]*commit(nil), s.queue...)
	if s.current != nil {
		waiting = append(waiting, s.current)
	}
	s.mu.Unlock()

	for _, c := range waiting {
		<-c.done
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.err
	s.err = store.ErrClosed
	s.state = state{}
	if err == store.ErrClosed {
		return nil // crashed meanwhile
	}
	return err
}

// usableLocked returns the error that every call returns now, if any.
func (s *Store) usableLocked() error {
	if s.closing {
		return store.ErrClosed
	}
	return s.err
}

// view returns the durable state of this moment. It never changes: see tree.
func (s *Store) view(ctx context.Context) (state, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usableLocked(); err != nil {
		return state{}, err
	}
	return s.state, ctx.Err()
}
