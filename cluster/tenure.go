package cluster

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/perdure/perdure/durable"
)

// tenure is the holding of a shard by this node from a take-over to a release, or to
// the loss of the lease. It is the [durable.Lease] of the objects that live in the shard.
type tenure struct {
	m     *member
	me    NodeID
	claim Claim
	place durable.Place

	closing bool        // Locate returns it no more; guarded by member.mu
	over    atomic.Bool // nothing may leave any more
}

// Check implements [durable.Lease]. The answer holds for the moment of the call, which
// is later than the event: what leaves after that was right at a moment between
// the event's arrival and its answer, however long the sending takes.
func (t *tenure) Check(ctx context.Context) error {
	if t.over.Load() || !t.m.leased(t.me) {
		return t.lost()
	}
	if t.m.n.opts.Strict {
		return t.m.strict.confirm(ctx, t)
	}
	return nil
}

func (t *tenure) lost() error {
	return fmt.Errorf("%w: the lease on shard %d, epoch %d, has ended", durable.ErrNotOwner, t.claim.Shard, t.claim.Epoch)
}

// strict asks the database whether epochs still hold, for many answers at once. A
// question that comes while one is under way waits for the next one: that one
// may have been answered before the event ran.
type strict struct {
	m *member

	mu   sync.Mutex
	next *question // guarded by mu
	busy bool      // guarded by mu
}

type question struct {
	done    chan struct{}
	me      NodeID
	tenures map[*tenure]bool
	lost    map[uint32]bool
	err     error
}

func (s *strict) confirm(ctx context.Context, t *tenure) error {
	s.mu.Lock()
	if s.next == nil {
		s.next = &question{done: make(chan struct{}), tenures: make(map[*tenure]bool)}
	}
	q := s.next
	q.tenures[t] = true
	if !s.busy {
		s.busy = true
		s.m.n.goFunc(s.ask)
	}
	s.mu.Unlock()
	select {
	case <-q.done:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.m.n.life.Done():
		return t.lost()
	}
	switch {
	case q.err != nil:
		return fmt.Errorf("%w: the epoch of shard %d can't be confirmed: %w", durable.ErrNotOwner, t.claim.Shard, q.err)
	case q.lost[t.claim.Shard] || t.me != q.me || t.over.Load():
		s.m.stale()
		return t.lost()
	}
	return nil
}

// ask asks until there are no more questions.
func (s *strict) ask() {
	for {
		s.mu.Lock()
		q := s.next
		s.next = nil
		if q == nil {
			s.busy = false
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		s.answer(q)
		close(q.done)
	}
}

// answer asks for the tenures of the newest incarnation: others are over.
func (s *strict) answer(q *question) {
	for t := range q.tenures {
		q.me = max(q.me, t.me)
	}
	var claims []Claim
	for t := range q.tenures {
		if t.me == q.me {
			claims = append(claims, t.claim)
		}
	}
	ctx, cancel := context.WithTimeout(s.m.n.life, s.m.callTimeout)
	defer cancel()
	lost, err := s.m.table.confirm(ctx, q.me, claims)
	q.err = err
	q.lost = make(map[uint32]bool, len(lost))
	for _, shard := range lost {
		q.lost[shard] = true
	}
}
