package pgstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/perdure/perdure/store"
)

// standalone is the hold of a process that is the only one: it takes all shards and
// renews one lease per database.
type standalone struct {
	s      *Store
	nodes  []int64 // the incarnation in each database
	cancel context.CancelFunc
	done   []chan struct{}
}

// startAlone takes all shards of all databases, or returns store.ErrInUse.
func (s *Store) startAlone(ctx context.Context) error {
	life, cancel := context.WithCancel(s.life)
	a := &standalone{s: s, cancel: cancel}
	for _, d := range s.dbs {
		if err := d.wait(ctx); err != nil {
			cancel()
			return err
		}
		renewed := s.opts.Renewing(d.index)
		n, err := d.Register(ctx, "standalone", "", nil)
		if err != nil {
			cancel()
			return err
		}
		a.nodes = append(a.nodes, n.ID)
		if err := d.takeAll(ctx, n.ID); err != nil {
			d.EndNode(context.WithoutCancel(ctx), n.ID, -1)
			cancel()
			return err
		}
		renewed()
		done := make(chan struct{})
		a.done = append(a.done, done)
		go func() {
			defer close(done)
			a.keep(life, d, n.ID)
		}()
	}
	s.alone = a
	return nil
}

// wait returns when no other incarnation is alive in the database, or store.ErrInUse if
// one renews its lease. A lease that is not renewed is waited for.
func (d *Database) wait(ctx context.Context) error {
	v, err := d.ReadMap(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	alive := map[int64]Node{}
	for _, n := range v.Nodes {
		if !n.Ended {
			alive[n.ID] = n
		}
	}
	for len(alive) > 0 {
		longest := time.Duration(0)
		for id, n := range alive {
			longest = max(longest, n.Lease)
			if time.Since(began) <= n.Lease+n.Lease/4 {
				continue
			}
			if ended, err := d.EndNode(ctx, id, n.Beat); err != nil {
				return err
			} else if ended {
				delete(alive, id)
			}
		}
		if len(alive) == 0 {
			return nil
		}
		select {
		case <-time.After(longest / 8):
		case <-ctx.Done():
			return ctx.Err()
		}
		if v, err = d.ReadMap(ctx); err != nil {
			return err
		}
		left := map[int64]bool{}
		for _, n := range v.Nodes {
			old, ok := alive[n.ID]
			switch {
			case n.Ended:
			case !ok || n.Beat != old.Beat:
				return fmt.Errorf("%w: %s is held by node %s (incarnation %d)", store.ErrInUse, d, n.Name, n.ID)
			default:
				left[n.ID] = true
			}
		}
		for id := range alive {
			if !left[id] {
				delete(alive, id)
			}
		}
	}
	return nil
}

// takeAll takes all shards of the database.
func (d *Database) takeAll(ctx context.Context, me int64) error {
	v, err := d.ReadMap(ctx)
	if err != nil {
		return err
	}
	expect := map[uint32]int64{}
	for _, st := range v.Shards {
		expect[st.Shard] = st.Epoch
	}
	taken, err := d.TakeOver(ctx, me, expect)
	if err != nil {
		return err
	}
	if len(taken) < len(expect) {
		return fmt.Errorf("%w: another process has just taken shards of %s", store.ErrInUse, d)
	}
	for n, epoch := range taken {
		d.s.Hold(n, epoch)
	}
	return nil
}

// keep renews a lease until the context ends or the lease is another's.
func (a *standalone) keep(ctx context.Context, d *Database, me int64) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(a.s.opts.Lease / 4):
		}
		if !a.keepOnce(ctx, d, me) {
			return
		}
	}
}

// keepOnce renews a lease. Others may take the shards when it has run out: then the store
// is broken, since what has been read of it may be out of date.
func (a *standalone) keepOnce(ctx context.Context, d *Database, me int64) (goOn bool) {
	renewed := a.s.opts.Renewing(d.index)
	_, err := d.Renew(ctx, me, nil, 1<<62)
	switch {
	case err == nil:
		renewed()
	case ctx.Err() != nil || errors.Is(err, store.ErrClosed):
		return false
	case errors.Is(err, ErrEnded):
		a.s.fail(fmt.Errorf("%s: another process has taken the shards over", d))
		return false
	default:
		a.s.log.Warn("lease not renewed", "err", err)
	}
	return true
}

// stop gives up the leases.
func (a *standalone) stop() {
	a.cancel()
	for _, done := range a.done {
		<-done
	}
	for i, id := range a.nodes {
		ctx, cancel := context.WithTimeout(context.Background(), a.s.opts.Lease/2)
		if err := a.s.dbs[i].end(ctx, id); err != nil {
			a.s.log.Warn("lease not given up", "err", err)
		}
		cancel()
	}
}
