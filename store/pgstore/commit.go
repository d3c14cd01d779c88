package pgstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perdure/perdure/store"
)

// A statement takes as much of the queue as fits these bounds, and one batch at least.
const (
	groupBytes   = 8 << 20
	groupBatches = 4096
)

// commit is a batch on its way, or, without a batch, somebody who waits until nothing of
// the past can be applied to a shard any more.
type commit struct {
	batch *store.Batch // nil once finished, so that chains of After are not kept
	shard uint32
	epoch int64 // under which the shard was held at Apply
	bytes int64
	at    time.Time     // of Apply
	done  chan struct{} // closed after err is set
	err   error
}

// Wait implements store.Commit.
func (c *commit) Wait() error {
	<-c.done
	return c.err
}

// ended reports whether Wait would return at once.
func (c *commit) ended() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// pending counts what waits to be committed in a database.
type pending struct {
	batches, bytes atomic.Int64
}

// committer sends the batches of its shards to the database, one statement at a time.
type committer struct {
	d      *Database
	writer int64 // its number in the table of commits

	wake chan struct{} // holds a value if there may be something to do
	gone chan struct{} // closed when run has ended

	mu       sync.Mutex
	fences   map[uint32]*fence // guarded by mu
	queue    []*commit         // guarded by mu
	stopping bool              // guarded by mu

	// Used by run alone.
	conn   *session
	number int64 // of the last statement
	group  *group
}

// start starts the database's committers.
func (d *Database) start() {
	for range d.s.opts.Committers {
		c := &committer{
			d:      d,
			writer: rand.Int64(),
			wake:   make(chan struct{}, 1),
			gone:   make(chan struct{}),
			fences: map[uint32]*fence{},
			group:  newGroup(),
		}
		d.committers = append(d.committers, c)
		go c.run()
	}
}

// stop ends the committers when their queues are empty. Nothing is applied any more.
func (d *Database) stop() {
	for _, c := range d.committers {
		c.mu.Lock()
		c.stopping = true
		c.mu.Unlock()
		c.signal()
	}
	for _, c := range d.committers {
		<-c.gone
	}
}

func (c *committer) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *committer) hold(shard uint32, epoch int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fences[shard] = &fence{held: true, epoch: epoch}
}

func (c *committer) release(shards map[uint32]bool) {
	c.mu.Lock()
	var refused []*commit
	for n := range shards {
		if f := c.fences[n]; f != nil {
			f.held = false
		}
	}
	keep := c.queue[:0:0]
	for _, q := range c.queue {
		if shards[q.shard] {
			refused = append(refused, q)
		} else {
			keep = append(keep, q)
		}
	}
	c.queue = keep
	c.mu.Unlock()
	for _, q := range refused {
		c.refuse(q, errNotHeld)
	}
}

// Apply implements store.Store.
func (s *Store) Apply(b *store.Batch) store.Commit {
	shard := s.ShardOf(b.Object)
	q := &commit{batch: b, shard: shard, done: make(chan struct{}), bytes: sizeOf(b), at: time.Now()}
	if err := s.enter(context.Background()); err != nil {
		q.err = err
		close(q.done)
		return q
	}
	defer s.leave()
	d := s.DatabaseOf(shard)
	batches, bytes := d.pending.batches.Add(1), d.pending.bytes.Add(q.bytes)
	if batches > int64(s.opts.MaxPending) || bytes > s.opts.MaxPendingBytes && batches > 1 {
		d.committer(shard).refuse(q, fmt.Errorf("%d batches with %d bytes wait for %s, at most %d and %d may", batches-1, bytes-q.bytes, d, s.opts.MaxPending, s.opts.MaxPendingBytes))
		return q
	}
	d.committer(shard).enqueue(q)
	return q
}

func (c *committer) enqueue(q *commit) {
	c.mu.Lock()
	f := c.fences[q.shard]
	if f == nil || !f.held {
		c.mu.Unlock()
		c.refuse(q, errNotHeld)
		return
	}
	q.epoch = f.epoch
	c.queue = append(c.queue, q)
	c.mu.Unlock()
	c.signal()
}

// sizeOf returns about how many bytes of memory b holds.
func sizeOf(b *store.Batch) int64 {
	n := int64(256)
	for i := range b.Ops {
		n += 64 + int64(len(b.Ops[i].Key)+len(b.Ops[i].Value))
	}
	return n
}

// finish ends a commit.
func (c *committer) finish(q *commit, err error) {
	if q.batch != nil {
		c.d.pending.batches.Add(-1)
		c.d.pending.bytes.Add(-q.bytes)
	}
	if err != nil && c.d.s.broken() != nil {
		err = c.d.s.broken()
	}
	q.err, q.batch = err, nil
	close(q.done)
}

func (c *committer) refuse(q *commit, why error) {
	what := "shard " + fmt.Sprint(q.shard)
	if q.batch != nil {
		what = q.batch.Object.String()
	}
	c.finish(q, fmt.Errorf("%w: %s: %w", store.ErrRefused, what, why))
}

func (c *committer) unknown(q *commit, why error) {
	c.finish(q, fmt.Errorf("%w: %s: %w", store.ErrUnknown, q.batch.Object, why))
}

// run commits until the committer is stopped and its queue is empty.
func (c *committer) run() {
	defer close(c.gone)
	defer c.disconnect()
	for {
		commits, stopping := c.take()
		if len(commits) > 0 {
			c.process(commits)
			continue
		}
		if stopping {
			return
		}
		<-c.wake
	}
}

