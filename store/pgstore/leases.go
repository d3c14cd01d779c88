package pgstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// ErrEnded is returned by Renew when the incarnation has been ended: it will never hold
// anything again. The process may register anew.
var ErrEnded = errors.New("pgstore: this incarnation of the node has been ended")

// Node is an incarnation of a node in one database: a process that registered there
// once. It holds shards as long as it is not ended; others end it when they have seen
// no renewal for as long as its lease lasts.
type Node struct {
	ID       int64 // of the incarnation, never used again
	Name     string
	Address  string // where other nodes reach it
	Lease    time.Duration
	Beat     int64 // number of renewals
	Draining bool  // asked to give up its shards
	Ended    bool
	Stats    []byte    // what it says about itself
	Started  time.Time // by the database's clock
	Renewed  time.Time // by the database's clock: for people, nothing is decided by it
}

// ShardState is a shard's row.
type ShardState struct {
	Shard uint32
	Epoch int64 // grows with each take-over, by any node
	Owner int64 // an incarnation; 0: none
}

// View is what a database says about nodes and shards at one moment.
type View struct {
	Nodes   []Node
	Now     time.Time    // by the database's clock: for people, as Node.Renewed
	Version int64        // of the map of shards
	Shards  []ShardState // those that changed after the version asked for, ascending
}

// Register makes a new incarnation and returns it.
func (d *Database) Register(ctx context.Context, name, address string, stats []byte) (n Node, err error) {
	err = d.lease(ctx, "register node "+name, func(conn *pgx.Conn) error {
		// Incarnations that ended long ago and hold nothing have no more to say.
		if _, err := conn.Exec(ctx, `DELETE FROM perdure.nodes n WHERE ended AND renewed < now() - interval '1 hour'
			AND NOT EXISTS (SELECT FROM perdure.shards s WHERE s.owner = n.id)`); err != nil {
			return err
		}
		// Nor have committers of processes that are gone.
		if _, err := conn.Exec(ctx, `DELETE FROM perdure.commits WHERE at < now() - interval '7 days'`); err != nil {
			return err
		}
		rows, err := conn.Query(ctx, `INSERT INTO perdure.nodes (name, address, lease, stats) VALUES ($1, $2, $3, $4) RETURNING `+nodeColumns,
			name, address, d.s.opts.Lease.Milliseconds(), stats)
		if err != nil {
			return err
		}
		n, err = pgx.CollectExactlyOneRow(rows, scanNode)
		return err
	})
	return n, err
}

const nodeColumns = `id, name, address, lease, beat, draining, ended, stats, started, renewed`

func scanNode(row pgx.CollectableRow) (n Node, err error) {
	var lease int64
	err = row.Scan(&n.ID, &n.Name, &n.Address, &lease, &n.Beat, &n.Draining, &n.Ended, &n.Stats, &n.Started, &n.Renewed)
	n.Lease = time.Duration(lease) * time.Millisecond
	return n, err
}

func scanShard(row pgx.CollectableRow) (s ShardState, err error) {
	err = row.Scan(&s.Shard, &s.Epoch, &s.Owner)
	return s, err
}

// Renew renews an incarnation's lease, and returns, in the same round trip, all nodes
// and the shards whose owner or epoch changed after a version of the map (0: all).
// It returns the view with ErrEnded if the incarnation has been ended.
//
// A lease counts from before the call of Renew.
func (d *Database) Renew(ctx context.Context, id int64, stats []byte, since int64) (View, error) {
	return d.view(ctx, "renew lease", id, stats, since)
}

// ReadMap returns all nodes and shards, without being one of the nodes.
func (d *Database) ReadMap(ctx context.Context) (View, error) {
	return d.view(ctx, "read map", 0, nil, 0)
}

func (d *Database) view(ctx context.Context, what string, renew int64, stats []byte, since int64) (v View, err error) {
	pool := d.leases
	if renew != 0 {
		pool = d.renewals
	}
	err = d.leaseFrom(pool, ctx, what, func(conn *pgx.Conn) error {
		var b pgx.Batch
		if renew != 0 {
			b.Queue(`UPDATE perdure.nodes SET beat = beat + 1, stats = $2, renewed = now() WHERE id = $1 AND NOT ended`, renew, stats)
		}
		b.Queue(`SELECT ` + nodeColumns + ` FROM perdure.nodes ORDER BY id`)
		// The version first: a change in between is shown now and again the next time.
		b.Queue(`SELECT map, now() FROM perdure.store`)
		b.Queue(`SELECT shard, epoch, owner FROM perdure.shards WHERE version > $1 ORDER BY shard`, since)
		results := conn.SendBatch(ctx, &b)
		defer results.Close()
		ended := false
		if renew != 0 {
			tag, err := results.Exec()
			if err != nil {
				return err
			}
			ended = tag.RowsAffected() == 0
		}
		rows, err := results.Query()
		if err != nil {
			return err
		}
		if v.Nodes, err = pgx.CollectRows(rows, scanNode); err != nil {
			return err
		}
		if err := results.QueryRow().Scan(&v.Version, &v.Now); err != nil {
			return err
		}
		if rows, err = results.Query(); err != nil {
			return err
		}
		if v.Shards, err = pgx.CollectRows(rows, scanShard); err != nil {
			return err
		}
		if err := results.Close(); err != nil {
			return err
		}
		if ended {
			return ErrEnded
		}
		return nil
	})
	return v, err
}

