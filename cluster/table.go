package cluster

import (
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
