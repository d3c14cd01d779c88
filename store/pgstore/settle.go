package pgstore

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/perdure/perdure/store"
)

// settle finds out what became of the last statement, whose connection failed with
// cause, and finishes its commits if it was applied. If it was not, it cannot be any
// more, and the commits are as before. Without an answer until the deadline, they are
// finished as unknown and their shards are settled before they are used again.
//
// Commits whose shard is not held any more are finished as unknown in any case.
func (c *committer) settle(commits []*commit, deadline time.Time, cause error) (applied, settled bool) {
	c.d.s.log.Warn("outcome of a statement is unknown", "database", c.d.String(), "batches", len(commits), "err", cause)
	shards := map[uint32]bool{}
	for _, n := range c.group.shards {
		shards[n] = true
	}
	c.setUnsettled(shards)
	for wait := (backoff{}); ; {
		var rest []*commit
		for _, q := range commits {
			switch {
			case q.ended():
			case !c.holds(q):
				c.unknown(q, cause)
			default:
				rest = append(rest, q)
			}
		}
		if commits = rest; len(commits) == 0 {
			return false, false
		}
		number, err := c.raise(shards)
		if err == nil {
			applied = number >= c.number
			for _, q := range commits {
				switch {
				case !c.holds(q): // it is another's, who may have written since
					c.unknown(q, cause)
				case applied:
					c.finish(q, nil)
				}
			}
			return applied, true
		}
		cause = err
		if !wait.until(deadline) {
			for _, q := range commits {
				c.unknown(q, cause)
			}
			return false, false
		}
	}
}

func (c *committer) setUnsettled(shards map[uint32]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for n := range shards {
		if f := c.fences[n]; f != nil {
			f.unsettled = true
		}
	}
}

// raise makes it impossible for what has been sent to be applied to shards, and returns
// the number of this committer's last statement that was. Those that another has taken
// over are lost.
func (c *committer) raise(shards map[uint32]bool) (number int64, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), c.d.s.opts.Lease)
	defer cancel()
	var numbers, epochs []int64
	for n := range shards {
		numbers, epochs = append(numbers, int64(n)), append(epochs, c.fenceOf(n).epoch)
	}
	raised := map[uint32]int64{}
	err = c.d.onLease(ctx, "settle", func(conn *pgx.Conn) error {
		warning(conn.PgConn()) // of what came before
		err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			// This waits for the statement, if it runs.
			if err := c.d.lock(ctx, tx, numbers); err != nil {
				return err
			}
			// Each of these sees what was committed before it began.
			rows, err := tx.Query(ctx, `UPDATE perdure.shards s SET settled = s.settled + 1
				FROM unnest($1::int8[], $2::int8[]) AS e (shard, epoch) WHERE s.shard = e.shard AND s.epoch = e.epoch
				RETURNING s.shard, s.settled, 0`, numbers, epochs)
			if err != nil {
				return err
			}
			states, err := pgx.CollectRows(rows, scanShard)
			if err != nil {
				return err
			}
			for _, st := range states {
				raised[st.Shard] = st.Epoch
			}
			return tx.QueryRow(ctx, `SELECT coalesce((SELECT number FROM perdure.commits WHERE writer = $1), 0)`, c.writer).Scan(&number)
		})
		if err == nil {
			// As of a commit: no replica may have what has been found here.
			err = warning(conn.PgConn())
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	for i, n := range numbers {
		shard := uint32(n)
		settled, ours := raised[shard]
		c.mu.Lock()
		if f := c.fences[shard]; f != nil && f.epoch == epochs[i] && ours {
			f.settled, f.unsettled = settled, false
		}
		c.mu.Unlock()
		if !ours {
			c.lose(shard, epochs[i])
		}
	}
	return number, nil
}

// settleFirst settles the shards of commits where that has not been possible before, and
// ends those who wait for nothing else. What cannot be settled is refused: its batches
// have not been sent.
func (c *committer) settleFirst(commits []*commit, deadline time.Time) []*commit {
	shards := map[uint32]bool{}
	for _, q := range commits {
		if f := c.fenceOf(q.shard); f.held && f.unsettled {
			shards[q.shard] = true
		}
	}
	var err error
	if len(shards) > 0 {
		for wait := (backoff{}); ; {
			if _, err = c.raise(shards); err == nil || !wait.until(deadline) {
				break
			}
		}
	}
	rest := commits[:0:0]
	for _, q := range commits {
		switch {
		case err != nil && shards[q.shard]:
			c.refuse(q, err)
		case q.batch == nil:
			c.finish(q, nil)
		default:
			rest = append(rest, q)
		}
	}
	return rest
}

// settled waits until nothing of the past can be applied to an object's shard any more.
func (s *Store) settled(ctx context.Context, o store.Object) error {
	shard := s.ShardOf(o)
	c := s.DatabaseOf(shard).committer(shard)
	if f := c.fenceOf(shard); !f.held || !f.unsettled {
		return nil
	}
	q := &commit{shard: shard, done: make(chan struct{}), at: time.Now()}
	c.enqueue(q)
	select {
	case <-q.done:
		return q.err
	case <-ctx.Done():
		return ctx.Err()
	}
}