// EndNode ends an incarnation if it has not been renewed since it had that beat, and
// reports whether it is ended now. A negative beat ends it in any case: a node ends
// itself so.
func (d *Database) EndNode(ctx context.Context, id, beat int64) (ended bool, err error) {
	err = d.lease(ctx, "end node", func(conn *pgx.Conn) error {
		ended, err = endNode(ctx, conn, id, beat)
		return err
	})
	return ended, err
}

// end ends an incarnation of a store that is closing.
func (d *Database) end(ctx context.Context, id int64) error {
	return d.onLease(ctx, "end node", func(conn *pgx.Conn) error {
		_, err := endNode(ctx, conn, id, -1)
		return err
	})
}

func endNode(ctx context.Context, conn *pgx.Conn, id, beat int64) (ended bool, err error) {
	tag, err := conn.Exec(ctx, `UPDATE perdure.nodes SET ended = true WHERE id = $1 AND (beat = $2 OR $2 < 0 OR ended)`, id, beat)
	return tag.RowsAffected() == 1, err
}

// SetDraining asks a node to give up its shards, or takes that back, and reports whether
// there is such an incarnation.
func (d *Database) SetDraining(ctx context.Context, id int64, draining bool) (found bool, err error) {
	err = d.lease(ctx, "drain node", func(conn *pgx.Conn) error {
		tag, err := conn.Exec(ctx, `UPDATE perdure.nodes SET draining = $2 WHERE id = $1 AND NOT ended`, id, draining)
		found = tag.RowsAffected() == 1
		return err
	})
	return found, err
}

// TakeOver makes an incarnation the owner of shards. Each is taken only if it has the
// epoch that is expected, and if nobody, me, or an incarnation that is ended holds it.
// It returns the new epochs of those that were taken, each greater than all before.
//
// It waits for commits of the old owner that are under way in the database. When it
// returns, what they wrote can be read, and nothing of the old owner is written any more.
func (d *Database) TakeOver(ctx context.Context, me int64, expect map[uint32]int64) (map[uint32]int64, error) {
	taken := map[uint32]int64{}
	err := d.change(ctx, "take over shards", expect, func(tx pgx.Tx, shards, epochs []int64, version int64) error {
		rows, err := tx.Query(ctx, `UPDATE perdure.shards s SET epoch = s.epoch + 1, settled = 0, owner = $3, version = $4
			FROM unnest($1::int8[], $2::int8[]) AS e (shard, epoch)
			WHERE s.shard = e.shard AND s.epoch = e.epoch
			AND NOT EXISTS (SELECT FROM perdure.nodes n WHERE n.id = s.owner AND n.id <> $3 AND NOT n.ended)
			AND EXISTS (SELECT FROM perdure.nodes n WHERE n.id = $3 AND NOT n.ended)
			RETURNING s.shard, s.epoch, s.owner`, shards, epochs, me, version)
		if err != nil {
			return err
		}
		states, err := pgx.CollectRows(rows, scanShard)
		for _, st := range states {
			taken[st.Shard] = st.Epoch
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return taken, nil
}

// ReleaseShards gives up shards that an incarnation holds under the given epochs, and
// returns those that it held. Commits of them under way have ended when it returns.
// The Store should have been told before, with Release.
func (d *Database) ReleaseShards(ctx context.Context, me int64, held map[uint32]int64) (released []uint32, err error) {
	err = d.change(ctx, "release shards", held, func(tx pgx.Tx, shards, epochs []int64, version int64) error {
		released = nil
		rows, err := tx.Query(ctx, `UPDATE perdure.shards s SET epoch = s.epoch + 1, settled = 0, owner = 0, version = $4
			FROM unnest($1::int8[], $2::int8[]) AS e (shard, epoch)
			WHERE s.shard = e.shard AND s.epoch = e.epoch AND s.owner = $3
			RETURNING s.shard, s.epoch, s.owner`, shards, epochs, me, version)
		if err != nil {
			return err
		}
		states, err := pgx.CollectRows(rows, scanShard)
		for _, st := range states {
			released = append(released, st.Shard)
		}
		return err
	})
	slices.Sort(released)
	return released, err
}

// change runs a transaction that changes the map. Such transactions run one after the
// other, so that versions become visible in their order; each locks its shards in
// ascending order, as commits do.
func (d *Database) change(ctx context.Context, what string, m map[uint32]int64, f func(tx pgx.Tx, shards, epochs []int64, version int64) error) error {
	if len(m) == 0 {
		return nil
	}
	var shards, epochs []int64
	for _, n := range slices.Sorted(maps.Keys(m)) {
		shards, epochs = append(shards, int64(n)), append(epochs, m[n])
	}
	return d.lease(ctx, what, func(conn *pgx.Conn) error {
		return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			var version int64
			if err := tx.QueryRow(ctx, `UPDATE perdure.store SET map = map + 1 RETURNING map`).Scan(&version); err != nil {
				return err
			}
			if err := d.lock(ctx, tx, shards); err != nil {
				return err
			}
			return f(tx, shards, epochs, version)
		})
	})
}

// lock locks the rows of shards, in ascending order. Statements that hold some are waited
// for: PostgreSQL bounds how long they run.
//
// It does not bound how long a session waits for the end of what its client began to send.
// A client that was cut off or stopped there would keep the rows locked until TCP gives
// up, or for ever: such sessions are ended.
func (d *Database) lock(ctx context.Context, tx pgx.Tx, shards []int64) error {
	ctx, cancel := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() { d.endSilent(ctx, tx.Conn().PgConn().PID()) })
	defer watch.Wait()
	defer cancel()
	_, err := tx.Exec(ctx, `SELECT shard FROM perdure.shards WHERE shard = ANY ($1::int8[]) ORDER BY shard FOR UPDATE`, shards)
	return err
}