// take returns the next commits, up to the bounds of a statement.
func (c *committer) take() (commits []*commit, stopping bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, bytes := 0, int64(0)
	for n < len(c.queue) && n < groupBatches {
		if bytes += c.queue[n].bytes; bytes > groupBytes && n > 0 {
			break
		}
		n++
	}
	commits, c.queue = c.queue[:n:n], c.queue[n:]
	if len(c.queue) == 0 {
		c.queue = nil
	}
	return commits, c.stopping
}

// process brings commits to their end, in order.
func (c *committer) process(commits []*commit) {
	patience := c.d.s.opts.Patience
	deadline := commits[0].at.Add(patience)
	if soon := time.Now().Add(patience / 4); deadline.Before(soon) {
		deadline = soon // those that had to wait for others get a chance too
	}
	commits = c.settleFirst(commits, deadline)
	commits = c.admit(commits)
	if len(commits) == 0 {
		return
	}
	if err := c.commit(commits, deadline); err != nil {
		if len(commits) == 1 {
			c.refuse(commits[0], err)
			return
		}
		// One of them is to blame. Each is tried on its own, so that it fails alone.
		c.d.s.log.Warn("statement failed, its batches are tried one by one", "database", c.d.String(), "batches", len(commits), "err", err)
		slow := 0 // how many in a row took too long
		for i := range commits {
			one := c.admit(commits[i : i+1])
			if len(one) == 0 {
				continue
			}
			// If it is the database that is slow, not one of them, the rest is not tried.
			if slow < 2 || time.Now().Before(deadline) {
				if err = c.commit(one, deadline); timedOut(err) {
					slow++
				} else {
					slow = 0
				}
			}
			if err != nil {
				c.refuse(one[0], err)
			}
		}
	}
}

// admit refuses what cannot be committed and returns the rest.
func (c *committer) admit(commits []*commit) []*commit {
	rest := commits[:0:0]
	for _, q := range commits {
		if q.ended() {
			continue
		}
		if err := c.refusal(q); err != nil {
			c.refuse(q, err)
			continue
		}
		rest = append(rest, q)
	}
	return rest
}

// refusal says why a commit cannot be made, if so.
func (c *committer) refusal(q *commit) error {
	if !c.holds(q) {
		return errNotHeld
	}
	switch after := q.batch.After.(type) {
	case nil:
	case *commit: // of this shard, so before q in the queue
		if after.ended() && after.err != nil {
			return fmt.Errorf("the batch before it: %v", after.err)
		}
	default:
		if err := after.Wait(); err != nil {
			return fmt.Errorf("the batch before it: %v", err)
		}
	}
	return nil
}

// holds reports whether a commit's shard is still held under the epoch of its Apply.
func (c *committer) holds(q *commit) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.fences[q.shard]
	return f != nil && f.held && f.epoch == q.epoch
}

// fenceOf returns a copy of what is known about a shard.
func (c *committer) fenceOf(shard uint32) *fence {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.fences[shard]; f != nil {
		copied := *f
		return &copied
	}
	return new(fence)
}

// lose notes that the database refused a shard under an epoch.
func (c *committer) lose(shard uint32, epoch int64) {
	c.mu.Lock()
	f := c.fences[shard]
	lost := f != nil && f.held && f.epoch == epoch
	if lost {
		f.held = false
	}
	c.mu.Unlock()
	if lost {
		c.d.s.log.Warn("shard is not held any more", "shard", shard, "epoch", epoch)
		c.d.s.opts.Lost(shard, epoch)
	}
}

// commit sends commits as one statement and finishes all of them, or returns an error and
// has finished none: the database refused the statement as a whole for what is in it.
func (c *committer) commit(commits []*commit, deadline time.Time) error {
	wait := backoff{}
	for again := 0; ; {
		c.group.build(commits, c.fenceOf)
		if len(c.group.shards) == 0 {
			for _, q := range commits {
				c.finish(q, nil)
			}
			return nil
		}
		c.number++
		ok, err := c.send()
		switch kindOf(err) {
		case fine:
			c.conclude(commits, ok)
			return nil
		case rejected:
			return err
		case conflict: // nothing was applied; it is the moment that was wrong
			if again++; again > 3 {
				return err
			}
		case notSent:
		case unclear:
			applied, settled := c.settle(commits, deadline, err)
			if !settled || applied {
				return nil
			}
		}
		// Nothing has been applied, nor can it be. Before another try:
		if commits = c.admit(commits); len(commits) == 0 {
			return nil
		}
		if !wait.until(deadline) {
			if kindOf(err) == conflict {
				return err
			}
			for _, q := range commits {
				c.refuse(q, err)
			}
			return nil
		}
	}
}

// conclude finishes the commits of a statement that was applied where ok.
func (c *committer) conclude(commits []*commit, ok []bool) {
	for i, n := range c.group.shards {
		if !ok[i] {
			c.lose(n, c.group.epochs[i])
		}
	}
	for _, q := range commits {
		if at, sent := c.group.positions[q.shard]; sent && !ok[at-1] {
			c.refuse(q, errors.New("its shard was taken over"))
			continue
		}
		c.finish(q, nil)
	}
}

// backoff is a growing pause between tries.
type backoff struct{ pause time.Duration }

// until pauses, and reports whether there is time for another try.
func (b *backoff) until(deadline time.Time) bool {
	b.pause = min(500*time.Millisecond, max(5*time.Millisecond, 2*b.pause))
	if time.Until(deadline) < b.pause {
		return false
	}
	time.Sleep(b.pause/2 + rand.N(b.pause/2))
	return true
}
