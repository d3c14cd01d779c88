package cluster

import "slices"

// defect is one way in which the protocol could have been built wrongly. The core,
// or what surrounds it, is spoiled from outside.
type defect int

const (
	nothing defect = iota
	commitsWithoutEpoch
	waitsTooShort
	countsFromReply
	ignoresDrift
	ignoresSuspend
	waitsByWallClock
	checksNothing
	answersWhileReleasing
	endsWithoutComparing
	believesMap
	takesLateReplies
	countsOnUnconfirmed
	movesMore
	neverTakesReleased
)

var defects = map[defect]string{
	commitsWithoutEpoch:   "the database does not compare the epoch",
	waitsTooShort:         "a new owner does not wait the old lease out",
	countsFromReply:       "the lease counts from the reply to its renewal",
	ignoresDrift:          "no margin for clocks that run apart",
	ignoresSuspend:        "a clock that stands still in suspend",
	waitsByWallClock:      "others' leases are measured by a clock that can be set",
	checksNothing:         "events run and answers leave without a look at the lease",
	answersWhileReleasing: "events run on while the shard is released",
	endsWithoutComparing:  "an incarnation is ended although it has renewed",
	believesMap:           "a shard is served because the map says so",
	takesLateReplies:      "replies to calls of an earlier incarnation count",
	countsOnUnconfirmed:   "a renewal that was not confirmed counts",
	movesMore:             "shards are dealt out by number modulo nodes",
	neverTakesReleased:    "nobody takes what was released",
}

// spoil is called before each step, and returns what the core is told.
func (n *simNode) spoil(in Input) Input {
	c := n.core
	r, isReply := in.(Reply)
	switch n.w.broken {
	case countsFromReply:
		for i := range c.calls {
			if isReply && c.calls[i].id == r.Call {
				c.calls[i].sent = c.clock.at(n.reading())
			}
		}
	case waitsTooShort:
		for i := range c.peers {
			c.peers[i].TTL = n.w.ttl / 10
		}
	case neverTakesReleased:
		if _, hint := in.(Told); hint {
			return Tick{}
		}
		if isReply && r.Map != nil {
			r.Map.Shards = slices.DeleteFunc(r.Map.Shards, func(s ShardState) bool { return s.Owner == Nobody && s.Epoch > 0 })
		}
	}
	return in
}

// spoilAfter is called after each step, with what the core wants done.
func (n *simNode) spoilAfter(in Input, actions []Action) []Action {
	c := n.core
	r, isReply := in.(Reply)
	switch n.w.broken {
	case believesMap:
		for i := range c.shards {
			if s := &c.shards[i]; s.state == taking && s.view.Owner == c.me {
				s.state, s.epoch = serving, s.view.Epoch
				actions = append(actions, Serve{[]Claim{{s.view.Shard, s.epoch}}})
			}
		}
	case takesLateReplies:
		if !isReply || c.stage != inside {
			break
		}
		for _, v := range r.Shards {
			if s := c.shard(v.Shard); v.Owner != Nobody && v.Owner != c.me && s.state == absent {
				s.state, s.epoch = serving, v.Epoch
				actions = append(actions, Serve{[]Claim{{v.Shard, v.Epoch}}})
			}
		}
	case countsOnUnconfirmed:
		for _, a := range actions {
			if a, ok := a.(Renew); ok {
				n.deliver(n.w.ttl/10, func() {
					m := new(Map)
					for i := range c.peers {
						m.Nodes = append(m.Nodes, c.peers[i].NodeState)
					}
					n.step(Reply{Call: a.Call, Seq: c.seq + 1, Map: m})
				})
			}
		}
	case movesMore:
		for i := range c.shards {
			if k := len(c.candidates); k > 0 {
				c.shards[i].winner = c.candidates[i%k].id
			}
		}
	case answersWhileReleasing:
		for i := range c.shards {
			if c.shards[i].state == absent {
				n.objects[i] = nil
			}
		}
	}
	return actions
}
