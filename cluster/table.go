package cluster

import (
	"context"
	"errors"
	"time"
)

// NodeID names an incarnation of a node: a process from joining to losing its
// lease. The database gives out each number once, in ascending order.
type NodeID int64

// Nobody is the owner of a shard that has been released, or never had one.
const Nobody NodeID = 0

// NodeState is the row of an incarnation.
type NodeState struct {
	ID       NodeID
	Name     string        // where its peers reach it, HOST:PORT; later incarnations have the same
	Seq      int64         // counts its renewals
	TTL      time.Duration // the length of its lease
	Draining bool          // it gives its shards away
	Ended    bool          // it owns nothing any more; never taken back
}

// ShardState is the row of a shard. An epoch has one owner, or none, for good.
type ShardState struct {
	Shard uint32
	Epoch int64
	Owner NodeID
}

// Map is what a node reads of both tables. A node that is missing has ended.
type Map struct {
	Nodes  []NodeState
	Shards []ShardState
}

// Claim names a shard at an epoch.
type Claim struct {
	Shard uint32
	Epoch int64
}

// ErrEnded is the database's refusal of an incarnation that it knows as ended, or not at all.
var ErrEnded = errors.New("cluster: the node's lease was ended")

// errUnanswered stands for the reply to a call that took too long. What it did is unknown.
var errUnanswered = errors.New("cluster: no answer from the database in time")

// table is the lease tables of one database. Each method is one transaction, or
// several of which the first few may be carried out alone. An error that is not
// [ErrEnded] leaves open what was done.
type table interface {
	register(ctx context.Context, name string, replaces NodeID) (NodeID, int64, *Map, error)
	renew(ctx context.Context, me NodeID, report []byte) (int64, *Map, error)
	look(ctx context.Context) (*Map, error)
	end(ctx context.Context, n NodeID, seq int64) (bool, error)
	mark(ctx context.Context, me NodeID) error
	take(ctx context.Context, me NodeID, claims []Claim) ([]ShardState, error)
	release(ctx context.Context, me NodeID, claims []Claim) ([]ShardState, error)
	confirm(ctx context.Context, me NodeID, claims []Claim) (lost []uint32, err error)
}