// endSilent ends sessions that block another one and have been waiting for their client,
// in the middle of a statement, for longer than a client takes.
func (d *Database) endSilent(ctx context.Context, blocked uint32) {
	const sql = `SELECT a.pid, pg_terminate_backend(a.pid) FROM pg_stat_activity a
		WHERE a.pid = ANY (pg_blocking_pids($1)) AND a.state = 'active' AND a.wait_event = 'ClientRead'
		AND clock_timestamp() - a.state_change > $2 * interval '1 millisecond'`
	pause := d.s.opts.Lease / 16
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		// Not one of the connections for leases: those may all be waiting.
		err := d.reads.AcquireFunc(ctx, func(c *pgxpool.Conn) error {
			rows, err := c.Query(ctx, sql, int32(blocked), pause.Milliseconds())
			if err != nil {
				return err
			}
			var pid int32
			var ended bool
			_, err = pgx.ForEachRow(rows, []any{&pid, &ended}, func() error {
				d.s.log.Warn("a session held shards while it waited for its client, it is ended", "database", d.String(), "pid", pid, "ended", ended)
				return nil
			})
			return err
		})
		if err != nil && ctx.Err() == nil {
			d.s.log.Warn("sessions that hold shards cannot be looked at", "err", d.wrap(err))
		}
	}
}

// ConfirmEpochs asks the database whether an incarnation holds shards under the given
// epochs and returns those that it does not. If it returns none, all were held at a
// moment within the call.
func (d *Database) ConfirmEpochs(ctx context.Context, me int64, held map[uint32]int64) (lost []uint32, err error) {
	if len(held) == 0 {
		return nil, nil
	}
	shards := slices.Sorted(maps.Keys(held))
	numbers := make([]int64, len(shards))
	for i, n := range shards {
		numbers[i] = int64(n)
	}
	err = d.lease(ctx, "confirm epochs", func(conn *pgx.Conn) error {
		lost = nil
		rows, err := conn.Query(ctx, `SELECT shard, epoch, owner FROM perdure.shards WHERE shard = ANY ($1::int8[])`, numbers)
		if err != nil {
			return err
		}
		states, err := pgx.CollectRows(rows, scanShard)
		if err != nil {
			return err
		}
		ok := map[uint32]bool{}
		for _, st := range states {
			ok[st.Shard] = st.Owner == me && st.Epoch == held[st.Shard]
		}
		for _, n := range shards {
			if !ok[n] {
				lost = append(lost, n)
			}
		}
		return nil
	})
	return lost, err
}

// lease runs f on a connection that is kept for such things.
func (d *Database) lease(ctx context.Context, what string, f func(*pgx.Conn) error) error {
	return d.leaseFrom(d.leases, ctx, what, f)
}

func (d *Database) leaseFrom(pool *pgxpool.Pool, ctx context.Context, what string, f func(*pgx.Conn) error) error {
	if err := d.s.enter(ctx); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	defer d.s.leave()
	return d.on(pool, ctx, what, f)
}

// onLease is lease for a store that may be closing.
func (d *Database) onLease(ctx context.Context, what string, f func(*pgx.Conn) error) error {
	return d.on(d.leases, ctx, what, f)
}

func (d *Database) on(pool *pgxpool.Pool, ctx context.Context, what string, f func(*pgx.Conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, d.s.opts.Lease)
	defer cancel()
	err := d.ready(ctx)
	if err == nil {
		err = pool.AcquireFunc(ctx, func(c *pgxpool.Conn) error { return use(ctx, c, f) })
	}
	if err != nil && !errors.Is(err, ErrEnded) {
		err = d.wrap(err)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
