package cluster

import (
	"fmt"
	"slices"
	"time"
)

// simTable is the database of the simulation: the lease tables as the core needs
// them, and one counter for each shard. Its methods are transactions.
type simTable struct {
	w      *world
	nodes  []NodeState
	shards []simShard
}

type simShard struct {
	ShardState
	value   int
	settled int // number of settlements in this epoch
}

func (t *simTable) node(id NodeID) *NodeState {
	if id < 1 || int(id) > len(t.nodes) {
		return nil
	}
	return &t.nodes[id-1]
}

func (t *simTable) read() *Map {
	m := new(Map)
	for _, n := range t.nodes {
		owns := slices.ContainsFunc(t.shards, func(s simShard) bool { return s.Owner == n.ID })
		if !n.Ended || owns { // others are swept away
			m.Nodes = append(m.Nodes, n)
		}
	}
	for _, s := range t.shards {
		m.Shards = append(m.Shards, s.ShardState)
	}
	return m
}

func (t *simTable) register(a Register) Reply {
	if old := t.node(a.Replaces); old != nil {
		old.Ended = true
	}
	id := NodeID(len(t.nodes) + 1)
	t.nodes = append(t.nodes, NodeState{ID: id, Name: a.Name, TTL: a.TTL})
	return Reply{Call: a.Call, Node: id, Map: t.read()}
}

func (t *simTable) renew(a Renew) Reply {
	n := t.node(a.Node)
	if n.Ended {
		return Reply{Call: a.Call, Err: ErrEnded}
	}
	n.Seq++
	return Reply{Call: a.Call, Seq: n.Seq, Map: t.read()}
}

func (t *simTable) end(a End) Reply {
	n := t.node(a.Node)
	if a.Seq == AnyRenewal || a.Seq == n.Seq || t.w.broken == endsWithoutComparing {
		n.Ended = true
	}
	return Reply{Call: a.Call, Ended: n.Ended}
}

func (t *simTable) mark(a Mark) Reply {
	t.node(a.Node).Draining = true
	return Reply{Call: a.Call}
}

func (t *simTable) take(a Take) Reply {
	if t.node(a.Node).Ended {
		return Reply{Call: a.Call, Err: ErrEnded}
	}
	r := Reply{Call: a.Call}
	for _, c := range a.Claims {
		s := &t.shards[c.Shard]
		owner := t.node(s.Owner)
		if s.Epoch != c.Epoch || owner != nil && !owner.Ended && owner.ID != a.Node {
			continue
		}
		s.Epoch, s.Owner = s.Epoch+1, a.Node
		s.settled = 0
		r.Shards = append(r.Shards, s.ShardState)
	}
	return r
}

func (t *simTable) release(a Release) Reply {
	r := Reply{Call: a.Call}
	for _, c := range a.Claims {
		if s := &t.shards[c.Shard]; s.Epoch == c.Epoch && s.Owner == a.Node {
			s.Epoch, s.Owner = s.Epoch+1, Nobody
			r.Shards = append(r.Shards, s.ShardState)
		}
	}
	return r
}

// holds is the fence of commits, and what strict mode asks.
func (t *simTable) holds(node NodeID, c Claim) bool {
	s := &t.shards[c.Shard]
	return s.Epoch == c.Epoch && s.Owner == node
}

// commit sets a shard's counter.
func (t *simTable) commit(node NodeID, c Claim, settled, value int) bool {
	s := &t.shards[c.Shard]
	if (!t.holds(node, c) || s.settled != settled) && t.w.broken != commitsWithoutEpoch {
		return false
	}
	if value != s.value+1 {
		t.w.fail(fmt.Sprintf("shard %d: %d at epoch %d was committed over %d at epoch %d: an update is lost", c.Shard, value, c.Epoch, s.value, s.Epoch))
	}
	s.value = value
	return true
}

// settle makes whatever is under way impossible, and shows what came of it.
func (t *simTable) settle(node NodeID, c Claim) (settled, value int, ok bool) {
	if !t.holds(node, c) {
		return 0, 0, false
	}
	s := &t.shards[c.Shard]
	s.settled++
	return s.settled, s.value, true
}

// call carries a transaction to the database and its result back, or not, or late,
// or twice. While the database is down, calls are refused or get no answer.
func (w *world) call(n *simNode, twice bool, do func() func(), refused func()) {
	if w.now < n.cut && !w.calm {
		return
	}
	process := n.process
	back := func(do func()) {
		if n.process == process { // else the caller is gone, its connection with it
			n.deliver(w.latency(), do)
		}
	}
	arrive := func(delay time.Duration) {
		w.after(delay, func() {
			if w.now < w.outage {
				if w.hang {
					return
				}
				back(refused)
				return
			}
			answer := do()
			if w.chance(w.lossRate) {
				return
			}
			back(answer)
		})
	}
	if w.chance(w.lossRate) {
		if w.chance(0.5) {
			return
		}
		arrive(w.between(w.ttl/2, 4*w.ttl)) // the caller's connection is gone, its statement is not
		return
	}
	arrive(w.latency())
	if twice && w.chance(w.lossRate) {
		arrive(w.between(0, 2*w.ttl))
	}
}
