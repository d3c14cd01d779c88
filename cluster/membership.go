package cluster

import "time"

// join asks for an incarnation. Its predecessor has given up everything, so it is
// ended in the same transaction, and nobody has to wait for its lease.
func (c *Core) join() {
	if len(c.calls) > 0 || c.now < c.nextRenew {
		return
	}
	if c.leaving {
		c.goodbye()
		return
	}
	c.call(c.cfg.CallTimeout, func(id CallID) Action {
		return Register{Call: id, Name: c.cfg.Name, TTL: c.cfg.TTL, Replaces: c.me}
	})
}

func (c *Core) registered(k call, r Reply) {
	if r.Err != nil {
		c.nextRenew = c.now + c.cfg.RenewEvery/2
		return
	}
	c.stage, c.me, c.seq = inside, r.Node, r.Seq
	// What was seen of others before counts for nothing: after an outage of the
	// database all of them look dead, and most are about to come back.
	c.peers = nil
	for i := range c.shards {
		c.shards[i].at, c.shards[i].unsure = 0, false
	}
	c.holdOff, c.stale, c.inRow, c.rowAt = 0, false, false, 0
	c.extend(k)
	c.nextRenew = c.now // only then do others, and does it itself, count it in
	if c.stage == inside {
		c.learn(r.Map, k)
	}
}

// extend counts the lease from when the call was sent, which is before the
// database can have seen it.
func (c *Core) extend(k call) {
	c.leaseEnd = k.sent + c.cfg.TTL - c.cfg.Margin
	c.nextRenew = k.sent + c.cfg.RenewEvery
	if c.now >= c.leaseEnd { // the reply took that long
		c.lose("the reply to its renewal came after the lease's end")
	}
}

func (c *Core) renew() {
	if c.calling(isRenew) != nil || c.now < c.nextRenew {
		return
	}
	c.call(c.cfg.RenewEvery, func(id CallID) Action { return Renew{Call: id, Node: c.me} })
}

// look reads the map if what is known of it turned out to be wrong. It says nothing of the lease.
func (c *Core) look() {
	if !c.stale || c.calling(isLook) != nil || c.now < max(c.lastLook+c.lookEvery(), c.holdOff) {
		return
	}
	c.stale, c.lastLook = false, c.now
	c.call(c.cfg.CallTimeout, func(id CallID) Action { return Look{id} })
}

func (c *Core) lookEvery() time.Duration { return c.cfg.RenewEvery / 20 }

func (c *Core) looked(k call, r Reply) {
	if r.Err != nil {
		c.stale = true
		return
	}
	c.learn(r.Map, k)
}

func (c *Core) marked(r Reply) {
	if r.Err == nil {
		c.inRow, c.rowAt = true, c.now
	}
}

func (c *Core) renewed(k call, r Reply) {
	if r.Err != nil {
		c.nextRenew = c.now + c.cfg.RenewEvery/4
		return
	}
	if r.Seq <= c.seq {
		// Restored from a backup, or a replica that had not got everything: whatever was
		// granted or committed since may be gone.
		c.lose("the database went back in time: a renewal is gone")
		return
	}
	c.seq = r.Seq
	c.extend(k)
	if c.stage == inside {
		c.learn(r.Map, k)
	}
}

// lose gives up the incarnation with all that it holds, on the spot.
func (c *Core) lose(reason string) {
	c.do(Drop{Reason: reason})
	c.stage = outside
	c.nextRenew = c.now
	c.calls = c.calls[:0]
	for i := range c.shards {
		c.shards[i].state = absent
	}
}

// learn takes in what the database says. What is known from elsewhere since the call was sent stays.
func (c *Core) learn(m *Map, k call) {
	peers := make([]peer, 0, len(m.Nodes))
	for _, n := range m.Nodes {
		p := peer{NodeState: n, seen: c.boot}
		if old := c.peer(n.ID); old != nil && old.Seq == n.Seq {
			p.seen, p.ending = old.seen, old.ending
			p.Ended = p.Ended || old.Ended
		}
		if n.ID == c.me && n.Draining != c.inRow && c.rowAt <= k.sent {
			c.inRow, c.draining = n.Draining, n.Draining || c.leaving
		}
		peers = append(peers, p)
	}
	c.peers, c.mapAt = peers, c.boot
	if me := c.peer(c.me); c.stage == inside && (me == nil || me.Ended) {
		c.lose("the database knows it as ended")
		return
	}
	for _, v := range m.Shards {
		s := c.shard(v.Shard)
		if s == nil || s.at > k.sent {
			continue
		}
		s.view, s.unsure = v, false
		if s.state != absent && s.state != taking && v.Epoch > s.epoch {
			c.overtaken(s)
		}
	}
}

// overtaken gives up a shard whose epoch the database knows to be higher: a release
// went through unseen, or there was a hand in the tables. If the shard is still the
// node's, it is taken anew.
func (c *Core) overtaken(s *shard) {
	if s.state == serving || s.state == vacating {
		c.do(Drop{Claims: []Claim{{s.view.Shard, s.epoch}}, Reason: "the shard's epoch has moved on"})
	}
	s.state = absent
}

// endDead ends incarnations that have not renewed for their lease's length.
func (c *Core) endDead() {
	for i := range c.peers {
		p := &c.peers[i]
		if p.ID == c.me || p.Ended || p.ending || p.hinted || c.boot-p.seen < p.TTL {
			continue
		}
		p.ending = true
		c.call(c.cfg.CallTimeout, func(id CallID) Action { return End{Call: id, Node: p.ID, Seq: p.Seq} })
	}
}

func (c *Core) ended(a End, r Reply) {
	if c.stage == ending {
		c.stage = left
		c.do(Left{})
		return
	}
	p := c.peer(a.Node)
	if p == nil || p.Seq != a.Seq {
		return
	}
	p.ending = false
	switch {
	case r.Err != nil: // tried again by the next step
	case r.Ended:
		p.Ended = true
	default: // it has renewed
		p.seen = c.boot
		c.stale = true
	}
}

// mark makes a drain that was asked of this node known to the others.
func (c *Core) mark() {
	if !c.draining || c.inRow || c.calling(isMark) != nil {
		return
	}
	c.call(c.cfg.CallTimeout, func(id CallID) Action { return Mark{Call: id, Node: c.me} })
}

// end leaves once everything is given up.
func (c *Core) end() {
	if !c.leaving || c.calling(isTake) != nil {
		return
	}
	for i := range c.shards {
		if c.shards[i].state != absent {
			return
		}
	}
	c.goodbye()
}

func (c *Core) goodbye() {
	c.calls = c.calls[:0]
	c.stage = ending
	if c.me == Nobody {
		c.stage = left
		c.do(Left{})
		return
	}
	c.call(c.cfg.CallTimeout, func(id CallID) Action { return End{Call: id, Node: c.me, Seq: AnyRenewal} })
}
