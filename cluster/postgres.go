package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/perdure/perdure/store/pgstore"
)

// postgres is the lease tables of a database of pgstore.
type postgres struct {
	db *pgstore.Database

	mu      sync.Mutex
	version int64        // of the map; guarded by mu
	shards  []ShardState // as of version, ascending; guarded by mu
}

func (p *postgres) register(ctx context.Context, name string, replaces NodeID) (NodeID, int64, *Map, error) {
	if replaces != Nobody {
		if _, err := p.db.EndNode(ctx, int64(replaces), AnyRenewal); err != nil {
			return 0, 0, nil, err
		}
	}
	n, err := p.db.Register(ctx, name, name, nil)
	if err != nil {
		return 0, 0, nil, err
	}
	p.mu.Lock()
	p.version, p.shards = 0, nil // the database may have been put back to an earlier state
	p.mu.Unlock()
	m, err := p.look(ctx)
	return NodeID(n.ID), n.Beat, m, err
}

func (p *postgres) renew(ctx context.Context, me NodeID, report []byte) (int64, *Map, error) {
	p.mu.Lock()
	since := p.version
	p.mu.Unlock()
	v, err := p.db.Renew(ctx, int64(me), report, since)
	if errors.Is(err, pgstore.ErrEnded) {
		return 0, nil, fmt.Errorf("%w: %w", ErrEnded, err)
	}
	if err != nil {
		return 0, nil, err
	}
	seq := int64(-1)
	for _, n := range v.Nodes {
		if NodeID(n.ID) == me {
			seq = n.Beat
		}
	}
	if v.Version < since { // as after a restore from a backup: what it shows is not all that changed
		return 0, nil, fmt.Errorf("%w: its tables are older than they were", ErrEnded)
	}
	return seq, p.merge(v, since), nil
}

func (p *postgres) look(ctx context.Context) (*Map, error) {
	v, err := p.db.ReadMap(ctx)
	if err != nil {
		return nil, err
	}
	return p.merge(v, 0), nil
}

// merge brings what is known of the shards up to a view of those that changed since a
// version. Views may overtake each other: one that does not join on is left out.
func (p *postgres) merge(v pgstore.View, since int64) *Map {
	m := new(Map)
	for _, n := range v.Nodes {
		m.Nodes = append(m.Nodes, NodeState{ID: NodeID(n.ID), Name: n.Address, Seq: n.Beat, TTL: n.Lease, Draining: n.Draining, Ended: n.Ended})
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if since <= p.version && v.Version >= p.version {
		for _, s := range v.Shards {
			now := ShardState{s.Shard, s.Epoch, NodeID(s.Owner)}
			at, known := slices.BinarySearchFunc(p.shards, s.Shard, func(s ShardState, shard uint32) int { return int(s.Shard) - int(shard) })
			if !known {
				p.shards = slices.Insert(p.shards, at, now)
			} else if now.Epoch > p.shards[at].Epoch {
				p.shards[at] = now
			}
		}
		p.version = v.Version
	}
	m.Shards = slices.Clone(p.shards)
	return m
}

func (p *postgres) end(ctx context.Context, n NodeID, seq int64) (bool, error) {
	return p.db.EndNode(ctx, int64(n), seq)
}

func (p *postgres) mark(ctx context.Context, me NodeID) error {
	_, err := p.db.SetDraining(ctx, int64(me), true)
	return err
}

func (p *postgres) take(ctx context.Context, me NodeID, claims []Claim) ([]ShardState, error) {
	taken, err := p.db.TakeOver(ctx, int64(me), byShard(claims))
	var states []ShardState
	for _, c := range claims {
		if epoch, ok := taken[c.Shard]; ok {
			states = append(states, ShardState{c.Shard, epoch, me})
		}
	}
	return states, err
}

func (p *postgres) release(ctx context.Context, me NodeID, claims []Claim) ([]ShardState, error) {
	released, err := p.db.ReleaseShards(ctx, int64(me), byShard(claims))
	var states []ShardState
	for _, c := range claims {
		if slices.Contains(released, c.Shard) {
			states = append(states, ShardState{c.Shard, c.Epoch + 1, Nobody})
		}
	}
	return states, err
}

func (p *postgres) confirm(ctx context.Context, me NodeID, claims []Claim) ([]uint32, error) {
	return p.db.ConfirmEpochs(ctx, int64(me), byShard(claims))
}

func byShard(claims []Claim) map[uint32]int64 {
	m := make(map[uint32]int64, len(claims))
	for _, c := range claims {
		m[c.Shard] = c.Epoch
	}
	return m
}
