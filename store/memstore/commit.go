package memstore

import (
	"errors"
	"fmt"
	"time"

	"github.com/perdure/perdure/store"
)

// ErrUnknownApplied is for functions given to FailCommits: the batch is applied
// and survives, but its Wait returns ErrUnknown. With store.ErrUnknown itself the
// batch is lost.
var ErrUnknownApplied = fmt.Errorf("%w (memstore: it was applied)", store.ErrUnknown)

// commit is a batch on its way.
type commit struct {
	batch *store.Batch  // nil once finished, so that chains of After are not kept
	done  chan struct{} // closed after err is set
	err   error
}

func (c *commit) Wait() error {
	<-c.done
	return c.err
}

func (c *commit) finish(err error) {
	c.err, c.batch = err, nil
	close(c.done)
}

// Apply implements store.Store.
func (s *Store) Apply(b *store.Batch) store.Commit {
	c := &commit{batch: b, done: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usableLocked(); err != nil {
		c.finish(err)
		return c
	}
	s.queue = append(s.queue, c)
	s.syncLocked()
	return c
}

// syncLocked starts a sync of everything queued unless one runs already.
func (s *Store) syncLocked() {
	end := s.taken + uint64(len(s.queue))
	if s.opts.SyncDelay <= 0 {
		s.synced = end
		s.drainLocked()
		return
	}
	if s.syncing || s.synced == end {
		return
	}
	s.syncing = true
	time.AfterFunc(s.opts.SyncDelay, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.syncing = false
		s.synced = end
		s.drainLocked()
		if s.err == nil {
			s.syncLocked()
		}
	})
}

// drainLocked finishes what is synced, in order, as far as holds allow. One
// goroutine at a time does it; it unlocks s.mu while it asks the function of
// FailCommits, which may therefore call the store.
func (s *Store) drainLocked() {
	if s.draining {
		return
	}
	s.draining = true
	defer func() { s.draining = false }()
	for s.holds == 0 && s.taken < s.synced && len(s.queue) > 0 {
		c := s.queue[0]
		s.queue = s.queue[1:]
		s.taken++
		s.current = c
		fail := s.fail

		err := s.decideUnlocked(c.batch, fail)
		if s.current != c {
			continue // failed meanwhile with everything else, and finished by that
		}
		s.current = nil
		s.finishLocked(c, err)
	}
}

// decideUnlocked returns what is to become of a batch whose sync has ended. It is
// called with s.mu locked and returns so, even if fail panics or ends a test.
func (s *Store) decideUnlocked(b *store.Batch, fail func(*store.Batch) error) error {
	s.mu.Unlock()
	defer s.mu.Lock()
	if b.After != nil {
		// Ours precede b in the queue, so this does not block.
		if err := b.After.Wait(); err != nil {
			return fmt.Errorf("%w: the batch before it: %v", store.ErrRefused, err)
		}
	}
	if fail != nil {
		return fail(b)
	}
	return nil
}

func (s *Store) finishLocked(c *commit, err error) {
	switch {
	case err == nil, errors.Is(err, ErrUnknownApplied):
		next, wrong := s.state.apply(c.batch)
		if wrong != nil {
			err = fmt.Errorf("%w: %s: %w", store.ErrBroken, c.batch.Object, wrong)
			break
		}
		s.state = next
		c.finish(err)
		return
	case errors.Is(err, store.ErrRefused), errors.Is(err, store.ErrUnknown):
		c.finish(err)
		return
	case !errors.Is(err, store.ErrBroken):
		err = fmt.Errorf("%w: %w", store.ErrBroken, err)
	}
	s.current = c
	s.failLocked(err)
}

// failLocked finishes everything under way with err and leaves it to later calls.
func (s *Store) failLocked(err error) {
	if s.err == nil {
		s.err = err
	}
	if s.current != nil {
		s.current.finish(err)
		s.current = nil
	}
	for _, c := range s.queue {
		c.finish(err)
	}
	s.taken += uint64(len(s.queue))
	s.queue = nil
}

// FailCommits installs a function that is called for each batch at the moment it
// would become durable, in the order of Apply, one call at a time; nil removes it.
// If it returns store.ErrRefused, store.ErrUnknown or ErrUnknownApplied, that
// batch fails so, and those that name it as After are refused. Any other error
// breaks the store. It may call the store.
//
// It is not asked about a batch whose After failed.
func (s *Store) FailCommits(f func(*store.Batch) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = f
}

// Pending returns the number of batches that are not yet durable.
func (s *Store) Pending() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.queue)
	if s.current != nil {
		n++
	}
	return n
}

// Hold keeps every batch that is not durable yet, and later ones, from becoming
// so until the hold is released. Holds add up.
func (s *Store) Hold() *Hold {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.holds++
	return &Hold{s: s}
}

// Hold is a gate in front of durability.
type Hold struct {
	s *Store // nil once released
}

// Release lets go. Without other holds, what is synced is durable (or failed)
// when it returns, unless another goroutine is just seeing to that.
// A hold is released by one goroutine; again is a no-op.
func (h *Hold) Release() {
	s := h.s
	if s == nil {
		return
	}
	h.s = nil
	s.mu.Lock()
	defer s.mu.Unlock()
	s.holds--
	s.drainLocked()
}
